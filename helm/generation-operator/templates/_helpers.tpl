{{- define "generation-operator.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "generation-operator.selector" -}}
app.kubernetes.io/name: generation-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "generation-operator.labels" -}}
{{ include "generation-operator.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "generation-operator.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "generation-operator.fullname" .) -}}
{{- end -}}

{{/* What the operator does with the objects of the namespaces that it watches: exactly these verbs. */}}
{{- define "generation-operator.rules" -}}
- apiGroups: [generation.dev]
  resources: [generationservices]
  verbs: [get, list, watch]
- apiGroups: [generation.dev]
  resources: [generationservices/status]
  verbs: [patch]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [deployments/scale]
  verbs: [get, patch]
- apiGroups: [""]
  resources: [services, serviceaccounts, configmaps]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [monitoring.coreos.com]
  resources: [podmonitors]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, patch]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [autoscaling.k8s.io]
  resources: [verticalpodautoscalers]
  verbs: [get, list, watch, create, patch, delete]
# Others that may scale the same Deployment; where these APIs do not exist, the rules mean nothing.
- apiGroups: [keda.sh]
  resources: [scaledobjects]
  verbs: [get, list, watch]
- apiGroups: [autoscaling.aibrix.ai]
  resources: [podautoscalers]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- end -}}

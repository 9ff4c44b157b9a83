"""The Deployment that runs the service.

It never names `spec.replicas`: that field belongs to whoever scales, and is set once at creation by
`reconcile/bootstrap.py`.
"""

from typing import Any, Final

from generation_operator.api.kinds import DEPLOYMENT, Manifest
from generation_operator.api.model import as_said
from generation_operator.api.pod import PodTemplate
from generation_operator.api.resource import GenerationService
from generation_operator.api.spec import GenerationServiceSpec
from generation_operator.desired import names
from generation_operator.desired.environment import env
from generation_operator.desired.names import Component

# 5 s: longer than the proxy keeps a DNS answer (up to 2 s with `valid=1s`) plus its resolver timeout (2 s), so the last
# request has left for this pod before it closes its port. Where the cluster's DNS itself caches for longer, the proxy's
# retry on another pod covers the rest. The native sleep needs Kubernetes 1.30, and no shell in the image.
PRE_STOP_SECONDS: Final = 5
# 10 s: what a service needs beyond its longest workflow to write results and close connections.
DRAIN_MARGIN_SECONDS: Final = 10
# 5 min: loading a model takes about a minute at the 99th percentile; a cold image cache takes longer.
STARTUP_SECONDS: Final = 300


def deployment(service: GenerationService, *, annotated_for_scraping: bool = True) -> Manifest:
    """The Deployment without replicas.

    Args:
        service: the parsed resource.
        annotated_for_scraping: whether Prometheus finds the pods by annotations. Not beside a PodMonitor: pods that are
            scraped twice count twice.
    """
    name, spec = service.key.name, service.spec
    annotations = (_scraping(spec.port) if annotated_for_scraping else {}) | spec.pod_template.annotations
    return names.child(DEPLOYMENT, service, names.deployment(name), Component.SERVICE) | {
        "spec": {
            "selector": {"matchLabels": names.selector(name, Component.SERVICE)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "25%"}},
            "template": {
                "metadata": {
                    "labels": spec.pod_template.labels | names.labels(name, Component.SERVICE),
                    **({"annotations": annotations} if annotations else {}),
                },
                "spec": _pod(name, spec),
            },
        }
    }


def _scraping(port: int) -> dict[str, str]:
    """The annotations by which most configurations of Prometheus find pods."""
    return {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(port),
        "prometheus.io/path": "/metrics",
    }


def pod_security_context() -> dict[str, Any]:
    """What the `restricted` Pod Security Standard asks of a pod."""
    return {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}


def container_security_context() -> dict[str, Any]:
    """What the `restricted` Pod Security Standard asks of a container, and a root file system nobody writes to."""
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }


def topology_spread(name: str, component: Component) -> list[dict[str, Any]]:
    """One lost node should not take all replicas; a full cluster should still run them."""
    return [
        {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": names.selector(name, component)},
        }
    ]


def probe(path: str, *, period: int, failures: int, timeout: int) -> dict[str, Any]:
    """An HTTP probe; times in seconds."""
    return {
        "httpGet": {"path": path, "port": names.PORT},
        "periodSeconds": period,
        "timeoutSeconds": timeout,
        "failureThreshold": failures,
    }


def _pod(name: str, spec: GenerationServiceSpec) -> dict[str, Any]:
    template = spec.pod_template
    return {
        "serviceAccountName": template.service_account_name or names.service_account(name),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": spec.targets.workflow_duration_seconds
        + PRE_STOP_SECONDS
        + DRAIN_MARGIN_SECONDS,
        "securityContext": pod_security_context() | as_said(template.security_context),
        "topologySpreadConstraints": topology_spread(name, Component.SERVICE),
        **_placement(template),
        "containers": [
            {
                "name": names.CONTAINER,
                "image": spec.image,
                "imagePullPolicy": "IfNotPresent",
                "ports": [{"name": names.PORT, "containerPort": spec.port, "protocol": "TCP"}],
                "env": env(name, spec),
                "resources": spec.resources.model_dump(by_alias=True),
                "startupProbe": probe("/healthz", period=1, failures=STARTUP_SECONDS, timeout=2),
                # 5 s timeout: a busy event loop is not a dead one.
                "livenessProbe": probe("/healthz", period=10, failures=3, timeout=5),
                "readinessProbe": probe("/readyz", period=2, failures=2, timeout=2),
                "lifecycle": {"preStop": {"sleep": {"seconds": PRE_STOP_SECONDS}}},
                "securityContext": container_security_context(),
                "volumeMounts": [
                    {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - an emptyDir of this pod
                    *(as_said(mount) for mount in template.volume_mounts),
                ],
            }
        ],
        "volumes": [{"name": "tmp", "emptyDir": {}}, *(as_said(volume) for volume in template.volumes)],
    }


def _placement(template: PodTemplate) -> dict[str, Any]:
    """Where the pods may run and what they are run with, as far as the resource says."""
    said = as_said(template)
    fields = ("nodeSelector", "tolerations", "affinity", "imagePullSecrets", "priorityClassName", "runtimeClassName")
    return {field: said[field] for field in fields if said.get(field)}

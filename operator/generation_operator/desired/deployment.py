"""The Deployment that runs the service.

It never names `spec.replicas`: that field belongs to whoever scales, and is set once at creation by
`reconcile/bootstrap.py`.
"""

from typing import Any, Final

from generation_operator.api.kinds import DEPLOYMENT, Manifest
from generation_operator.api.resource import GenerationService
from generation_operator.api.spec import EnvVar, GenerationServiceSpec
from generation_operator.desired import names
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
    return names.child(DEPLOYMENT, service, names.deployment(name), Component.SERVICE) | {
        "spec": {
            "selector": {"matchLabels": names.selector(name, Component.SERVICE)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "25%"}},
            "template": {
                "metadata": {
                    "labels": names.labels(name, Component.SERVICE),
                    **({"annotations": _scraping(spec.port)} if annotated_for_scraping else {}),
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
    return {
        "serviceAccountName": names.service_account(name),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": spec.targets.workflow_duration_seconds
        + PRE_STOP_SECONDS
        + DRAIN_MARGIN_SECONDS,
        "securityContext": pod_security_context(),
        "topologySpreadConstraints": topology_spread(name, Component.SERVICE),
        "containers": [
            {
                "name": names.CONTAINER,
                "image": spec.image,
                "imagePullPolicy": "IfNotPresent",
                "ports": [{"name": names.PORT, "containerPort": spec.port, "protocol": "TCP"}],
                "env": _env(name, spec),
                "resources": spec.resources.model_dump(by_alias=True),
                "startupProbe": probe("/healthz", period=1, failures=STARTUP_SECONDS, timeout=2),
                # 5 s timeout: a busy event loop is not a dead one.
                "livenessProbe": probe("/healthz", period=10, failures=3, timeout=5),
                "readinessProbe": probe("/readyz", period=2, failures=2, timeout=2),
                "lifecycle": {"preStop": {"sleep": {"seconds": PRE_STOP_SECONDS}}},
                "securityContext": container_security_context(),
                "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - an emptyDir of this pod
            }
        ],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    }


def _env(name: str, spec: GenerationServiceSpec) -> list[dict[str, Any]]:
    """What the operator tells the service, then what the user says; the user wins, and may refer to ours as $(NAME)."""
    targets = spec.targets
    provided: list[dict[str, Any]] = [
        {"name": "GENERATION_SERVICE_NAME", "value": name},
        {"name": "GENERATION_SERVICE_PORT", "value": str(spec.port)},
        {"name": "GENERATION_SERVICE_CONCURRENT_WORKFLOWS", "value": str(targets.concurrent_workflows)},
        # One call of the generator each must not make them wait for one another.
        {"name": "GENERATION_SERVICE_AI_API_CONCURRENCY", "value": str(targets.concurrent_workflows)},
        {"name": "GENERATION_SERVICE_WORKFLOW_DEADLINE_SECONDS", "value": str(targets.workflow_duration_seconds)},
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    ]
    chosen = {variable.name for variable in spec.env}
    return [entry for entry in provided if entry["name"] not in chosen] + [_variable(entry) for entry in spec.env]


def _variable(variable: EnvVar) -> dict[str, Any]:
    return variable.model_dump(by_alias=True, exclude_none=True)

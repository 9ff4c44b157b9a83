"""The kinds of object that the operator reads or writes, and where the API server serves them."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from generation_operator.api import names

Manifest = dict[str, Any]


class Kind(NamedTuple):
    """A resource type and where the API server serves it."""

    api_version: str
    kind: str
    plural: str

    @property
    def path(self) -> str:
        """`/api/v1` or `/apis/GROUP/VERSION`."""
        return f"/{'apis' if '/' in self.api_version else 'api'}/{self.api_version}"


GENERATION_SERVICE: Final = Kind(names.API_VERSION, names.KIND, names.PLURAL)
DEPLOYMENT: Final = Kind("apps/v1", "Deployment", "deployments")
SERVICE: Final = Kind("v1", "Service", "services")
CONFIG_MAP: Final = Kind("v1", "ConfigMap", "configmaps")
HPA: Final = Kind("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
POD: Final = Kind("v1", "Pod", "pods")
SERVICE_ACCOUNT: Final = Kind("v1", "ServiceAccount", "serviceaccounts")
PDB: Final = Kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
POD_MONITOR: Final = Kind("monitoring.coreos.com/v1", "PodMonitor", "podmonitors")
LEASE: Final = Kind("coordination.k8s.io/v1", "Lease", "leases")
VPA: Final = Kind("autoscaling.k8s.io/v1", "VerticalPodAutoscaler", "verticalpodautoscalers")

# Of other projects, read only, and only where their API exists.
SCALED_OBJECT: Final = Kind("keda.sh/v1alpha1", "ScaledObject", "scaledobjects")
POD_AUTOSCALER: Final = Kind("autoscaling.aibrix.ai/v1alpha1", "PodAutoscaler", "podautoscalers")

# Served by an adapter; the HorizontalPodAutoscaler controller reads metrics of pods there.
CUSTOM_METRICS_GROUP: Final = "custom.metrics.k8s.io"

KINDS: Final[Mapping[tuple[str, str], Kind]] = {
    (kind.api_version, kind.kind): kind
    for kind in (
        GENERATION_SERVICE,
        DEPLOYMENT,
        SERVICE,
        SERVICE_ACCOUNT,
        CONFIG_MAP,
        PDB,
        HPA,
        VPA,
        POD_MONITOR,
        POD,
    )
}

# Whatever may want to scale, or resize, a Deployment that is ours.
RIVALS: Final = (HPA, VPA, SCALED_OBJECT, POD_AUTOSCALER)
KNOWN: Final[Mapping[tuple[str, str], Kind]] = {
    **KINDS,
    **{(kind.api_version, kind.kind): kind for kind in (*RIVALS, LEASE)},
}


def kind_of(manifest: Mapping[str, Any]) -> Kind:
    """The kind that a manifest names in `apiVersion` and `kind`."""
    return KNOWN[manifest["apiVersion"], manifest["kind"]]

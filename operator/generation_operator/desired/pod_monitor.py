"""How a Prometheus that is run by the Prometheus Operator finds the service's pods."""

from generation_operator.api.kinds import POD_MONITOR, Manifest
from generation_operator.api.resource import GenerationService
from generation_operator.desired import names
from generation_operator.desired.names import Component

# 15 s: half of what is lost with 30 s on bursts, at a cost that nobody notices.
_INTERVAL = "15s"


def pod_monitor(service: GenerationService) -> Manifest:
    """The PodMonitor; the Prometheus Operator adds the labels `namespace` and `pod`, which the queries need."""
    name = service.key.name
    return names.child(POD_MONITOR, service, names.pod_monitor(name), Component.SERVICE) | {
        "spec": {
            "selector": {"matchLabels": names.selector(name, Component.SERVICE)},
            "podMetricsEndpoints": [{"port": names.PORT, "path": "/metrics", "interval": _INTERVAL}],
        }
    }

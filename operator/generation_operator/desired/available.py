"""Which optional APIs the cluster serves."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Available:
    """APIs that a cluster may lack. What needs one that is missing is left out until the API appears."""

    vertical_pod_autoscaler: bool = False
    pod_monitor: bool = False
    custom_metrics: bool = False

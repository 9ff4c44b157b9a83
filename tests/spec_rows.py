"""What a GenerationService may say: rows with at least one accepted and one refused manifest for every rule.

The same rows judge the pydantic models (unit tier) and the CRD on a real API server (apiserver tier), so the two cannot
drift apart.
"""

import copy
from dataclasses import dataclass, field
from typing import Any, Final

from generation_operator.api import names

Patch = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """One manifest: a minimal resource with some fields set, and how it is judged."""

    id: str
    accepted: bool
    spec: Patch = field(default_factory=dict)
    path: str = ""  # part of the field path that the API server names
    message: str = ""  # part of its message
    local_message: str | None = None  # what the models say where pydantic words a plain bound differently
    name: str = "row"
    remove: tuple[str, ...] = ()

    def manifest(self) -> dict[str, Any]:
        """The whole resource."""
        spec = _merged({"image": "generation-service:0.1.0"}, self.spec)
        return {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "metadata": {"name": self.name},
            "spec": {key: value for key, value in spec.items() if key not in self.remove},
        }


def _merged(base: Patch, patch: Patch) -> Patch:
    merged = copy.deepcopy(base)
    for key, value in patch.items():
        merged[key] = _merged(merged.get(key, {}), value) if isinstance(value, dict) else copy.deepcopy(value)
    return merged


def _up(**thresholds: int) -> Patch:
    return {"scaling": {"score": {"up": {"thresholds": thresholds}}}}


def _down(**thresholds: int) -> Patch:
    return {"scaling": {"score": {"down": {"thresholds": thresholds}}}}


def _resources(**kinds: Patch) -> Patch:
    return {"resources": kinds}


def _accepted(title: str, spec: Patch | None = None, name: str = "row") -> Row:
    return Row(title, accepted=True, spec=spec or {}, name=name)


def _refused(title: str, spec: Patch, path: str, message: str, local: str | None = None) -> Row:
    return Row(title, accepted=False, spec=spec, path=path, message=message, local_message=local)


ROWS: Final = [
    _accepted("minimal"),
    Row(
        "image is required",
        accepted=False,
        remove=("image",),
        path="spec.image",
        message="Required value",
        local_message="Field required",
    ),
    # Root rules on metadata.name.
    _accepted("name of 46 characters", name="a" * 46),
    Row("name of 47 characters", accepted=False, name="a" * 47, message="choose a shorter name"),
    Row("name that starts with a digit", accepted=False, name="1st", message="choose another name"),
    Row("name with a dot", accepted=False, name="a.b", message="choose another name"),
    # Ordered bounds.
    _accepted("min equals max", {"scaling": {"minReplicas": 4, "maxReplicas": 4}}),
    _refused(
        "min above max",
        {"scaling": {"minReplicas": 5, "maxReplicas": 4}},
        "spec.scaling.minReplicas",
        "lower minReplicas or raise maxReplicas",
    ),
    _refused(
        "min above the default max",
        {"scaling": {"minReplicas": 21}},
        "spec.scaling.minReplicas",
        "lower minReplicas or raise maxReplicas",
    ),
    # Ordered thresholds.
    _accepted("latency thresholds one apart", _down(responseTimeMilliseconds=999)),
    _refused(
        "latency thresholds equal",
        _down(responseTimeMilliseconds=1000),
        "down.thresholds.responseTimeMilliseconds",
        "must be below up.thresholds.responseTimeMilliseconds",
    ),
    _accepted("cpu thresholds one apart", _up(cpuPercent=31)),
    _refused(
        "cpu thresholds equal",
        _up(cpuPercent=30),
        "down.thresholds.cpuPercent",
        "must be below up.thresholds.cpuPercent",
    ),
    _accepted("memory thresholds one apart", _down(memoryPercent=84)),
    _refused(
        "memory thresholds crossed",
        _down(memoryPercent=90),
        "down.thresholds.memoryPercent",
        "must be below up.thresholds.memoryPercent",
    ),
    # Requests within limits.
    _accepted(
        "cpu request equals limit in another notation", _resources(requests={"cpu": "1000m"}, limits={"cpu": "1"})
    ),
    _refused(
        "cpu request above limit",
        _resources(requests={"cpu": "1500m"}),
        "spec.resources.requests.cpu",
        "lower the request or raise the limit",
    ),
    _accepted("memory request equals limit", _resources(requests={"memory": "2048Mi"})),
    _refused(
        "memory request above limit",
        _resources(requests={"memory": "3Gi"}),
        "spec.resources.requests.memory",
        "lower the request or raise the limit",
    ),
    # One source per variable.
    _accepted("literal variable", {"env": [{"name": "A", "value": "b"}]}),
    _accepted("secret variable", {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}),
    _refused(
        "variable with two sources",
        {"env": [{"name": "A", "value": "b", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]},
        "spec.env[0].value",
        "set value or valueFrom, not both",
    ),
    _refused(
        "variable twice",
        {"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]},
        "spec.env",
        "uplicate",
        "set each variable once",
    ),
    # Bounds, enums and patterns.
    _accepted("highest port", {"port": 65535}),
    _refused("port zero", {"port": 0}, "spec.port", "should be greater than or equal to 1"),
    _refused("port too high", {"port": 65536}, "spec.port", "should be less than or equal to 65535"),
    _refused("no replicas", {"scaling": {"minReplicas": 0}}, "minReplicas", "should be greater than or equal to 1"),
    _accepted("mode recommend", {"scaling": {"mode": "Recommend"}}),
    _accepted("mode paused", {"scaling": {"mode": "Paused"}}),
    _refused("unknown mode", {"scaling": {"mode": "Auto"}}, "spec.scaling.mode", "Unsupported value", "'Active'"),
    _refused("unknown policy", {"scaling": {"policy": "Magic"}}, "spec.scaling.policy", "Unsupported value", "'Score'"),
    _refused(
        "unknown engine", {"scaling": {"engine": "Floor"}}, "spec.scaling.engine", "Unsupported value", "'Direct'"
    ),
    _accepted("fractional quantity", _resources(requests={"cpu": "0.25"})),
    _refused(
        "quantity that is none", _resources(requests={"cpu": "much"}), "requests.cpu", "should match", "match pattern"
    ),
    _refused(
        "negative quantity", _resources(limits={"memory": "-1Gi"}), "limits.memory", "should match", "match pattern"
    ),
    _accepted("prometheus with a path", {"metrics": {"prometheusURL": "http://prometheus.monitoring:9090/base"}}),
    _refused(
        "prometheus without scheme",
        {"metrics": {"prometheusURL": "prometheus:9090"}},
        "spec.metrics.prometheusURL",
        "should match",
        "match pattern",
    ),
    _refused("window too short", {"metrics": {"windowSeconds": 4}}, "windowSeconds", "greater than or equal to 5"),
    _refused("percent above 100", {"targets": {"successPercent": 101}}, "successPercent", "less than or equal to 100"),
    _refused("float", {"targets": {"workflowDurationSeconds": 1.5}}, "workflowDurationSeconds", "integer", "integer"),
    _refused(
        "unknown field",
        {"scaling": {"maxReplica": 3}},
        "spec.scaling.maxReplica",
        "field not declared in schema",
        "not permitted",
    ),
    _refused("image that is empty", {"image": ""}, "spec.image", "at least 1", "at least 1"),
]

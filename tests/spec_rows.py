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
    strict_only: bool = False  # an unknown field: refused by server-side apply and --validate=strict, else pruned
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


def _unknown(title: str, spec: Patch, path: str) -> Row:
    undeclared = "field not declared in schema"
    return Row(title, False, spec, path=path, message=undeclared, local_message="not permitted", strict_only=True)


def _secret(**key: str) -> Patch:
    return {"env": [{"name": "A", "valueFrom": {"secretKeyRef": key}}]}


def _schedule(**changes: Any) -> Patch:
    schedule = {"name": "day", "start": "0 8 * * MON-FRI", "end": "0 18 * * MON-FRI", "minReplicas": 4} | changes
    return {"scaling": {"schedules": [schedule]}}


def _query(**changes: str) -> Patch:
    return {"signal": "QueueLength", "query": "sum(vllm:num_requests_waiting)"} | changes


def _override(**changes: Any) -> Patch:
    return {"scaling": {"override": {"replicas": 3, "until": "2030-01-31T18:00:00Z"} | changes}}


def _pods(**template: Any) -> Patch:
    return {"podTemplate": template}


def _guard(**fields: Any) -> Patch:
    return {"scaling": {"horizontalPodAutoscaler": fields}}


_REQUIREMENT: Final = {"key": "zone", "operator": "In", "values": ["a"]}
_NODES: Final = {"matchExpressions": [_REQUIREMENT]}
_NEIGHBOURS: Final = {
    "labelSelector": {"matchLabels": {"app": "x"}, "matchExpressions": [_REQUIREMENT]},
    "topologyKey": "topology.kubernetes.io/zone",
}
_NEAR: Final = {
    "requiredDuringSchedulingIgnoredDuringExecution": [_NEIGHBOURS],
    "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": _NEIGHBOURS}],
}


def _taint(**fields: Any) -> Patch:
    return _pods(tolerations=[fields])


def _node(**requirement: Any) -> Patch:
    preference = {"matchExpressions": [{"key": "zone"} | requirement]}
    preferred = [{"weight": 1, "preference": preference}]
    return _pods(affinity={"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}})


# What pods are made of, and what they need from elsewhere.
_POD_ROWS: Final = [
    _accepted(
        "pod template",
        _pods(
            labels={"team": "a", "example.com/cost-center": ""},
            annotations={"prometheus.io/scrape": "false"},
            nodeSelector={"kubernetes.io/arch": "amd64"},
            tolerations=[
                {"operator": "Exists"},
                {"key": "gpu", "value": "a100", "effect": "NoSchedule"},
                {
                    "key": "node.kubernetes.io/not-ready",
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": 0,
                },
            ],
            affinity={
                "nodeAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [_NODES]},
                    "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference": _NODES}],
                },
                "podAffinity": _NEAR,
                "podAntiAffinity": _NEAR,
            },
            volumes=[
                {"name": "scratch", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
                {"name": "models", "persistentVolumeClaim": {"claimName": "models", "readOnly": True}},
                {"name": "prompts", "configMap": {"name": "prompts", "optional": True}},
                {"name": "keys", "secret": {"secretName": "keys"}},
            ],
            volumeMounts=[
                {"name": "models", "mountPath": "/models", "readOnly": True},
                {"name": "keys", "mountPath": "/etc/keys", "subPath": "prod/keys", "readOnly": False},
                {"name": "scratch", "mountPath": "/scratch"},
                {"name": "prompts", "mountPath": "/prompts"},
            ],
            serviceAccountName="generator",
            imagePullSecrets=[{"name": "registry"}],
            securityContext={"runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000},
        ),
    ),
    _refused(
        "label of the operator",
        _pods(labels={"app.kubernetes.io/name": "mine"}),
        "spec.podTemplate.labels",
        "are the operator's: choose another prefix",
    ),
    _refused("label with a space", _pods(labels={"a b": "c"}), "spec.podTemplate.labels", "a key of labels is none"),
    _refused(
        "label with a value that is none", _pods(labels={"a": "b c"}), "podTemplate.labels.a", "should match", "pattern"
    ),
    _refused(
        "annotation with two slashes",
        _pods(annotations={"a/b/c": ""}),
        "spec.podTemplate.annotations",
        "a key of annotations is none",
    ),
    _refused(
        "node selector without a name",
        _pods(nodeSelector={"example.com/": "a"}),
        "spec.podTemplate.nodeSelector",
        "a key of nodeSelector is none",
    ),
    _refused("taint without key", _taint(effect="NoSchedule"), "tolerations[0].operator", "set operator to Exists"),
    _refused(
        "taint that exists with a value",
        _taint(key="a", operator="Exists", value="b"),
        "tolerations[0].value",
        "operator Exists compares no value",
    ),
    _refused(
        "taint with seconds for another effect",
        _taint(key="a", effect="NoSchedule", tolerationSeconds=5),
        "tolerations[0].tolerationSeconds",
        "needs effect NoExecute",
    ),
    _refused("requirement in nothing", _node(operator="In"), "matchExpressions[0].values", "In and NotIn need values"),
    _refused(
        "requirement that exists with values",
        _node(operator="Exists", values=["a"]),
        "matchExpressions[0].values",
        "Exists and DoesNotExist have none",
    ),
    _refused(
        "neighbours by a label that is none",
        _pods(
            affinity={
                "podAntiAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": [
                        {"labelSelector": {"matchLabels": {"a b": "c"}}, "topologyKey": "a"}
                    ]
                }
            }
        ),
        "labelSelector.matchLabels",
        "a key of matchLabels is none",
    ),
    _refused(
        "volume without a source", _pods(volumes=[{"name": "a"}]), "volumes[0].name", "a volume needs exactly one of"
    ),
    _refused(
        "volume from two sources",
        _pods(volumes=[{"name": "a", "emptyDir": {}, "secret": {"secretName": "b"}}]),
        "volumes[0].name",
        "a volume needs exactly one of",
    ),
    _refused(
        "volume of the operator's name",
        _pods(volumes=[{"name": "tmp", "emptyDir": {}}]),
        "volumes",
        "is the operator's",
    ),
    _refused(
        "mount without a volume",
        _pods(volumeMounts=[{"name": "a", "mountPath": "/a"}]),
        "spec.podTemplate.volumeMounts",
        "every volumeMount needs a volume of its name",
    ),
    _refused(
        "mount outside of the volume",
        _pods(
            volumes=[{"name": "a", "emptyDir": {}}],
            volumeMounts=[{"name": "a", "mountPath": "/a", "subPath": "b/../../c"}],
        ),
        "volumeMounts[0].subPath",
        "should match",
        "pattern",
    ),
    _refused("root", _pods(securityContext={"runAsUser": 0}), "runAsUser", "should be greater than or equal to 1"),
    _refused("image with a space", {"image": "a b"}, "spec.image", "should match", "pattern"),
    _accepted(
        "dependencies",
        {
            "dependencies": {
                "database": {"secretKeyRef": {"name": "db", "key": "url"}},
                "redis": {"url": "redis://redis:6379/0"},
                "generator": {
                    "url": "https://llm.example/v1",
                    "apiKey": {"name": "llm", "key": "token"},
                    "model": "small",
                },
            }
        },
    ),
    _refused(
        "dependency from nowhere",
        {"dependencies": {"generator": {"model": "small"}}},
        "spec.dependencies.generator.url",
        "set either url or secretKeyRef",
    ),
    _refused(
        "dependency from two places",
        {"dependencies": {"redis": {"url": "redis://a", "secretKeyRef": {"name": "b", "key": "c"}}}},
        "spec.dependencies.redis.url",
        "set either url or secretKeyRef",
    ),
    _accepted("database by its URL", {"dependencies": {"database": {"url": "postgresql://a@b/c"}}}),
    _refused(
        "dependency that is no URL", {"dependencies": {"redis": {"url": "redis"}}}, "redis.url", "match", "pattern"
    ),
    # The HorizontalPodAutoscaler and the VerticalPodAutoscaler.
    _accepted("guard by memory", _guard(memoryPercent=80) | {"vertical": {"mode": "Recommend"}}),
    _accepted("guard by requests", _guard(requestsPerSecond=100, requestsMetric="http_requests_per_second")),
    _accepted(
        "behavior",
        _guard(
            behavior={
                "scaleUp": {
                    "stabilizationWindowSeconds": 0,
                    "policies": [{"type": "Pods", "value": 10, "periodSeconds": 15}],
                },
                "scaleDown": {"stabilizationWindowSeconds": 600, "selectPolicy": "Min"},
            }
        ),
    ),
    _refused(
        "behavior without a policy",
        _guard(behavior={"scaleUp": {"policies": []}}),
        "scaleUp.policies",
        "at least 1 items",
        "at least 1 item",
    ),
    _refused(
        "behavior with a policy twice",
        _guard(behavior={"scaleDown": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 15}] * 2}}),
        "scaleDown.policies",
        "uplicate",
        "give each type one policy",
    ),
    _accepted("vertical that acts", {"vertical": {"mode": "Active"}}),
    _refused(
        "memory followed both ways",
        _guard(memoryPercent=80) | {"vertical": {"mode": "Active"}},
        "spec.vertical.mode",
        "memory cannot be followed both ways",
    ),
]


ROWS: Final = [
    *_POD_ROWS,
    _accepted("minimal"),
    _accepted("own queries", {"metrics": {"queries": [_query(), _query(signal="Cpu")]}}),
    _refused(
        "own query of an unknown signal",
        {"metrics": {"queries": [_query(signal="Gpu")]}},
        "queries[0].signal",
        "Unsupported value",
        "Input should be",
    ),
    _refused(
        "own query that is empty",
        {"metrics": {"queries": [_query(query="")]}},
        "queries[0].query",
        "at least 1 char",
        "at least 1 char",
    ),
    _refused(
        "own query given twice",
        {"metrics": {"queries": [_query(), _query()]}},
        "spec.metrics.queries",
        "duplicate entries for key",
        "given twice",
    ),
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
    # Schedules.
    _accepted("schedule", _schedule(timeZone="Europe/Berlin")),
    _accepted("schedule up to the maximum", _schedule(minReplicas=20)),
    _refused(
        "schedule above the maximum",
        _schedule(minReplicas=21),
        "spec.scaling.schedules",
        "a schedule's minReplicas must not exceed maxReplicas",
    ),
    _refused(
        "schedule that ends when it starts",
        _schedule(end="0 8 * * MON-FRI"),
        "spec.scaling.schedules[0].end",
        "start and end must differ",
    ),
    _refused(
        "schedule with four fields",
        _schedule(start="0 8 * *"),
        "spec.scaling.schedules[0].start",
        "should match",
        "match pattern",
    ),
    _refused(
        "schedule with a zone that is no name",
        _schedule(timeZone="+02:00"),
        "spec.scaling.schedules[0].timeZone",
        "should match",
        "match pattern",
    ),
    _refused(
        "schedule twice",
        {"scaling": {"schedules": [_schedule()["scaling"]["schedules"][0]] * 2}},
        "spec.scaling.schedules",
        "uplicate",
        "give each schedule a name of its own",
    ),
    # Override and budget.
    _accepted("override", _override(reason="launch day")),
    _accepted("override with an offset", _override(until="2030-01-31T18:00:00.5+01:00")),
    _refused("override for ever", _override(until=""), "spec.scaling.override.until", "should match", "match pattern"),
    _refused(
        "override until a day alone",
        _override(until="2030-01-31"),
        "spec.scaling.override.until",
        "should match",
        "match pattern",
    ),
    _refused("override to nothing", _override(replicas=0), "override.replicas", "should be greater than or equal to 1"),
    _accepted("budget", {"scaling": {"budget": {"replicaHoursPerDay": 48}}}),
    _refused(
        "budget of nothing",
        {"scaling": {"budget": {"replicaHoursPerDay": 0}}},
        "replicaHoursPerDay",
        "should be greater than or equal to 1",
    ),
    _accepted("policy targets", {"scaling": {"policy": "Targets", "targets": {"headroomPercent": -50}}}),
    _accepted("policy score without guards", {"scaling": {"policy": "Score", "score": {"guards": "Disabled"}}}),
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
    _accepted("secret variable", _secret(name="s", key="k")),
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
    _accepted("as many variables as fit", {"env": [{"name": f"A{number}"} for number in range(64)]}),
    _refused(
        "one variable too many",
        {"env": [{"name": f"A{number}"} for number in range(65)]},
        "spec.env",
        "must have at most 64 items",
        "at most 64 items",
    ),
    _refused("variable with a dash", {"env": [{"name": "A-B"}]}, "spec.env[0].name", "should match", "match pattern"),
    _refused("secret without key", _secret(name="s"), "secretKeyRef.key", "Required value", "Field required"),
    # Bounds, enums and patterns.
    _accepted("highest port", {"port": 65535}),
    _refused("port zero", {"port": 0}, "spec.port", "should be greater than or equal to 1"),
    _refused("port too high", {"port": 65536}, "spec.port", "should be less than or equal to 65535"),
    _refused("no replicas", {"scaling": {"minReplicas": 0}}, "minReplicas", "should be greater than or equal to 1"),
    _accepted("mode recommend", {"scaling": {"mode": "Recommend"}}),
    _accepted("mode paused", {"scaling": {"mode": "Paused"}}),
    _refused("unknown mode", {"scaling": {"mode": "Auto"}}, "spec.scaling.mode", "Unsupported value", "'Active'"),
    _refused("unknown policy", {"scaling": {"policy": "Magic"}}, "spec.scaling.policy", "Unsupported value", "'Score'"),
    _refused("unknown engine", {"scaling": {"engine": "V8"}}, "spec.scaling.engine", "Unsupported value", "'Direct'"),
    _accepted("engine Floor", {"scaling": {"engine": "Floor"}}),
    _accepted("fractional quantity", _resources(requests={"cpu": "0.25"})),
    _refused(
        "quantity that is none", _resources(requests={"cpu": "much"}), "requests.cpu", "should match", "match pattern"
    ),
    # Beyond what the API server tells apart, both sides round up or cap: these are equal.
    _accepted(
        "quantities finer than 10^-9",
        _resources(requests={"cpu": "0.000000002m"}, limits={"cpu": "0.000000001m"}),
    ),
    _accepted(
        "binary quantities above 2^63",
        _resources(requests={"memory": "999999999999Ti"}, limits={"memory": "888888888888Ti"}),
    ),
    _refused(
        "decimal quantities above 2^63",
        _resources(requests={"memory": "999999999999T"}, limits={"memory": "888888888888T"}),
        "spec.resources.requests.memory",
        "lower the request or raise the limit",
    ),
    _refused(
        "quantities that differ in the 24th digit",
        _resources(requests={"memory": "123456789012345.123456789T"}, limits={"memory": "123456789012345.123456788T"}),
        "spec.resources.requests.memory",
        "lower the request or raise the limit",
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
    _refused(
        "prometheus with a space of Unicode",
        {"metrics": {"prometheusURL": "http://a\u00a0b"}},
        "spec.metrics.prometheusURL",
        "should match",
        "match pattern",
    ),
    _refused("window too short", {"metrics": {"windowSeconds": 4}}, "windowSeconds", "greater than or equal to 5"),
    _refused("percent above 100", {"targets": {"successPercent": 101}}, "successPercent", "less than or equal to 100"),
    _refused("float", {"targets": {"workflowDurationSeconds": 1.5}}, "workflowDurationSeconds", "integer", "integer"),
    _unknown("unknown field", {"scaling": {"maxReplica": 3}}, "spec.scaling.maxReplica"),
    _unknown("field in snake case", {"scaling": {"min_replicas": 3}}, "spec.scaling.min_replicas"),
    # Other types are not converted. A null is no value: the default takes its place.
    _refused("number as text", {"port": "8000"}, "spec.port", "expected numeric", "valid integer"),
    _refused("truth as text", {"proxy": {"enabled": "yes"}}, "spec.proxy.enabled", "expected boolean", "valid boolean"),
    _refused(
        "number for a truth", {"proxy": {"enabled": 1}}, "spec.proxy.enabled", "expected boolean", "valid boolean"
    ),
    _refused("number for a text", {"image": 1}, "spec.image", "expected string", "valid string"),
    _accepted("null where there is a default", {"scaling": None, "env": None, "metrics": {"windowSeconds": None}}),
    _refused("null for what is required", {"image": None}, "spec.image", 'of type string: "null"', "Field required"),
    _refused("image that is empty", {"image": ""}, "spec.image", "at least 1", "at least 1"),
    _accepted("longest image", {"image": "a" * 512}),
    _refused("image that is too long", {"image": "a" * 513}, "spec.image", "Too long", "at most 512 characters"),
]

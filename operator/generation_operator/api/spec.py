"""The spec of a `GenerationService`, as pydantic models.

The CRD is generated from these models (see `crd.py`), so a bound, a default or a description written here is what
`kubectl explain` shows and what the API server enforces. Kubernetes API conventions apply: no floats, durations as
integers with their unit in the name, quantities as strings, enums in PascalCase, every list and string bounded.
Numbers that are defaults come from the performance guide unless a comment says otherwise.
"""

from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from generation_operator.api.quantity import QUANTITY_PATTERN, parse_quantity

Quantity = Annotated[str, Field(pattern=QUANTITY_PATTERN, max_length=32)]
Percent = Annotated[int, Field(ge=0, le=100)]
Score = Annotated[int, Field(ge=0, le=100)]


def to_camel(name: str) -> str:
    """`min_replicas` -> `minReplicas`; a trailing `url` keeps the API convention's capitals (`prometheusURL`)."""
    head, *tail = name.split("_")
    return head + "".join("URL" if word == "url" else word.capitalize() for word in tail)


class Model(BaseModel):
    """Base of all spec models: camelCase on the wire, frozen, unknown fields and other types refused.

    `cel` lists the rules that tie fields together. Each is enforced twice: by the API server (x-kubernetes-validations)
    and, for a resource that slipped through, by a validator here that raises the same message.
    """

    # strict: "8000" is no port and "yes" is no boolean, as in the API server. Enums alone arrive as their text.
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid", strict=True)
    cel: ClassVar[tuple["CelRule", ...]] = ()

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, given: object) -> object:
        # As in the API server: `env:` with nothing behind it. (Without a default, server-side apply refuses a null.)
        known = {info.alias for info in cls.model_fields.values()}
        if isinstance(given, dict):
            return {name: value for name, value in given.items() if value is not None or name not in known}
        return given


class CelRule(BaseModel):
    """One CEL validation rule of the CRD."""

    model_config = ConfigDict(frozen=True)
    rule: str
    message: str
    field_path: str | None = None

    def schema_entry(self) -> dict[str, Any]:
        """The rule as an entry of `x-kubernetes-validations`."""
        entry = {"rule": self.rule, "message": self.message, "reason": "FieldValueInvalid"}
        return entry | ({"fieldPath": self.field_path} if self.field_path else {})


class Mode(StrEnum):
    """What the operator may do with its decisions."""

    ACTIVE = "Active"
    RECOMMEND = "Recommend"
    PAUSED = "Paused"


class Engine(StrEnum):
    """Who writes the replica count."""

    DIRECT = "Direct"


class Policy(StrEnum):
    """How the replica count is derived from what was observed."""

    SCORE = "Score"


class VerticalMode(StrEnum):
    """What the VerticalPodAutoscaler may do."""

    OFF = "Off"
    RECOMMEND = "Recommend"


class ResourceList(Model):
    """CPU and memory as Kubernetes quantities."""

    cpu: Quantity = Field("500m", description="CPU in cores, for example 500m or 2.")
    memory: Quantity = Field("1Gi", description="Memory in bytes, for example 512Mi or 2Gi.")


class ResourceLimits(Model):
    """Upper limits of one replica."""

    cpu: Quantity = Field("1", description="CPU limit in cores. CPU utilisation in the score is relative to this.")
    memory: Quantity = Field("2Gi", description="Memory limit in bytes. Memory utilisation is relative to this.")


class Resources(Model):
    """Requests and limits of one replica of the service."""

    cel = (
        CelRule(
            rule="quantity(self.requests.cpu).compareTo(quantity(self.limits.cpu)) <= 0",
            message="requests.cpu must not exceed limits.cpu: lower the request or raise the limit",
            field_path=".requests.cpu",
        ),
        CelRule(
            rule="quantity(self.requests.memory).compareTo(quantity(self.limits.memory)) <= 0",
            message="requests.memory must not exceed limits.memory: lower the request or raise the limit",
            field_path=".requests.memory",
        ),
    )
    requests: ResourceList = Field(ResourceList(), description="What the scheduler reserves for one replica.")
    limits: ResourceLimits = Field(ResourceLimits(), description="What one replica may use at most.")

    @model_validator(mode="after")
    def _requests_within_limits(self) -> "Resources":
        for rule, resource in zip(self.cel, ("cpu", "memory"), strict=True):
            if parse_quantity(getattr(self.requests, resource)) > parse_quantity(getattr(self.limits, resource)):
                raise ValueError(rule.message)
        return self


class SecretKeyRef(Model):
    """One key of a Secret in the namespace of the resource. The operator never reads it; the kubelet does."""

    name: str = Field(min_length=1, max_length=253, description="Name of the Secret.")
    key: str = Field(min_length=1, max_length=253, description="Key within the Secret.")


class EnvVarSource(Model):
    """Where the value of an environment variable comes from."""

    secret_key_ref: SecretKeyRef = Field(description="A key of a Secret in the same namespace.")


class EnvVar(Model):
    """One environment variable of the service's container, as in a Pod."""

    cel = (
        CelRule(
            rule="!(has(self.value) && has(self.valueFrom))",
            message="set value or valueFrom, not both",
            field_path=".value",
        ),
    )
    name: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=128, description="Name of the variable.")
    value: str | None = Field(None, max_length=4096, description="Literal value.")
    value_from: EnvVarSource | None = Field(None, description="Take the value from a Secret.")

    @model_validator(mode="after")
    def _one_source(self) -> "EnvVar":
        if self.value is not None and self.value_from is not None:
            raise ValueError(self.cel[0].message)
        return self


class Targets(Model):
    """The six objectives of the performance guide."""

    workflow_duration_seconds: int = Field(
        30,
        ge=1,
        le=86400,
        description="p95 of the time from admission of a workflow to its terminal state, in seconds.",
    )
    concurrent_workflows: int = Field(
        20, ge=1, le=10000, description="Workflows that one replica must sustain at the same time."
    )
    cached_response_milliseconds: int = Field(
        100, ge=1, le=60000, description="p95 of API responses that are answered from the cache, in milliseconds."
    )
    memory: Quantity = Field("2Gi", description="Resident memory that one replica must stay below, in bytes.")
    cache_hit_percent: Percent = Field(70, description="Share of cache look-ups that hit, in percent.")
    success_percent: Percent = Field(95, description="Share of requests that succeed, in percent.")


class ScoreUpThresholds(Model):
    """A signal above its threshold adds its weight to the scale-up score."""

    response_time_milliseconds: int = Field(
        1000, ge=0, le=3600000, description="Mean response time above which its weight counts, in milliseconds."
    )
    cpu_percent: int = Field(80, ge=0, le=1000, description="CPU use above which its weight counts, in % of the limit.")
    memory_percent: int = Field(
        85, ge=0, le=1000, description="Memory use above which its weight counts, in % of the limit."
    )
    queue_length: int = Field(
        50, ge=0, le=1000000, description="Requests waiting, summed over all replicas, above which the weight counts."
    )


class ScoreDownThresholds(Model):
    """A signal below its threshold adds its weight to the scale-down score."""

    response_time_milliseconds: int = Field(
        200, ge=0, le=3600000, description="Mean response time below which its weight counts, in milliseconds."
    )
    cpu_percent: int = Field(30, ge=0, le=1000, description="CPU use below which its weight counts, in % of the limit.")
    memory_percent: int = Field(
        40, ge=0, le=1000, description="Memory use below which its weight counts, in % of the limit."
    )
    requests_per_second: int = Field(
        50,
        ge=0,
        le=1000000,
        description="Requests per second, summed over all replicas, below which the weight counts.",
    )


class ScoreUpWeights(Model):
    """Points that each signal adds to the scale-up score."""

    response_time: Score = Field(30, description="Points for a slow mean response.")
    cpu: Score = Field(25, description="Points for high CPU use.")
    memory: Score = Field(25, description="Points for high memory use.")
    queue_length: Score = Field(20, description="Points for a long queue.")


class ScoreDownWeights(Model):
    """Points that each signal adds to the scale-down score."""

    response_time: Score = Field(20, description="Points for a fast mean response.")
    cpu: Score = Field(25, description="Points for low CPU use.")
    memory: Score = Field(25, description="Points for low memory use.")
    requests_per_second: Score = Field(30, description="Points for little traffic.")


class ScoreUp(Model):
    """When and how far to scale up."""

    thresholds: ScoreUpThresholds = Field(ScoreUpThresholds(), description="Thresholds of the four signals.")
    weights: ScoreUpWeights = Field(ScoreUpWeights(), description="Points of the four signals.")
    score_above: int = Field(50, ge=0, le=400, description="Scale up when the score is greater than this.")
    step_replicas: int = Field(2, ge=1, le=100, description="Replicas to add.")


class ScoreDown(Model):
    """When and how far to scale down."""

    thresholds: ScoreDownThresholds = Field(ScoreDownThresholds(), description="Thresholds of the four signals.")
    weights: ScoreDownWeights = Field(ScoreDownWeights(), description="Points of the four signals.")
    score_above: int = Field(60, ge=0, le=400, description="Scale down when the score is greater than this.")
    step_replicas: int = Field(1, ge=1, le=100, description="Replicas to remove.")


class ScorePolicy(Model):
    """Parameters of the policy `Score`: the performance guide's scorer, every number adjustable."""

    cel = (
        CelRule(
            rule="self.down.thresholds.responseTimeMilliseconds < self.up.thresholds.responseTimeMilliseconds",
            message="down.thresholds.responseTimeMilliseconds must be below up.thresholds.responseTimeMilliseconds: "
            "otherwise one value asks for more and for fewer replicas",
            field_path=".down.thresholds.responseTimeMilliseconds",
        ),
        CelRule(
            rule="self.down.thresholds.cpuPercent < self.up.thresholds.cpuPercent",
            message="down.thresholds.cpuPercent must be below up.thresholds.cpuPercent: "
            "otherwise one value asks for more and for fewer replicas",
            field_path=".down.thresholds.cpuPercent",
        ),
        CelRule(
            rule="self.down.thresholds.memoryPercent < self.up.thresholds.memoryPercent",
            message="down.thresholds.memoryPercent must be below up.thresholds.memoryPercent: "
            "otherwise one value asks for more and for fewer replicas",
            field_path=".down.thresholds.memoryPercent",
        ),
    )
    up: ScoreUp = Field(ScoreUp(), description="When and how far to scale up.")
    down: ScoreDown = Field(ScoreDown(), description="When and how far to scale down.")
    cooldown_seconds: int = Field(
        300, ge=0, le=86400, description="Seconds after a step, up or down, in which no further step is taken."
    )

    @model_validator(mode="after")
    def _ordered_thresholds(self) -> "ScorePolicy":
        fields = ("response_time_milliseconds", "cpu_percent", "memory_percent")
        for rule, field in zip(self.cel, fields, strict=True):
            if getattr(self.down.thresholds, field) >= getattr(self.up.thresholds, field):
                raise ValueError(rule.message)
        return self


class GuardPolicy(Model):
    """The HorizontalPodAutoscaler beside the operator: it may only raise the replica count."""

    cpu_percent: int = Field(
        70, ge=1, le=1000, description="CPU use, in % of the request, that the guard keeps replicas below."
    )


class Scaling(Model):
    """How the replica count is decided and written."""

    cel = (
        CelRule(
            rule="self.minReplicas <= self.maxReplicas",
            message="minReplicas must not exceed maxReplicas: lower minReplicas or raise maxReplicas",
            field_path=".minReplicas",
        ),
    )
    mode: Mode = Field(
        Mode.ACTIVE,
        strict=False,
        description="Active: decisions are carried out. Recommend: decisions are only shown, nothing writes replicas. "
        "Paused: replicas stay as they are.",
    )
    engine: Engine = Field(
        Engine.DIRECT,
        strict=False,
        description="Direct: the operator writes the scale subresource; the HorizontalPodAutoscaler can only raise.",
    )
    policy: Policy = Field(Policy.SCORE, strict=False, description="Score: the performance guide's weighted scores.")
    min_replicas: int = Field(
        2, ge=1, le=1000, description="Replicas that are always kept. `kubectl scale gensvc/NAME --replicas=N` sets it."
    )
    max_replicas: int = Field(20, ge=1, le=1000, description="Replicas that are never exceeded.")
    score: ScorePolicy = Field(ScorePolicy(), description="Parameters of the policy Score.")
    horizontal_pod_autoscaler: GuardPolicy = Field(
        GuardPolicy(), description="The HorizontalPodAutoscaler that guards the service upwards."
    )

    @model_validator(mode="after")
    def _ordered_bounds(self) -> "Scaling":
        if self.min_replicas > self.max_replicas:
            raise ValueError(self.cel[0].message)
        return self


class Vertical(Model):
    """The VerticalPodAutoscaler of the service."""

    mode: VerticalMode = Field(
        VerticalMode.RECOMMEND,
        strict=False,
        description="Recommend: a VerticalPodAutoscaler shows recommendations and changes nothing. Off: none is made.",
    )


class Proxy(Model):
    """The nginx in front of the service."""

    enabled: bool = Field(True, description="Run nginx pods in front of the service.")
    image: str = Field(
        "nginxinc/nginx-unprivileged:1.30-alpine",
        min_length=1,
        max_length=512,
        description="Image that contains nginx on its PATH and runs without root.",
    )
    replicas: int = Field(1, ge=1, le=20, description="Number of nginx pods.")


class Metrics(Model):
    """Where the observed signals come from."""

    prometheus_url: str | None = Field(
        None,
        # Printable ASCII, spelt out: what counts as white space differs between the API server and us.
        pattern=r"^https?://[!-~]+$",
        max_length=512,
        description="Base URL of the Prometheus that scrapes this service; by default the operator's own setting.",
    )
    window_seconds: int = Field(
        60, ge=5, le=3600, description="Window of rates and means, in seconds. At least twice the scrape interval."
    )
    max_age_seconds: int = Field(
        60, ge=5, le=3600, description="Age in seconds up to which the newest sample counts as fresh."
    )


class GenerationServiceSpec(Model):
    """What the service should be and which targets it has to meet."""

    image: str = Field(min_length=1, max_length=512, description="Image of the service.")
    port: int = Field(8000, ge=1, le=65535, description="Port on which the service answers HTTP.")
    resources: Resources = Field(Resources(), description="Requests and limits of one replica.")
    env: list[EnvVar] = Field(
        [], max_length=64, description="Environment of the service's container.", json_schema_extra={"map_key": "name"}
    )
    targets: Targets = Field(Targets(), description="The performance objectives.")
    scaling: Scaling = Field(Scaling(), description="How the replica count is decided and written.")
    vertical: Vertical = Field(Vertical(), description="The VerticalPodAutoscaler of the service.")
    proxy: Proxy = Field(Proxy(), description="The nginx in front of the service.")
    metrics: Metrics = Field(Metrics(), description="Where the observed signals come from.")

    @field_validator("env")
    @classmethod
    def _variables_once(cls, env: list[EnvVar]) -> list[EnvVar]:
        # The API server refuses a second entry by itself: the list is a map by name.
        chosen = [variable.name for variable in env]
        if twice := next((name for name in chosen if chosen.count(name) > 1), None):
            raise ValueError(f"{twice} is given twice: set each variable once")
        return env

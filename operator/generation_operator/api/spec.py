"""The spec of a `GenerationService`, as pydantic models.

The CRD is generated from these models (see `crd.py`), so a bound, a default or a description written here is what
`kubectl explain` shows and what the API server enforces. Kubernetes API conventions apply: no floats, durations as
integers with their unit in the name, quantities as strings, enums in PascalCase, every list and string bounded.
Numbers that are defaults come from the performance guide unless a comment says otherwise.
"""

from enum import StrEnum

from pydantic import Field, field_validator, model_validator

from generation_operator.api.model import CelRule, Model, Percent, Quantity, Switch
from generation_operator.api.quantity import parse_quantity
from generation_operator.api.score import ScorePolicy
from generation_operator.api.timed import Override, Schedule


class Mode(StrEnum):
    """What the operator may do with its decisions."""

    ACTIVE = "Active"
    RECOMMEND = "Recommend"
    PAUSED = "Paused"


class Engine(StrEnum):
    """Who writes the replica count."""

    DIRECT = "Direct"
    FLOOR = "Floor"


class Policy(StrEnum):
    """How the replica count is derived from what was observed."""

    TARGETS = "Targets"
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


class TargetsPolicy(Model):
    """Parameters of the policy `Targets`; the targets themselves are `spec.targets`."""

    headroom_percent: int = Field(
        0,
        ge=-50,
        le=300,
        description="Capacity to keep beyond what the targets need, in percent. More is safer and dearer; below 0 "
        "targets are missed on purpose.",
    )
    assumed_startup_seconds: int = Field(
        30,
        ge=1,
        le=3600,
        description="Seconds from the creation of a replica until it is ready, until that has been measured.",
    )
    forecast: Switch = Field(
        Switch.ENABLED,
        strict=False,
        description="Enabled: a forecast may add replicas early, once it has proven itself on this service's traffic. "
        "It never removes any.",
    )


class Budget(Model):
    """What the service may cost."""

    replica_hours_per_day: int | None = Field(
        None,
        ge=1,
        le=24000,
        description="Replica-hours per day (UTC). When what is left cannot pay for the wanted replicas until midnight, "
        "there are fewer, but never fewer than minReplicas.",
    )


class GuardPolicy(Model):
    """The HorizontalPodAutoscaler beside the operator: it may only raise the replica count."""

    cpu_percent: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="CPU use, in % of the request, that the guard keeps replicas below. By default 70 with the policy "
        "Score, and 90 % of the limit with the policy Targets, which it must not second-guess in normal operation.",
    )


class Scaling(Model):
    """How the replica count is decided and written."""

    cel = (
        CelRule(
            rule="self.minReplicas <= self.maxReplicas",
            message="minReplicas must not exceed maxReplicas: lower minReplicas or raise maxReplicas",
            field_path=".minReplicas",
        ),
        CelRule(
            rule="self.schedules.all(s, s.minReplicas <= self.maxReplicas)",
            message="a schedule's minReplicas must not exceed maxReplicas: lower it or raise maxReplicas",
            field_path=".schedules",
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
        description="Direct: the operator writes the scale subresource; the HorizontalPodAutoscaler can only raise. "
        "Floor: the HorizontalPodAutoscaler alone writes; the operator moves its bounds.",
    )
    policy: Policy = Field(
        Policy.TARGETS,
        strict=False,
        description="Targets: as many replicas as spec.targets need. Score: the performance guide's weighted scores.",
    )
    min_replicas: int = Field(
        2, ge=1, le=1000, description="Replicas that are always kept. `kubectl scale gensvc/NAME --replicas=N` sets it."
    )
    max_replicas: int = Field(20, ge=1, le=1000, description="Replicas that are never exceeded.")
    targets: TargetsPolicy = Field(TargetsPolicy(), description="Parameters of the policy Targets.")
    score: ScorePolicy = Field(ScorePolicy(), description="Parameters of the policy Score.")
    schedules: list[Schedule] = Field(
        [],
        max_length=16,
        description="Times with a higher minimum. Where several are active, the highest counts.",
        json_schema_extra={"map_key": "name"},
    )
    override: Override | None = Field(
        None, description="An exact replica count for a limited time, whatever the policy says."
    )
    budget: Budget = Field(Budget(), description="What the service may cost.")
    horizontal_pod_autoscaler: GuardPolicy = Field(
        GuardPolicy(), description="The HorizontalPodAutoscaler that guards the service upwards."
    )

    @field_validator("schedules")
    @classmethod
    def _names_once(cls, schedules: list[Schedule]) -> list[Schedule]:
        chosen = [schedule.name for schedule in schedules]
        if twice := next((name for name in chosen if chosen.count(name) > 1), None):
            raise ValueError(f"{twice} is given twice: give each schedule a name of its own")
        return schedules

    @model_validator(mode="after")
    def _ordered_bounds(self) -> "Scaling":
        bounds, floors = self.cel
        if self.min_replicas > self.max_replicas:
            raise ValueError(bounds.message)
        if any(schedule.min_replicas > self.max_replicas for schedule in self.schedules):
            raise ValueError(floors.message)
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


class MetricSignal(StrEnum):
    """What the policies read, under the names of `status.autoscaling.lastDecision.signals`."""

    RESPONSE_TIME = "ResponseTime"
    REQUEST_RATE = "RequestRate"
    CPU = "Cpu"
    MEMORY = "Memory"
    QUEUE_LENGTH = "QueueLength"
    ERROR_RATIO = "ErrorRatio"
    WORKFLOW_ARRIVALS = "WorkflowArrivals"
    WORKFLOW_SERVICE_TIME = "WorkflowServiceTime"
    WORKFLOWS_IN_FLIGHT = "WorkflowsInFlight"
    WORKFLOW_DURATION_P95 = "WorkflowDurationP95"
    CACHED_RESPONSE_P95 = "CachedResponseP95"
    CACHE_HIT_RATIO = "CacheHitRatio"
    MISS_RATIO_5M = "MissRatio5m"
    MISS_RATIO_30M = "MissRatio30m"
    MISS_RATIO_1H = "MissRatio1h"
    MISS_RATIO_6H = "MissRatio6h"


class MetricQuery(Model):
    """Where one signal comes from, for a service whose metrics are not named like ours."""

    signal: MetricSignal = Field(strict=False, description="The signal.")
    query: str = Field(
        min_length=1,
        max_length=2048,
        description="PromQL that comes down to one number: seconds, requests or workflows per second, cores (mean of "
        "one replica), bytes (mean of one replica), a count, or a ratio from 0 to 1. An outage must leave it empty, as "
        "a rate over a short window does.",
    )


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
    queries: list[MetricQuery] = Field(
        [],
        max_length=16,
        description="Queries that replace the operator's own, each for one signal.",
        json_schema_extra={"map_key": "signal"},
    )

    @field_validator("queries")
    @classmethod
    def _signals_once(cls, queries: list[MetricQuery]) -> list[MetricQuery]:
        # The API server refuses a second entry by itself: the list is a map by signal.
        chosen = [query.signal for query in queries]
        if twice := next((signal for signal in chosen if chosen.count(signal) > 1), None):
            raise ValueError(f"{twice} is given twice: give each signal one query")
        return queries


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

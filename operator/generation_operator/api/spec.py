"""The spec of a `GenerationService`, as pydantic models.

The CRD is generated from these models (see `crd.py`), so a bound, a default or a description written here is what
`kubectl explain` shows and what the API server enforces. Kubernetes API conventions apply: no floats, durations as
integers with their unit in the name, quantities as strings, enums in PascalCase, every list and string bounded.
Numbers that are defaults come from the performance guide unless a comment says otherwise.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from generation_operator.api.dependencies import Dependencies
from generation_operator.api.horizontal import GuardPolicy
from generation_operator.api.model import CelRule, Model, Percent, Quantity, Switch
from generation_operator.api.pod import EnvVar, PodTemplate, Resources
from generation_operator.api.score import ScorePolicy
from generation_operator.api.text import first_repeated
from generation_operator.api.timed import Override, Schedule

# Printable ASCII without spaces; what a registry then makes of it is the kubelet's to find out.
Image = Annotated[str, Field(pattern="^[!-~]+$", min_length=1, max_length=512)]


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


class OnMissingMetrics(StrEnum):
    """What happens to the replicas while nothing trustworthy is known of the load."""

    HOLD = "Hold"


class VerticalMode(StrEnum):
    """What the VerticalPodAutoscaler may do."""

    OFF = "Off"
    RECOMMEND = "Recommend"
    ACTIVE = "Active"


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
    on_missing_metrics: OnMissingMetrics = Field(
        OnMissingMetrics.HOLD,
        strict=False,
        description="Hold: while signals are missing or stale, replicas are kept as they are, within minReplicas and "
        "maxReplicas. Any other count would be a guess; set override where you know better.",
    )
    horizontal_pod_autoscaler: GuardPolicy = Field(
        GuardPolicy(), description="The HorizontalPodAutoscaler that guards the service upwards."
    )

    @field_validator("schedules")
    @classmethod
    def _names_once(cls, schedules: list[Schedule]) -> list[Schedule]:
        if twice := first_repeated(schedule.name for schedule in schedules):
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
        description="Recommend: a VerticalPodAutoscaler shows recommendations and changes nothing. Active: it moves "
        "the memory requests of running pods, from a quarter of resources.requests.memory to what targets.memory and "
        "resources.limits.memory allow; it rests while an error budget burns and for ten minutes after a step of the "
        "replicas. Off: none is made.",
    )


class Proxy(Model):
    """The nginx in front of the service."""

    enabled: bool = Field(True, description="Run nginx pods in front of the service.")
    image: Image = Field(
        "nginxinc/nginx-unprivileged:1.30-alpine",
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
        if twice := first_repeated(query.signal for query in queries):
            raise ValueError(f"{twice} is given twice: give each signal one query")
        return queries


class GenerationServiceSpec(Model):
    """What the service should be and which targets it has to meet."""

    cel = (
        CelRule(
            rule="!(has(self.scaling.horizontalPodAutoscaler.memoryPercent) && self.vertical.mode == 'Active')",
            message="memory cannot be followed both ways: remove scaling.horizontalPodAutoscaler.memoryPercent, or set "
            "vertical.mode to Recommend",
            field_path=".vertical.mode",
        ),
    )
    image: Image = Field(description="Image of the service.")
    port: int = Field(8000, ge=1, le=65535, description="Port on which the service answers HTTP.")
    resources: Resources = Field(Resources(), description="Requests and limits of one replica.")
    env: list[EnvVar] = Field(
        [], max_length=64, description="Environment of the service's container.", json_schema_extra={"map_key": "name"}
    )
    pod_template: PodTemplate = Field(PodTemplate(), description="What the pods have besides what the operator gives.")
    dependencies: Dependencies = Field(Dependencies(), description="What the service needs from elsewhere.")
    targets: Targets = Field(Targets(), description="The performance objectives.")
    scaling: Scaling = Field(Scaling(), description="How the replica count is decided and written.")
    vertical: Vertical = Field(Vertical(), description="The VerticalPodAutoscaler of the service.")
    proxy: Proxy = Field(Proxy(), description="The nginx in front of the service.")
    metrics: Metrics = Field(Metrics(), description="Where the observed signals come from.")

    @field_validator("env")
    @classmethod
    def _variables_once(cls, env: list[EnvVar]) -> list[EnvVar]:
        # The API server refuses a second entry by itself: the list is a map by name.
        if twice := first_repeated(variable.name for variable in env):
            raise ValueError(f"{twice} is given twice: set each variable once")
        return env

    @model_validator(mode="after")
    def _one_hand_on_memory(self) -> "GenerationServiceSpec":
        watches_memory = self.scaling.horizontal_pod_autoscaler.memory_percent is not None
        if watches_memory and self.vertical.mode is VerticalMode.ACTIVE:
            raise ValueError(self.cel[0].message)
        return self

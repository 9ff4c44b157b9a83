"""The parameters of the policy `Score`. Every default is the performance guide's number."""

from typing import Annotated

from pydantic import Field, model_validator

from generation_operator.api.model import CelRule, Model, Switch

Score = Annotated[int, Field(ge=0, le=100)]


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

    guards: Switch = Field(
        Switch.ENABLED,
        strict=False,
        description="Enabled: no scale-down with a queue, with more errors than successPercent allows, or without the "
        "error ratio. Disabled: the scores alone decide, as in the performance guide.",
    )

    @model_validator(mode="after")
    def _ordered_thresholds(self) -> "ScorePolicy":
        fields = ("response_time_milliseconds", "cpu_percent", "memory_percent")
        for rule, field in zip(self.cel, fields, strict=True):
            if getattr(self.down.thresholds, field) >= getattr(self.up.thresholds, field):
                raise ValueError(rule.message)
        return self

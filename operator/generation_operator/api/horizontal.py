"""The HorizontalPodAutoscaler beside the operator: what it watches, and how fast it may move.

Numbers that are defaults are the performance guide's.
"""

from enum import StrEnum

from pydantic import Field, field_validator

from generation_operator.api.model import Model
from generation_operator.api.text import first_repeated


class ScalingPolicyType(StrEnum):
    """What a rate limit counts."""

    PERCENT = "Percent"
    PODS = "Pods"


class Preference(StrEnum):
    """Which of several rate limits counts."""

    MAX = "Max"
    MIN = "Min"


class RateLimit(Model):
    """How far the count may move within a time."""

    type: ScalingPolicyType = Field(strict=False, description="Percent: of the present replicas. Pods: that many.")
    value: int = Field(ge=1, le=1000, description="Percent or pods.")
    period_seconds: int = Field(ge=1, le=1800, description="The time in seconds, at most 1800.")


class UpRules(Model):
    """How the HorizontalPodAutoscaler raises."""

    stabilization_window_seconds: int = Field(
        60, ge=0, le=3600, description="Seconds for which the need must have lasted."
    )
    select_policy: Preference = Field(Preference.MAX, strict=False, description="Which policy counts.")
    policies: list[RateLimit] = Field(
        [
            RateLimit(type=ScalingPolicyType.PERCENT, value=100, period_seconds=30),
            RateLimit(type=ScalingPolicyType.PODS, value=4, period_seconds=60),
        ],
        min_length=1,
        max_length=2,
        description="Rate limits, one of each type.",
        json_schema_extra={"map_key": "type"},
    )

    @field_validator("policies")
    @classmethod
    def _types_once(cls, policies: list[RateLimit]) -> list[RateLimit]:
        return _each_type_once(policies)


class DownRules(Model):
    """How the HorizontalPodAutoscaler lowers, which only engine Floor lets it do."""

    stabilization_window_seconds: int | None = Field(
        None,
        ge=0,
        le=3600,
        description="Seconds for which fewer replicas must have been enough; the cluster's own, usually 300, if unset.",
    )
    select_policy: Preference = Field(Preference.MAX, strict=False, description="Which policy counts.")
    policies: list[RateLimit] = Field(
        [RateLimit(type=ScalingPolicyType.PERCENT, value=50, period_seconds=60)],
        min_length=1,
        max_length=2,
        description="Rate limits, one of each type.",
        json_schema_extra={"map_key": "type"},
    )

    @field_validator("policies")
    @classmethod
    def _types_once(cls, policies: list[RateLimit]) -> list[RateLimit]:
        return _each_type_once(policies)


class Behavior(Model):
    """How fast the HorizontalPodAutoscaler may move."""

    scale_up: UpRules = Field(UpRules(), description="How it raises.")
    scale_down: DownRules = Field(DownRules(), description="How it lowers; engine Direct never lets it.")


class GuardPolicy(Model):
    """The HorizontalPodAutoscaler beside the operator: with engine Direct it may only raise the replica count."""

    cpu_percent: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="CPU use, in % of the request, that the guard keeps replicas below. By default 70 with the policy "
        "Score, and 90 % of the limit with the policy Targets, which it must not second-guess in normal operation.",
    )
    memory_percent: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="Memory use, in % of the request, that the guard keeps replicas below; not watched if unset. "
        "Memory that a process does not give back holds replicas for ever.",
    )
    requests_per_second: int | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="Requests per second that one replica takes on average; not watched if unset. Needs a "
        "custom metrics API in the cluster, and goes without until there is one.",
    )
    requests_metric: str = Field(
        "requests_per_second",
        pattern="^[a-zA-Z_:][a-zA-Z0-9_:]*$",
        min_length=1,
        max_length=128,
        description="Name under which the custom metrics API has the requests per second of a pod.",
    )
    behavior: Behavior = Field(Behavior(), description="How fast it may move.")


def _each_type_once(policies: list[RateLimit]) -> list[RateLimit]:
    # The API server refuses a second entry by itself: the list is a map by type.
    if twice := first_repeated(policy.type for policy in policies):
        raise ValueError(f"{twice} is given twice: give each type one policy")
    return policies

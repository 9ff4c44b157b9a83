"""What the policy `Score` can never do, told from its numbers alone.

The guide's weights sum up four signals, and most targets are missed on one signal. Whoever declares a target should
know that missing it, by however much, will not add a replica.
"""

from collections.abc import Iterator
from typing import NamedTuple

from generation_operator.api.score import ScorePolicy
from generation_operator.api.spec import Targets


class Gap(NamedTuple):
    """Something that never happens."""

    field: str  # below spec.scaling.score
    text: str


def gaps(score: ScorePolicy, targets: Targets) -> Iterator[Gap]:
    """Why declared targets cannot make the score add, or remove, replicas."""
    up, down = score.up, score.down
    most_up = up.weights.response_time + up.weights.cpu + up.weights.memory + up.weights.queue_length
    most_down = down.weights.response_time + down.weights.cpu + down.weights.memory + down.weights.requests_per_second
    for name, most, limit, effect in (
        ("up", most_up, up.score_above, "added"),
        ("down", most_down, down.score_above, "removed"),
    ):
        if most <= limit:
            yield Gap(
                f"{name}.scoreAbove",
                f"all weights add up to {most}, never more than {limit}, so replicas are never {effect}: "
                "lower scoreAbove or raise the weights",
            )
    if most_up <= up.score_above:
        return
    for field, points, what in (
        ("responseTime", up.weights.response_time, "slow responses alone give"),
        ("queueLength", up.weights.queue_length, "a long queue alone gives"),
    ):
        if points <= up.score_above:
            yield Gap(
                f"up.weights.{field}",
                f"{what} {points} points, and {up.score_above} must be exceeded, so a target missed that "
                "way never adds replicas unless another signal is high too",
            )
    if up.thresholds.response_time_milliseconds > targets.cached_response_milliseconds:
        yield Gap(
            "up.thresholds.responseTimeMilliseconds",
            f"responses count from {up.thresholds.response_time_milliseconds} ms on, and "
            f"spec.targets.cachedResponseMilliseconds is {targets.cached_response_milliseconds}: the target can be "
            "missed with a score of 0",
        )

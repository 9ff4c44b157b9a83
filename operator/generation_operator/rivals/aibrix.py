"""AIBrix's policy APA, as its controller applies it, its reversed cooldown included.

The metric is an average per replica. Within a tolerance nothing changes; beyond it the count follows the ratio, at most
doubling or halving. Then the controller takes the lowest count of a window on the way down and the highest on the way
up: the opposite of a stabilisation, kept here because the published experiment ran with it.
"""

import math
from collections import deque
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of one PodAutoscaler; AIBrix's defaults."""

    target: float
    min_replicas: int
    max_replicas: int
    up_tolerance: float = 0.1
    down_tolerance: float = 0.1
    max_scale_up_rate: float = 2.0
    max_scale_down_rate: float = 2.0
    up_cooldown_seconds: float = 0.0
    down_cooldown_seconds: float = 300.0


@dataclass(slots=True)
class Memory:
    """Recent counts: (when, how many)."""

    recent: deque[tuple[float, int]] = field(default_factory=deque)


def proposed(config: Config, average: float, current: int) -> int:
    """Replicas that the metric asks for.

    Args:
        config: the autoscaler's settings.
        average: of the metric, per replica.
        current: replicas there are.
    """
    ratio = average / config.target
    if ratio > 1 + config.up_tolerance:
        return min(math.ceil(current * ratio), math.ceil(config.max_scale_up_rate * current))
    if ratio < 1 - config.down_tolerance:
        return max(math.ceil(current * ratio), math.floor(current / config.max_scale_down_rate))
    return current


def decided(config: Config, memory: Memory, average: float, current: int, now: float) -> int:
    """Replicas after bounds and cooldown.

    Args:
        config: the autoscaler's settings.
        memory: changed in place.
        average: of the metric, per replica.
        current: replicas there are.
        now: seconds.
    """
    asked = max(config.min_replicas, min(config.max_replicas, proposed(config, average, current)))
    memory.recent.append((now, asked))
    longest = max(config.up_cooldown_seconds, config.down_cooldown_seconds)
    while memory.recent[0][0] < now - longest:
        memory.recent.popleft()
    if asked < current:
        return min(count for at, count in memory.recent if at >= now - config.down_cooldown_seconds)
    if asked > current:
        return max(count for at, count in memory.recent if at >= now - config.up_cooldown_seconds)
    return current

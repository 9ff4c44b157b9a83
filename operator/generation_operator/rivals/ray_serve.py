"""Ray Serve's autoscaling policy (`python/ray/serve/autoscaling_policy.py`), without its controller.

Each look compares the ongoing requests per replica with the target. A change happens only after every look over a delay
has asked for the same direction; one that did not starts the count anew.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Config:
    """`AutoscalingConfig`; Ray's defaults.

    Attributes:
        target_ongoing_requests: per replica.
        upscale_delay_seconds: how long more must have been asked for.
        downscale_delay_seconds: how long less must have been asked for.
        upscaling_factor: share of the way up that is gone at once.
        downscaling_factor: share of the way down.
    """

    min_replicas: int
    max_replicas: int
    target_ongoing_requests: float = 2.0
    upscale_delay_seconds: float = 30.0
    downscale_delay_seconds: float = 600.0
    upscaling_factor: float = 1.0
    downscaling_factor: float = 1.0
    loop_seconds: float = 0.1


@dataclass(slots=True)
class Memory:
    """Looks in a row that asked for more (above zero) or for less (below)."""

    streak: int = 0


def wanted(config: Config, ongoing: float, current: int) -> int:
    """Replicas that one look asks for.

    Args:
        config: the policy's settings.
        ongoing: requests being worked on or waiting, all replicas together, averaged over the look-back period.
        current: replicas asked for now.
    """
    if current == 0:
        first = max(math.ceil(config.upscaling_factor), 0) if ongoing > 0 else 0
        return _bounded(config, first)
    desired = current * (ongoing / (config.target_ongoing_requests * current))
    factor = config.upscaling_factor if desired > current else config.downscaling_factor
    smoothed = math.ceil(current + factor * (desired - current))
    if math.ceil(desired) < current and smoothed == current:
        smoothed -= 1
    return _bounded(config, smoothed)


def decided(config: Config, memory: Memory, ongoing: float, current: int) -> int:
    """Replicas after the delays; call it once per loop.

    Args:
        config: the policy's settings.
        memory: changed in place.
        ongoing: as for `wanted`.
        current: replicas asked for now.
    """
    asked = wanted(config, ongoing, current)
    if asked > current:
        memory.streak = max(memory.streak, 0) + 1
        if current == 0 or memory.streak > int(config.upscale_delay_seconds / config.loop_seconds):
            memory.streak = 0
            return asked
    elif asked < current:
        memory.streak = min(memory.streak, 0) - 1
        if memory.streak < -int(config.downscale_delay_seconds / config.loop_seconds):
            memory.streak = 0
            return asked
    else:
        memory.streak = 0
    return current


def _bounded(config: Config, replicas: int) -> int:
    return max(config.min_replicas, min(config.max_replicas, replicas))

"""How Ray Serve's default policy chooses a count from the requests that its handles report.

Faithful to `replica_queue_length_autoscaling_policy` of 2026, in which delays are measured on a clock and bounds come
last. A count changes only when the policy has wanted to go the same way, to whatever count, for a whole delay: one
look in between that wants no change starts the delay anew.
"""

import math
from dataclasses import dataclass

Seconds = float

_EPSILON = 1e-6  # seconds; a delay that is over but for rounding is over


@dataclass(frozen=True, slots=True)
class Settings:
    """`autoscaling_config` of a deployment.

    Attributes:
        target_ongoing_requests: per replica, waiting ones included.
        upscaling_factor: part of the way to a higher count that is gone at once.
        downscaling_factor: the same to a lower one.
        downscale_to_zero_delay: from one replica to none; None: as any other.
    """

    min_replicas: int
    max_replicas: int
    target_ongoing_requests: float = 2.0
    upscale_delay: Seconds = 30.0
    downscale_delay: Seconds = 600.0
    upscaling_factor: float = 1.0
    downscaling_factor: float = 1.0
    downscale_to_zero_delay: Seconds | None = None


class Policy:
    """The policy of one deployment and what it remembers."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._direction = 0  # the way it wants to go since `_since`
        self._since: Seconds = 0.0

    def decide(self, requests: float, running: int, target: int, now: Seconds) -> int:
        """The new count.

        Args:
            requests: being worked on by running replicas, or waiting at a handle.
            running: replicas that take requests.
            target: the count as decided last.
            now: seconds.
        """
        settings = self._settings
        if running == 0:
            # Nobody serves: what waits asks for a first replica at once; without requests the count stays.
            return self._bounded(max(math.ceil(settings.upscaling_factor), target) if requests > 0 else target)
        wanted = _scaled(requests / settings.target_ongoing_requests, running, settings)
        return self._bounded(self._delayed(max(0, wanted), target, now))

    def _delayed(self, wanted: int, target: int, now: Seconds) -> int:
        direction = (wanted > target) - (wanted < target)
        if direction != self._direction:
            self._direction, self._since = direction, now
        if direction == 0:
            return target
        settings = self._settings
        delay = settings.upscale_delay if direction > 0 else settings.downscale_delay
        if direction < 0 and target == 1 and settings.downscale_to_zero_delay is not None:
            delay = settings.downscale_to_zero_delay
        if now - self._since + _EPSILON < delay:
            return target
        self._direction = 0
        return max(1, wanted) if direction < 0 and target != 1 else wanted

    def _bounded(self, count: int) -> int:
        return max(self._settings.min_replicas, min(self._settings.max_replicas, count))


def _scaled(needed: float, running: int, settings: Settings) -> int:
    """A part of the way from the running replicas to what is needed, at least one step of it downwards."""
    factor = settings.upscaling_factor if needed > running else settings.downscaling_factor
    scaled = math.ceil(running + factor * (needed - running))
    return scaled - 1 if math.ceil(needed) < running and scaled == running else scaled

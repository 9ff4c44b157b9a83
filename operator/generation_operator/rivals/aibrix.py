"""How AIBrix's own algorithm (APA) chooses a count from a metric per pod.

Faithful to its state of 2026, the cooldown included, which works the wrong way round: where the HorizontalPodAutoscaler
takes the most cautious of its recent recommendations, this takes the boldest, so that one low reading within five
minutes brings the count down as soon as any other reading is low. What is left out: the guard for pending replicas
(younger than the experiment that the simulator is checked against), schedules, and several metrics.
"""

import math
from dataclasses import dataclass
from typing import Final

Seconds = float

RESYNC_SECONDS: Final = 10.0  # between two turns


@dataclass(frozen=True, slots=True)
class Settings:
    """A PodAutoscaler with `scalingStrategy: APA`, and its annotations.

    Attributes:
        target: of the metric, per pod.
        max_scale_up_rate: the count may grow to at most so many times itself in one turn.
        max_scale_down_rate: it may shrink to at least this part of itself (2: one half).
        up_tolerance: part of the target by which the metric may exceed it.
        down_tolerance: the same below it.
        window: seconds that the metric is averaged over.
        up_cooldown: seconds of recommendations that a higher count is chosen from; 0: none but the newest.
        down_cooldown: the same for a lower one.
    """

    target: float
    min_replicas: int
    max_replicas: int
    max_scale_up_rate: float = 2.0
    max_scale_down_rate: float = 2.0
    up_tolerance: float = 0.1
    down_tolerance: float = 0.1
    window: Seconds = 180.0
    up_cooldown: Seconds = 0.0
    down_cooldown: Seconds = 300.0


class Apa:
    """The turns of one PodAutoscaler, and what its controller remembers between them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._readings: dict[int, float] = {}  # by the second; the last one of a second counts
        self._recommendations: list[tuple[Seconds, int]] = []

    def synced(self, reading: float | None, current: int, now: Seconds) -> int:
        """One turn: the count to write.

        Args:
            reading: the metric, averaged over the pods that answered; None when none did, upon which it holds within
                its bounds.
            current: `spec.replicas`. At 0 it is switched off.
            now: seconds.
        """
        if current == 0:
            return 0
        if reading is None:
            return self._bounded(current)
        wanted = self._bounded(self._recommended(self._averaged(reading, now), current))
        return self._bounded(self._cooled(wanted, current, now))

    def _averaged(self, reading: float, now: Seconds) -> float:
        self._readings[math.floor(now)] = reading
        oldest = math.floor(now - self._settings.window)
        self._readings = {second: value for second, value in self._readings.items() if second >= oldest}
        return sum(self._readings.values()) / len(self._readings)

    def _recommended(self, per_pod: float, current: int) -> int:
        settings = self._settings
        ratio = per_pod / settings.target
        needed = math.ceil(current * ratio)
        if ratio > 1 + settings.up_tolerance:
            return min(needed, math.ceil(settings.max_scale_up_rate * current))
        if ratio < 1 - settings.down_tolerance:
            return max(needed, math.floor(current / settings.max_scale_down_rate))
        return current

    def _cooled(self, wanted: int, current: int, now: Seconds) -> int:
        settings = self._settings
        self._recommendations.append((now, wanted))
        kept = max(settings.up_cooldown, settings.down_cooldown)
        self._recommendations = [entry for entry in self._recommendations if entry[0] > now - kept]
        if wanted == current:
            return current
        window = settings.up_cooldown if wanted > current else settings.down_cooldown
        recent = [count for at, count in self._recommendations if at > now - window] or [wanted]
        return max(recent) if wanted > current else min(recent)

    def _bounded(self, count: int) -> int:
        return max(self._settings.min_replicas, min(self._settings.max_replicas, count))

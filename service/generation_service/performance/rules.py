"""When the optimizer acts: the guide's four rules, typed, and strict about what counts as evidence.

One sample never decides: a rule holds only when the last `CONSECUTIVE` samples all say so, and "fine again" needs as
many beyond a second, easier threshold, so that a figure near its bound does not switch an action on and off. A figure
that is not known, or rests on too few samples, is no evidence for anything. Pure.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from generation_service.performance.snapshot import Snapshot

CONSECUTIVE: Final = 3  # samples in a row, 10 s apart: 20 to 30 s
FEWEST_RESPONSES: Final = 20  # in the window; a p95 of fewer is just the slowest one
FEWEST_LOOKUPS: Final = 50  # in the window; the ratio of an idle cache says nothing
MEMORY_SHARE: Final = 0.75  # of the container's limit: at the limit the kernel acts first, by killing


class ActionName(StrEnum):
    """What can be done, in the guide's words."""

    GC_COLLECT = "gc_collect"
    REDUCE_WORKERS = "reduce_workers"
    CLEAR_CACHE = "clear_cache"
    WARM_CACHE = "warm_cache"


class State(StrEnum):
    """What the last samples say about a rule."""

    BROKEN = "broken"  # all of them are beyond the threshold: act
    FINE = "fine"  # all of them are beyond the easier one: undo
    UNCLEAR = "unclear"  # neither: leave everything as it is


@dataclass(frozen=True, slots=True)
class Rule:
    """Act when `figure` is above (or below) its threshold."""

    figure: str  # as in a snapshot
    action: ActionName
    threshold: float  # the guide's
    fine: float  # better than this is fine again
    read: Callable[[Snapshot], float | None]
    cooldown_seconds: float = 300
    below: bool = False  # act when the figure is below the threshold
    limit: Callable[[Snapshot], float | None] = lambda _: None  # a tighter threshold for this container

    def threshold_for(self, snapshot: Snapshot) -> float:
        """The guide's threshold, or the container's if that is reached first."""
        tighter = self.limit(snapshot)
        return self.threshold if tighter is None else min(self.threshold, tighter)

    def broken(self, snapshot: Snapshot) -> bool:
        """Whether the figure is known and beyond the threshold."""
        value = self.read(snapshot)
        if value is None:
            return False
        threshold = self.threshold_for(snapshot)
        return value < threshold if self.below else value > threshold

    def is_fine(self, snapshot: Snapshot) -> bool:
        """Whether the figure is known and clearly on the good side."""
        value = self.read(snapshot)
        if value is None:
            return False
        fine = self.fine * self.threshold_for(snapshot) / self.threshold  # moves along with a tighter threshold
        return value > fine if self.below else value < fine


def _response_time(snapshot: Snapshot) -> float | None:
    return snapshot.response_time_p95 if snapshot.response_count >= FEWEST_RESPONSES else None


def _hit_ratio(snapshot: Snapshot) -> float | None:
    return snapshot.cache_hit_ratio if snapshot.cache_lookups >= FEWEST_LOOKUPS else None


def _memory_limit(snapshot: Snapshot) -> float | None:
    return None if snapshot.cgroup_limit_mb is None else MEMORY_SHARE * snapshot.cgroup_limit_mb


RULES: Final = (
    Rule(
        "memory_mb",
        ActionName.GC_COLLECT,
        threshold=1536,
        fine=1382,  # 90 %
        read=lambda snapshot: snapshot.memory_mb,
        limit=_memory_limit,
    ),
    Rule("cpu_percent", ActionName.REDUCE_WORKERS, threshold=80, fine=70, read=lambda snapshot: snapshot.cpu_percent),
    Rule("response_time_p95", ActionName.CLEAR_CACHE, threshold=2.0, fine=1.0, read=_response_time),
    Rule(
        "cache_hit_ratio",
        ActionName.WARM_CACHE,
        threshold=0.6,
        fine=0.7,  # the objective
        read=_hit_ratio,
        cooldown_seconds=600,
        below=True,
    ),
)


def judge(rule: Rule, snapshots: Sequence[Snapshot]) -> State:
    """What the newest samples say; the caller makes sure that they are fresh.

    Args:
        rule: to judge by.
        snapshots: oldest first; only the last `CONSECUTIVE` count.
    """
    last = snapshots[-CONSECUTIVE:]
    if len(last) < CONSECUTIVE:
        return State.UNCLEAR
    if all(rule.broken(snapshot) for snapshot in last):
        return State.BROKEN
    return State.FINE if all(rule.is_fine(snapshot) for snapshot in last) else State.UNCLEAR

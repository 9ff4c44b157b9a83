"""Samples the service every few seconds and keeps the last thousand samples.

A sample that cannot be taken is no sample: the error is kept in `last_error`, the data grow stale, and whoever acts on
them must ask `fresh` first. The loop never dies of an error. What blocks (walking /proc) runs in a thread.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from generation_service.performance.activity import Activity
from generation_service.performance.machine import Machine, Usage
from generation_service.performance.snapshot import MEGABYTE, Snapshot
from generation_service.ports import Clock

INTERVAL_SECONDS: Final = 10.0
KEPT: Final = 1000  # 2.8 hours; about 2 kB each
_CACHE_WINDOW_SECONDS: Final = 60.0  # as the response times, so that one sample tells of one minute
_STALE_AFTER: Final = 2.5  # intervals: one sample may be missed, two may not
_FIRST_AFTER_SECONDS: Final = 1.0  # CPU is a difference of two readings; a shorter one would be noise


@dataclass(frozen=True, slots=True)
class CacheCounts:
    """What the cache has counted since it was made. Lookups at L2 are those that L1 could not answer."""

    lookups: int = 0
    l1_hits: int = 0
    l2_hits: int = 0
    l2_lookups: int = 0

    def since(self, earlier: "CacheCounts") -> "CacheCounts":
        """What came on top."""
        return CacheCounts(
            lookups=self.lookups - earlier.lookups,
            l1_hits=self.l1_hits - earlier.l1_hits,
            l2_hits=self.l2_hits - earlier.l2_hits,
            l2_lookups=self.l2_lookups - earlier.l2_lookups,
        )

    @property
    def hit_ratio(self) -> float | None:
        """Share of lookups that either level answered."""
        return (self.l1_hits + self.l2_hits) / self.lookups if self.lookups > 0 else None

    @property
    def l1_hit_ratio(self) -> float | None:
        """Share of lookups that L1 answered."""
        return self.l1_hits / self.lookups if self.lookups > 0 else None

    @property
    def l2_hit_ratio(self) -> float | None:
        """Share of the lookups at L2 that it answered."""
        return self.l2_hits / self.l2_lookups if self.l2_lookups > 0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where the figures come from; asked on the event loop, so they must be cheap, but `machine` in a thread."""

    activity: Activity
    machine: Machine
    active_connections: Callable[[], int]
    in_flight: Callable[[], int]
    queue_length: Callable[[], float]  # a share of the backlog of all replicas need not be whole
    cache: Callable[[], CacheCounts]


@dataclass(frozen=True, slots=True)
class _Reading:
    """What the next sample is a difference to."""

    at: float
    usage: Usage
    requests: int


class Collector:
    """Takes samples while `run` runs.

    Args:
        sources: what to ask.
        clock: for intervals and ages.
        wall: seconds since the epoch, only shown to people.
        interval_seconds: between samples; shorter ones cost more and say less (a p95 needs answers).
    """

    def __init__(
        self,
        sources: Sources,
        clock: Clock,
        wall: Callable[[], float],
        interval_seconds: float = INTERVAL_SECONDS,
    ) -> None:
        self.interval_seconds = interval_seconds
        self.last_error: str | None = None  # of the last attempt; None when it went well
        self.errors = 0  # samples that could not be taken
        self._sources = sources
        self._clock = clock
        self._wall = wall
        self._snapshots: deque[Snapshot] = deque(maxlen=KEPT)
        self._before: _Reading | None = None
        self._cache: deque[tuple[float, CacheCounts]] = deque()  # counts of the last minute, oldest first

    @property
    def snapshots(self) -> Sequence[Snapshot]:
        """All samples kept, oldest first; a copy."""
        return tuple(self._snapshots)

    @property
    def latest(self) -> Snapshot | None:
        """The newest sample, however old."""
        return self._snapshots[-1] if self._snapshots else None

    @property
    def age_seconds(self) -> float | None:
        """Time since the newest sample; None before the first."""
        return self._clock.now() - self._snapshots[-1].at if self._snapshots else None

    @property
    def fresh(self) -> bool:
        """Whether the newest sample is young enough to act on."""
        age = self.age_seconds
        return age is not None and age <= _STALE_AFTER * self.interval_seconds

    async def run(self) -> None:
        """Sample until cancelled."""
        await self.prime()
        await self._clock.sleep(min(_FIRST_AFTER_SECONDS, self.interval_seconds))
        while True:
            await self.sample()
            await self._clock.sleep(self.interval_seconds)

    async def prime(self) -> None:
        """Take the reading that the first sample is a difference to; without it the first CPU figure would be a 0."""
        try:
            usage = await asyncio.to_thread(self._sources.machine.read)
            self._remember(self._clock.now(), usage)
            self._cache.append((self._clock.now(), self._sources.cache()))
        except Exception as error:  # noqa: BLE001 - whatever a source raises, sampling goes on
            self._failed(error)

    async def sample(self) -> None:
        """Take one sample, or keep why there is none."""
        try:
            usage = await asyncio.to_thread(self._sources.machine.read)
            self._snapshots.append(self._snapshot(self._clock.now(), usage))
        except Exception as error:  # noqa: BLE001 - as above
            self._failed(error)
        else:
            self.last_error = None

    def _failed(self, error: Exception) -> None:
        self.errors += 1
        self.last_error = f"{type(error).__name__}: {error}"

    def _remember(self, now: float, usage: Usage) -> None:
        self._before = _Reading(now, usage, self._sources.activity.requests)

    def _snapshot(self, now: float, usage: Usage) -> Snapshot:
        sources = self._sources
        responses = sources.activity.responses()
        workflows = sources.activity.workflows()
        counts = sources.cache()
        connections, in_flight, queued = sources.active_connections(), sources.in_flight(), sources.queue_length()
        # Nothing below can fail, so an error of a source cannot leave a half-taken sample behind.
        cpu = _cpu(self._before, now, usage)
        rate = _request_rate(self._before, now, sources.activity.requests)
        cache = self._recent_cache(now, counts)
        self._remember(now, usage)
        cgroup = usage.cgroup
        return Snapshot(
            at=now,
            timestamp=self._wall(),
            cpu_percent=cpu.container if cpu.container is not None else cpu.tree,
            tree_cpu_percent=cpu.tree,
            process_cpu_percent=cpu.process,
            memory_mb=usage.tree_rss_bytes / MEGABYTE,
            process_memory_mb=usage.process_rss_bytes / MEGABYTE,
            cgroup_memory_mb=None if cgroup.memory_bytes is None else cgroup.memory_bytes / MEGABYTE,
            cgroup_limit_mb=None if cgroup.memory_limit_bytes is None else cgroup.memory_limit_bytes / MEGABYTE,
            active_connections=connections,
            in_flight=in_flight,
            queue_length=queued,
            request_rate=rate,
            response_time_p95=responses.p95,
            response_count=responses.count,
            cached_response_p95=responses.cached_p95,
            error_rate=responses.error_rate,
            cache_lookups=cache.lookups,
            cache_hit_ratio=cache.hit_ratio,
            l1_hit_ratio=cache.l1_hit_ratio,
            l2_hit_ratio=cache.l2_hit_ratio,
            workflow_p95=workflows.p95,
            workflow_average=workflows.average,
            workflow_maximum=workflows.maximum,
            workflow_count=workflows.count,
            outcome_count=workflows.outcomes,
            success_rate=workflows.success_rate,
            responses=sources.activity.take_interval(),
        )

    def _recent_cache(self, now: float, counts: CacheCounts) -> CacheCounts:
        """What the cache did in the last minute, or since we began if that is less."""
        self._cache.append((now, counts))
        while len(self._cache) > 2 and self._cache[1][0] <= now - _CACHE_WINDOW_SECONDS:
            self._cache.popleft()
        return counts.since(self._cache[0][1])


@dataclass(frozen=True, slots=True)
class _Cpu:
    """Percentages since the reading before; None without one."""

    container: float | None = None  # also None without a quota: the group may then be the whole machine
    tree: float | None = None
    process: float | None = None


def _cpu(before: _Reading | None, now: float, usage: Usage) -> _Cpu:
    if before is None or now <= before.at:
        return _Cpu()
    seconds = now - before.at
    # Process by process: a child that ended would otherwise take its seconds back. A new one began after `before`.
    spent = sum(
        max(0.0, total - before.usage.tree_cpu_seconds.get(process, 0.0))
        for process, total in usage.tree_cpu_seconds.items()
    )
    container = None
    earlier, later, quota = before.usage.cgroup.cpu_seconds, usage.cgroup.cpu_seconds, usage.cgroup.cpu_limit
    if earlier is not None and later is not None and quota is not None:
        container = 100 * (later - earlier) / (seconds * quota)
    return _Cpu(
        container=container,
        tree=100 * spent / (seconds * usage.cores),
        process=100 * (usage.process_cpu_seconds - before.usage.process_cpu_seconds) / seconds,
    )


def _request_rate(before: _Reading | None, now: float, requests: int) -> float | None:
    if before is None or now <= before.at:
        return None
    return (requests - before.requests) / (now - before.at)

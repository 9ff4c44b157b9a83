"""A clock that stands still until told, and samples of which a test names only what it is about."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from generation_service.performance.cgroup import CgroupSample
from generation_service.performance.histogram import Histogram
from generation_service.performance.machine import Usage
from generation_service.performance.snapshot import MEGABYTE, Snapshot
from generation_service.ports import Timer

NO_CGROUP = CgroupSample(None, None, None, None)


class ManualClock:
    """`ports.Clock`; sleeping moves it on."""

    def __init__(self, now: float = 1000.0) -> None:
        self.time = now
        self.slept: list[float] = []

    def now(self) -> float:
        return self.time

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        raise NotImplementedError

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds
        await asyncio.sleep(0)


_IDLE = Snapshot(
    at=0.0,
    timestamp=0.0,
    cpu_percent=1.0,
    tree_cpu_percent=1.0,
    process_cpu_percent=1.0,
    memory_mb=100.0,
    process_memory_mb=100.0,
    cgroup_memory_mb=None,
    cgroup_limit_mb=None,
    active_connections=0,
    in_flight=0,
    queue_length=0,
    request_rate=0.0,
    response_time_p95=None,
    response_count=0,
    cached_response_p95=None,
    error_rate=None,
    cache_lookups=0,
    cache_hit_ratio=None,
    l1_hit_ratio=None,
    l2_hit_ratio=None,
    workflow_p95=None,
    workflow_average=None,
    workflow_maximum=None,
    workflow_count=0,
    outcome_count=0,
    success_rate=None,
    responses=Histogram(),
)


def sample(**values: Any) -> Snapshot:
    """An idle pod, with these values instead."""
    return replace(_IDLE, **values)


def histogram(*seconds: float) -> Histogram:
    filled = Histogram()
    for value in seconds:
        filled.observe(value)
    return filled


class FakeMachine:
    """`Machine` that says what it is told, or raises."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.rss_mb = 100.0
        self.cpu_seconds = 50.0
        self.children: dict[tuple[int, float], float] = {}
        self.cores = 2.0
        self.cgroup = NO_CGROUP

    def read(self) -> Usage:
        if self.error is not None:
            raise self.error
        return Usage(
            tree_rss_bytes=int(self.rss_mb * MEGABYTE),
            process_rss_bytes=int(self.rss_mb * MEGABYTE),
            process_cpu_seconds=self.cpu_seconds,
            tree_cpu_seconds={(1, 0.0): self.cpu_seconds, **self.children},
            cores=self.cores,
            cgroup=self.cgroup,
        )

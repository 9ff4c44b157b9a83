"""Samples: honest, of this process, and stale rather than wrong."""

import asyncio
import contextlib
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace

import psutil
import pytest

from generation_service.domain.workflow import Outcome
from generation_service.performance.activity import Activity
from generation_service.performance.cgroup import CgroupSample
from generation_service.performance.collector import KEPT, CacheCounts, Collector, Sources
from generation_service.performance.machine import ProcessTree, Usage
from generation_service.performance.snapshot import MEGABYTE, Snapshot
from performance_fakes import FakeMachine, ManualClock


class World:
    """A collector and everything it asks."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.machine = FakeMachine()
        self.activity = Activity(self.clock)
        self.cache = CacheCounts()
        self.sources = Sources(
            activity=self.activity,
            machine=self.machine,
            active_connections=lambda: 3,
            in_flight=lambda: 2,
            queue_length=lambda: 1.5,
            cache=lambda: self.cache,
        )
        self.collector = Collector(self.sources, self.clock, lambda: 5000.0)

    async def sample(self, after: float = 10.0) -> Snapshot:
        self.clock.time += after
        await self.collector.sample()
        latest = self.collector.latest
        assert latest is not None
        return latest


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while True:
            if condition():
                return
            await asyncio.sleep(0.001)


async def test_first_cpu_figure_is_measured_not_zero() -> None:
    world = World()
    await world.collector.prime()
    world.machine.cpu_seconds += 5
    found = await world.sample()
    assert found.cpu_percent == 25.0  # 5 s of 10 s on 2 cores
    assert found.process_cpu_percent == 50.0


async def test_without_a_reading_before_cpu_and_rate_are_unknown() -> None:
    found = await World().sample()
    assert (found.cpu_percent, found.request_rate) == (None, None)


async def test_cpu_is_of_the_container_over_its_quota_when_it_has_one() -> None:
    world = World()
    world.machine.cgroup = CgroupSample(10 * MEGABYTE, 50 * MEGABYTE, 100.0, 0.5)
    await world.collector.prime()
    world.machine.cgroup = replace(world.machine.cgroup, cpu_seconds=104.0)
    found = await world.sample()
    assert found.cpu_percent == 80.0  # 4 s of 10 s * half a core
    assert (found.cgroup_memory_mb, found.cgroup_limit_mb) == (10.0, 50.0)


async def test_cpu_of_a_container_without_quota_is_not_that_of_the_machine() -> None:
    world = World()
    world.machine.cgroup = CgroupSample(None, None, 0.0, None)
    await world.collector.prime()
    world.machine.cgroup = CgroupSample(None, None, 1e6, None)  # neighbours are busy
    assert (await world.sample()).cpu_percent == 0.0


async def test_child_that_ended_takes_no_cpu_back() -> None:
    world = World()
    world.machine.children = {(7, 1.0): 900.0}
    await world.collector.prime()
    world.machine.children = {(7, 2.0): 4.0}  # another process with the same id
    assert (await world.sample()).tree_cpu_percent == 20.0


async def test_figures_without_samples_are_unknown_not_zero() -> None:
    found = await World().sample()
    for name in ("response_time_p95", "cached_response_p95", "error_rate", "cache_hit_ratio", "l1_hit_ratio",
                 "l2_hit_ratio", "workflow_p95", "workflow_average", "workflow_maximum", "success_rate"):  # fmt: skip
        assert getattr(found, name) is None, name


async def test_sample_holds_what_happened() -> None:
    world = World()
    await world.collector.prime()
    for _ in range(50):
        world.activity.responded(200, 0.2, cached=False)
    world.activity.finished(Outcome.SUCCESS, 4.0)
    world.cache = CacheCounts(lookups=10, l1_hits=6, l2_hits=1, l2_lookups=4)
    found = await world.sample()
    assert found.request_rate == 5.0
    assert found.response_time_p95 == pytest.approx(0.2, rel=0.03)
    assert (found.cache_hit_ratio, found.l1_hit_ratio, found.l2_hit_ratio) == (0.7, 0.6, 0.25)
    assert (found.workflow_maximum, found.success_rate) == (4.0, 1.0)
    assert (found.active_connections, found.in_flight, found.queue_length) == (3, 2, 1.5)
    assert found.timestamp == 5000.0
    assert found.responses.count == 50
    assert (await world.sample()).responses.count == 0


async def test_hit_ratio_is_that_of_the_last_minute() -> None:
    world = World()
    world.cache = CacheCounts(lookups=1000)
    await world.collector.prime()
    for _ in range(8):
        world.cache = replace(world.cache, lookups=world.cache.lookups + 10, l1_hits=world.cache.l1_hits + 10)
        found = await world.sample()
    assert found.cache_hit_ratio == 1.0
    assert found.cache_lookups == 60


async def test_failed_sample_leaves_no_sample_but_its_error_and_ends_stale() -> None:
    world = World()
    await world.sample()
    world.machine.error = OSError("no /proc")
    for _ in range(3):
        await world.sample()
    assert len(world.collector.snapshots) == 1
    assert (world.collector.last_error, world.collector.errors) == ("OSError: no /proc", 3)
    assert not world.collector.fresh
    world.machine.error = None
    await world.sample()
    assert world.collector.last_error is None
    assert world.collector.fresh


async def test_loop_survives_errors_and_keeps_its_pace() -> None:
    world = World()
    world.machine.error = RuntimeError("odd")
    task = asyncio.create_task(world.collector.run())
    await until(lambda: world.collector.errors >= 3)
    world.machine.error = None
    await until(lambda: world.collector.latest is not None)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert world.clock.slept[0] == 1.0
    assert set(world.clock.slept[1:]) == {10.0}


async def test_memory_of_samples_is_bounded() -> None:
    world = World()
    for _ in range(KEPT + 5):
        await world.collector.sample()
        world.clock.time += 10
    assert len(world.collector.snapshots) == KEPT


def test_memory_is_that_of_the_process_tree_not_of_the_machine() -> None:
    machine = ProcessTree()
    alone = machine.read()
    assert alone.process_rss_bytes == pytest.approx(psutil.Process().memory_info().rss, rel=0.2)
    program = "import sys; ballast = bytearray(b'x' * 60_000_000); print('ready', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        with_child = machine.read()
        assert child.stdin is not None
        child.stdin.close()
        child.wait(10)
    assert with_child.tree_rss_bytes - alone.tree_rss_bytes > 60_000_000
    assert any(pid == child.pid for pid, _ in with_child.tree_cpu_seconds)
    assert with_child.tree_rss_bytes != psutil.virtual_memory().used


async def test_reading_the_machine_does_not_block_the_loop() -> None:
    world = World()
    thread_of_loop = threading.get_ident()
    seen: list[int] = []

    class Recording(FakeMachine):
        def read(self) -> Usage:
            seen.append(threading.get_ident())
            return super().read()

    collector = Collector(replace(world.sources, machine=Recording()), world.clock, lambda: 0.0)
    await collector.sample()
    assert seen
    assert thread_of_loop not in seen

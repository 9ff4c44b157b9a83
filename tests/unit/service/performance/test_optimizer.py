"""Rules that need evidence, actions that are bounded and undone, and an honest audit."""

import asyncio
import gc
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation_service.performance.actions import (
    KeepLonger,
    ReduceWorkers,
    RelieveMemory,
    Warm,
    freeze_start_up,
    load_malloc_trim,
)
from generation_service.performance.activity import Activity
from generation_service.performance.collector import CacheCounts, Collector, Sources
from generation_service.performance.optimizer import Optimizer, Outcome, effect
from generation_service.performance.rules import RULES, ActionName, State, judge
from generation_service.performance.snapshot import MEGABYTE, Snapshot
from performance_fakes import FakeMachine, ManualClock, sample

BY_ACTION = {rule.action: rule for rule in RULES}


class FakeCache:
    def __init__(self) -> None:
        self.calls: list[str] = []

    def shrink(self, fraction: float) -> None:
        self.calls.append(f"shrink {fraction}")

    def restore(self) -> None:
        self.calls.append("restore")

    def purge_expired(self) -> int:
        self.calls.append("purge_expired")
        return 7

    def set_ttl_factor(self, factor: float) -> None:
        self.calls.append(f"ttl {factor}")


class FakePool:
    def __init__(self, size: int) -> None:
        self.size = self.configured = size

    def resize(self, size: int) -> None:
        self.size = size


class FakeWarmer:
    def __init__(self) -> None:
        self.limits: list[int] = []
        self.error: Exception | None = None

    async def warm_now(self, limit: int) -> int:
        self.limits.append(limit)
        if self.error is not None:
            raise self.error
        return 4


class World:
    """An optimizer over a collector whose machine says what the test wants."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.machine = FakeMachine()
        self.counts = CacheCounts()
        self.cache, self.pools, self.warmer = FakeCache(), {"ai_api": FakePool(5), "cpu": FakePool(2)}, FakeWarmer()
        sources = Sources(
            activity=Activity(self.clock),
            machine=self.machine,
            active_connections=lambda: 0,
            in_flight=lambda: 0,
            queue_length=lambda: 0,
            cache=lambda: self.counts,
        )
        self.collector = Collector(sources, self.clock, lambda: 5000.0)
        self.acted: list[tuple[str, bool]] = []
        self.optimizer = Optimizer(
            self.collector,
            [
                RelieveMemory(self.cache, lambda: int(self.machine.rss_mb * MEGABYTE)),
                ReduceWorkers(self.pools),
                KeepLonger(self.cache),
                Warm(self.warmer),
            ],
            self.clock,
            lambda: 5000.0 + self.clock.now(),
            acted=lambda name, done: self.acted.append((name, done)),
        )

    async def ticks(self, count: int, *, cpu: float = 0.0, lookups: int = 0) -> None:
        for _ in range(count):
            self.clock.time += 10
            self.machine.cpu_seconds += cpu / 100 * 10 * self.machine.cores
            self.counts = CacheCounts(lookups=self.counts.lookups + lookups)
            await self.collector.sample()
            await self.optimizer.tick()


def snapshots(count: int = 3, **values: Any) -> list[Snapshot]:
    return [sample(**values) for _ in range(count)]


@pytest.mark.parametrize(
    ("action", "values", "state"),
    [
        (ActionName.GC_COLLECT, {"memory_mb": 1537}, State.BROKEN),
        (ActionName.GC_COLLECT, {"memory_mb": 1536}, State.UNCLEAR),
        (ActionName.GC_COLLECT, {"memory_mb": 1300}, State.FINE),
        (ActionName.GC_COLLECT, {"memory_mb": 390, "cgroup_limit_mb": 512}, State.BROKEN),  # 75 % of a small container
        (ActionName.REDUCE_WORKERS, {"cpu_percent": 80.1}, State.BROKEN),
        (ActionName.REDUCE_WORKERS, {"cpu_percent": 75}, State.UNCLEAR),
        (ActionName.REDUCE_WORKERS, {"cpu_percent": None}, State.UNCLEAR),
        (ActionName.CLEAR_CACHE, {"response_time_p95": 2.1, "response_count": 20}, State.BROKEN),
        (ActionName.CLEAR_CACHE, {"response_time_p95": 2.1, "response_count": 19}, State.UNCLEAR),
        (ActionName.WARM_CACHE, {"cache_hit_ratio": 0.59, "cache_lookups": 50}, State.BROKEN),
        (ActionName.WARM_CACHE, {"cache_hit_ratio": 0.65, "cache_lookups": 50}, State.UNCLEAR),
        (ActionName.WARM_CACHE, {"cache_hit_ratio": 0.71, "cache_lookups": 50}, State.FINE),
        (ActionName.WARM_CACHE, {"cache_hit_ratio": 0.0, "cache_lookups": 49}, State.UNCLEAR),
        (ActionName.WARM_CACHE, {"cache_hit_ratio": None}, State.UNCLEAR),  # an idle pod warms nothing
    ],
)
def test_rule_judges_only_known_figures(action: ActionName, values: dict[str, Any], state: State) -> None:
    assert judge(BY_ACTION[action], snapshots(**values)) is state


@pytest.mark.parametrize("memory", [[1600], [1600, 1600], [1600, 1600, 1500], [1500, 1600, 1600]])
def test_fewer_than_three_samples_in_a_row_decide_nothing(memory: list[float]) -> None:
    assert judge(BY_ACTION[ActionName.GC_COLLECT], [sample(memory_mb=value) for value in memory]) is not State.BROKEN


def test_cooldowns_are_those_of_the_guide() -> None:
    assert {rule.action: rule.cooldown_seconds for rule in RULES} == {
        ActionName.GC_COLLECT: 300,
        ActionName.REDUCE_WORKERS: 300,
        ActionName.CLEAR_CACHE: 300,
        ActionName.WARM_CACHE: 600,
    }


async def test_memory_is_relieved_once_per_cooldown_and_given_back_when_fine() -> None:
    world = World()
    world.machine.rss_mb = 1600
    await world.ticks(2)
    assert world.cache.calls == []
    await world.ticks(30)  # 300 s: at the end of the cooldown, not before
    assert world.cache.calls == ["shrink 0.5"]
    await world.ticks(1)
    assert world.cache.calls == ["shrink 0.5", "shrink 0.5"]
    world.machine.rss_mb = 1000
    await world.ticks(10)
    assert world.cache.calls == ["shrink 0.5", "shrink 0.5", "restore"]
    first, second = world.optimizer.entries
    assert first.outcome is Outcome.NO_EFFECT
    assert second.outcome is Outcome.HELPED
    assert second.before["memory_mb"] == 1600
    assert second.after is not None
    assert second.after["memory_mb"] == 1000
    assert (first.reverted_at, second.reverted_at is not None) == (None, True)
    assert "1600.0 -> 1600.0 MB (+0.0)" in first.detail  # honest: it brought nothing


async def test_one_sample_is_judged_once_and_stale_ones_never() -> None:
    world = World()
    world.machine.rss_mb = 1600
    await world.ticks(2)
    for _ in range(5):
        await world.optimizer.tick()
    assert world.optimizer.entries == ()
    world.machine.error = OSError("collector is blind")
    await world.ticks(10)
    assert world.optimizer.entries == ()


async def test_workers_are_reduced_to_a_minimum_and_come_back_one_by_one() -> None:
    world = World()
    await world.collector.prime()
    sizes = []
    for _ in range(5):
        await world.ticks(31, cpu=95)
        sizes.append((world.pools["ai_api"].size, world.pools["cpu"].size))
    assert sizes == [(3, 1), (2, 1), (2, 1), (2, 1), (2, 1)]
    assert world.optimizer.rules[1].refusal == "all pools are at their minimum"
    assert len(world.optimizer.entries) == 2
    await world.ticks(3, cpu=10)
    assert world.pools["ai_api"].size == 3
    await world.ticks(10, cpu=10)
    assert (world.pools["ai_api"].size, world.pools["cpu"].size) == (5, 2)
    assert world.optimizer.entries[-1].reverted_at is not None


@pytest.mark.parametrize(
    ("queue", "ours", "refused"),
    [((1, 1), 90.0, False), ((1, 1), 10.0, False), ((1, 9), 90.0, False), ((1, 9), 10.0, True), ((9, 1), 10.0, False)],
)
def test_workers_stay_while_the_queue_grows_and_the_cpu_is_used_by_others(
    queue: tuple[int, int], ours: float, refused: bool
) -> None:
    recent = [sample(queue_length=length, cpu_percent=90.0, tree_cpu_percent=ours) for length in queue]
    assert (ReduceWorkers({"p": FakePool(5)}).refusal(recent) is not None) == refused


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 50))
async def test_pools_never_leave_their_bounds(steps: list[bool], configured: int) -> None:
    pool = FakePool(configured)
    action = ReduceWorkers({"p": pool})
    for reduce in steps:
        if not reduce:
            action.relax()
        elif action.refusal(()) is None:
            await action.apply()
        assert max(1, 0.4 * configured) <= pool.size <= configured


async def test_slow_answers_never_flush_the_cache() -> None:
    cache = FakeCache()
    action = KeepLonger(cache)
    assert await action.apply() == "dropped 7 expired answers, keep new ones 2 times as long"
    await action.apply()
    assert action.refusal(()) is not None
    assert action.relax()
    assert not action.relax()
    assert cache.calls == ["purge_expired", "ttl 2.0", "purge_expired", "ttl 4.0", "ttl 1.0"]


async def test_failed_action_is_written_down_and_starts_no_cooldown() -> None:
    world = World()
    world.warmer.error = ConnectionError("redis is away")
    await world.ticks(4, lookups=100)
    (entry,) = world.optimizer.entries
    assert (entry.outcome, entry.detail) == (Outcome.FAILED, "ConnectionError: redis is away")
    world.warmer.error = None
    await world.ticks(6, lookups=100)
    assert world.optimizer.entries[-1].detail == "asked for 4 answers ahead of time"
    assert world.acted == [("warm_cache", False), ("warm_cache", True)]
    assert world.optimizer.rules[3].cooldown_seconds_left == 600


async def test_wall_clock_is_only_shown() -> None:
    world = World()
    world.machine.rss_mb = 1600
    await world.ticks(3)
    assert world.optimizer.entries[0].at == 5000 + 1030


async def test_audit_is_bounded_and_numbered() -> None:
    world = World()
    world.warmer.error = RuntimeError("always")
    await world.ticks(1300, lookups=100)
    entries = world.optimizer.entries
    assert len(entries) == 200
    assert [entry.id for entry in entries] == list(range(entries[0].id, entries[0].id + 200))


@pytest.mark.parametrize(
    ("action", "before", "after", "outcome"),
    [
        (ActionName.GC_COLLECT, 1600.0, 1000.0, Outcome.HELPED),
        (ActionName.GC_COLLECT, 1600.0, 1599.0, Outcome.NO_EFFECT),
        (ActionName.GC_COLLECT, 1600.0, 2000.0, Outcome.WORSE),
        (ActionName.WARM_CACHE, 0.5, 0.7, Outcome.HELPED),
        (ActionName.WARM_CACHE, 0.0, 0.0, Outcome.NO_EFFECT),
        (ActionName.WARM_CACHE, 0.5, None, Outcome.UNMEASURED),
    ],
)
def test_effect_is_that_on_the_figure_of_the_rule(
    action: ActionName, before: float, after: float | None, outcome: Outcome
) -> None:
    rule = BY_ACTION[action]
    assert effect(rule, {rule.figure: before}, {rule.figure: after}) is outcome


async def test_unexpected_error_neither_ends_the_loop_nor_stays_unseen() -> None:
    class Broken:
        name = ActionName.GC_COLLECT

        def refusal(self, recent: Sequence[Snapshot]) -> str | None:
            raise LookupError("odd")

        async def apply(self) -> str:
            raise NotImplementedError

        def relax(self) -> bool:
            return False

    world = World()
    world.machine.rss_mb = 1600
    optimizer = Optimizer(world.collector, [Broken(), Warm(world.warmer)], world.clock, lambda: 0.0)
    task = asyncio.create_task(optimizer.run())
    for _ in range(3):
        world.counts = CacheCounts(lookups=world.counts.lookups + 100)
        await world.collector.sample()
        await until_seen(world)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert optimizer.last_error == "gc_collect: LookupError: odd"


async def until_seen(world: World) -> None:
    """Let the loop judge the sample; each of its sleeps moves the clock on by 10 s."""
    before = len(world.clock.slept)
    async with asyncio.timeout(5):
        while True:
            if len(world.clock.slept) > before + 1:
                return
            await asyncio.sleep(0)


def test_frozen_start_up_objects_are_out_of_the_collectors_sight() -> None:
    ballast = [[index] for index in range(1000)]
    try:
        freeze_start_up()
        assert gc.get_freeze_count() >= len(ballast)
    finally:
        gc.unfreeze()


def test_malloc_trim_is_real_where_there_is_glibc() -> None:
    trim = load_malloc_trim()
    assert trim is None or trim(0) in {0, 1}

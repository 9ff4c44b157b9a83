"""The warmer loads what is likely, within its bounds, and stops when nobody asks for what it loaded."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation_service.adapters.cache.habits import Decaying, Successors
from generation_service.adapters.cache.warming import SmartWarmer, WarmingSettings
from service_fakes import FakeClock, settle


class World:
    """A cache that knows only how long it keeps what, and a loader that fills it."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.ends: dict[tuple[str, str], float] = {}
        self.claimed: set[tuple[str, str]] = set()
        self.loads: list[bytes] = []
        self.busy = False
        self.at_once = 0
        self.most_at_once = 0
        self.seconds = 0.0
        self.failing = False

    async def remaining(self, namespace: str, key: str) -> float | None:
        left = self.ends.get((namespace, key), 0.0) - self._clock.now()
        return left if left > 0 else None

    async def claim(self, namespace: str, key: str, seconds: float) -> bool:
        assert seconds > 0
        return (namespace, key) not in self.claimed

    async def load(self, request: bytes) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            self.loads.append(request)
            if self.failing:
                raise RuntimeError("no answer")
            await self._clock.sleep(self.seconds)
            self.ends["chat", request.decode()] = self._clock.now() + 1_000.0
        finally:
            self.at_once -= 1


def make(clock: FakeClock, world: World, **changes: Any) -> SmartWarmer:
    return SmartWarmer(
        world,
        world.load,
        clock,
        settings=WarmingSettings(**changes),
        estimate=lambda request: 100,
        saturated=lambda: world.busy,
    )


def ask(warmer: SmartWarmer, *keys: str) -> None:
    for key in keys:
        warmer.record("chat", key, key.encode())


async def test_learned_successor_is_loaded_before_it_is_asked_for() -> None:
    clock = FakeClock()
    world = World(clock)
    warmer = make(clock, world)
    await warmer.start()
    ask(warmer, *"abxabyabz")
    await settle()
    await clock.pass_time(1.0)
    assert b"b" in world.loads
    assert warmer.statistics().warmed == len(world.loads)
    await warmer.close()


async def test_request_does_not_wait_for_the_warming() -> None:
    clock = FakeClock()
    world = World(clock)
    warmer = make(clock, world)
    await warmer.start()
    ask(warmer, *"ababab")
    assert world.loads == []  # nothing happened within the calls
    await warmer.close()


async def test_frequent_key_that_is_missing_or_near_its_end_is_loaded_and_others_are_not() -> None:
    clock = FakeClock()
    world = World(clock)
    warmer = make(clock, world, share=2.0)  # no successors
    ask(warmer, "missing", "fresh", "ending")
    world.ends = {("chat", "fresh"): 1_000.0, ("chat", "ending"): 29.0}
    assert await drive(clock, warmer.warm_now(10)) == 2
    assert sorted(world.loads) == [b"ending", b"missing"]


async def drive(clock: FakeClock, work: Any) -> Any:
    task = asyncio.ensure_future(work)
    while not task.done():
        await clock.pass_time(1.0)
    return await task


async def test_frequent_keys_are_looked_at_every_few_seconds() -> None:
    clock = FakeClock()
    world = World(clock)
    warmer = make(clock, world, every_seconds=15.0, share=2.0)
    await warmer.start()
    ask(warmer, "a")
    await clock.pass_time(14.9)
    assert world.loads == []
    await clock.pass_time(0.2)
    assert world.loads == [b"a"]
    await warmer.close()


async def test_loads_at_one_time_are_bounded() -> None:
    clock = FakeClock()
    world = World(clock)
    world.seconds = 1.0
    warmer = make(clock, world, concurrency=2)
    ask(warmer, *"abcdefgh")
    assert await drive(clock, warmer.warm_now(8)) == 8
    assert world.most_at_once == 2


async def test_tokens_per_minute_are_bounded_and_flow_in_again() -> None:
    clock = FakeClock()
    world = World(clock)
    warmer = make(clock, world, tokens_per_minute=300)
    ask(warmer, *"abcdefgh")
    assert await drive(clock, warmer.warm_now(8)) == 3
    assert warmer.statistics().skipped_budget == 5
    clock.seconds += 20.0  # 100 tokens more
    assert await drive(clock, warmer.warm_now(8)) == 1


async def test_nothing_is_loaded_while_the_generator_is_busy() -> None:
    clock = FakeClock()
    world = World(clock)
    world.busy = True
    warmer = make(clock, world)
    ask(warmer, *"abc")
    assert await drive(clock, warmer.warm_now(3)) == 0
    assert warmer.statistics().skipped_saturated == 3
    world.busy = False
    assert await drive(clock, warmer.warm_now(3)) == 3


async def test_key_that_another_replica_warms_is_left_to_it() -> None:
    clock = FakeClock()
    world = World(clock)
    world.claimed = {("chat", "a")}
    warmer = make(clock, world)
    ask(warmer, "a", "b")
    assert await drive(clock, warmer.warm_now(2)) == 1
    statistics = warmer.statistics()
    assert (world.loads, statistics.skipped_other_replica) == ([b"b"], 1)
    assert statistics.tokens_left == pytest.approx(20_000 - 100, abs=1_000)


async def test_failed_load_is_counted_and_harms_nothing_else() -> None:
    clock = FakeClock()
    world = World(clock)
    world.failing = True
    warmer = make(clock, world)
    ask(warmer, "a", "b")
    assert await drive(clock, warmer.warm_now(2)) == 0
    assert warmer.statistics().failures == 2
    world.failing = False
    assert await drive(clock, warmer.warm_now(2)) == 2


async def test_useless_warming_stops_and_tries_again_with_a_small_sample() -> None:
    clock = FakeClock()
    world = World(clock)
    warmer = make(clock, world, judged=10, sample=2, verdict_seconds=60.0, rest_seconds=500.0, near_end_seconds=1.0)
    ask(warmer, *"abcdefghij")
    assert await drive(clock, warmer.warm_now(10)) == 10
    clock.seconds += 60.0  # nobody asked
    assert warmer.statistics().resting
    world.ends.clear()
    assert await drive(clock, warmer.warm_now(10)) == 0
    clock.seconds += 500.0
    assert await drive(clock, warmer.warm_now(10)) == 2  # the sample
    sampled = [request.decode() for request in world.loads[-2:]]
    ask(warmer, *sampled)  # asked for: useful again
    assert not warmer.statistics().resting
    world.ends.clear()
    assert await drive(clock, warmer.warm_now(10)) == 10


async def test_useful_warming_goes_on_and_its_ratio_is_reported_when_there_are_enough() -> None:
    clock = FakeClock()
    world = World(clock)
    warmer = make(clock, world, judged=4, verdict_seconds=60.0)
    ask(warmer, *"abcd")
    await drive(clock, warmer.warm_now(4))
    assert warmer.statistics().useful_ratio is None
    ask(warmer, *"abc")
    clock.seconds += 60.0
    statistics = warmer.statistics()
    assert (statistics.useful_ratio, statistics.used, statistics.useless) == (0.75, 3, 1)
    assert not statistics.resting


async def test_memory_is_bounded_however_many_keys_are_asked_for() -> None:
    clock = FakeClock()
    warmer = make(clock, World(clock), keys=100, requests_bytes=1_000, request_bytes=50)
    for number in range(5_000):
        warmer.record("chat", f"k{number}", b"x" * (number % 60))
    assert warmer.statistics().keys <= 110
    assert await drive(clock, warmer.warm_now(1_000)) <= 100


@given(st.lists(st.tuples(st.integers(0, 40), st.floats(0, 100)), max_size=200))
def test_decaying_counts_never_grow_beyond_their_number(events: list[tuple[int, float]]) -> None:
    counts: Decaying[int] = Decaying(10, 60.0)
    now = 0.0
    for added, (key, wait) in enumerate(events, start=1):
        now += wait
        counts.add(key, now)
        assert len(counts) <= 11
        assert 0 < counts.weight(key, now) <= added
        assert counts.total(now) <= added + 1e-9


def test_weight_halves_every_half_life_so_new_habits_win() -> None:
    counts: Decaying[str] = Decaying(10, 60.0)
    for _ in range(8):
        counts.add("old", 0.0)
    assert [counts.weight("old", at) for at in (0.0, 60.0, 120.0)] == [8.0, 4.0, 2.0]
    for _ in range(3):
        counts.add("new", 120.0)
    assert counts.heaviest(2, 120.0) == ["new", "old"]


@pytest.mark.parametrize(
    ("sequence", "support", "share", "likely"),
    [
        pytest.param("ab", 2.0, 0.3, [], id="seen-once"),
        pytest.param("abab", 2.0, 0.3, ["b"], id="seen-twice"),
        pytest.param("abacadaeafab", 2.0, 0.5, [], id="one-of-many"),
        pytest.param("aaaa", 1.0, 0.0, [], id="a-repetition-is-no-successor"),
        pytest.param("abacabac" + "ab", 1.0, 0.1, ["b", "c"], id="likeliest-first"),
    ],
)
def test_successor_needs_support_and_share(sequence: str, support: float, share: float, likely: list[str]) -> None:
    successors: Successors[str] = Successors(keys=10, each=4, half_life_seconds=60.0)
    for key in sequence:
        successors.add(key, 0.0)
    assert successors.likely("a", 0.0, support=support, share=share) == likely


def test_successor_table_is_bounded() -> None:
    successors: Successors[int] = Successors(keys=10, each=4, half_life_seconds=60.0)
    for number in range(1_000):
        successors.add(number, 0.0)
    assert len(successors) <= 10


def test_only_so_many_requests_a_second_are_learned_from() -> None:
    clock = FakeClock()
    warmer = make(clock, World(clock), learned_per_second=3)
    for number in range(5):
        warmer.record("chat", f"k{number}", b"x")
    assert warmer.statistics().keys == 3
    clock.seconds += 1.0
    warmer.record("chat", "k5", b"x")
    assert warmer.statistics().keys == 4


def test_what_was_not_learned_has_no_successor() -> None:
    successors: Successors[str] = Successors(10, 8, 600.0)
    for _ in range(3):
        successors.add("a", 0.0)
        successors.interrupt()
        successors.add("b", 0.0)
    assert successors.likely("a", 0.0, support=1.0, share=0.1) == []
    assert successors.likely("b", 0.0, support=1.0, share=0.1) == ["a"]

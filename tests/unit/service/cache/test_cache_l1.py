"""The first level: bounds that hold, time that is monotonic, and a policy that keeps what is asked for."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generation_service.adapters.cache.codec import Answer
from generation_service.adapters.cache.l1 import ENTRY_OVERHEAD_BYTES, Level1
from service_fakes import FakeClock


def level(clock: FakeClock, *, entries: int = 100, bytes_: int = 10**9, value: int = 10**6) -> Level1:
    return Level1(clock, max_entries=entries, max_bytes=bytes_, max_value_bytes=value)


def answer(clock: FakeClock, ttl: float = 1000.0, value: bytes = b"v") -> Answer:
    return Answer(value, clock.now() + ttl, ttl, 0.0)


@pytest.mark.parametrize(
    ("ttl", "limit", "lives"),
    [(1.0, 300.0, 1.0), (3600.0, 300.0, 300.0), (300.0, 300.0, 300.0)],
)
def test_entry_lives_for_the_shorter_of_both_times(ttl: float, limit: float, lives: float) -> None:
    clock = FakeClock(seconds=50.0)
    l1 = level(clock)
    l1.put("k", answer(clock, ttl), limit)
    clock.seconds = 50.0 + lives - 0.001
    assert l1.get("k") is not None
    clock.seconds = 50.0 + lives
    assert l1.get("k") is None
    assert (l1.entries, l1.bytes, l1.expirations) == (0, 0, 1)


def test_answer_that_is_over_replaces_and_is_not_kept() -> None:
    clock = FakeClock()
    l1 = level(clock)
    l1.put("k", answer(clock), 10.0)
    assert not l1.put("k", answer(clock, ttl=0.0), 10.0)
    assert l1.get("k") is None


def test_overwriting_in_a_full_cache_evicts_nothing() -> None:
    clock = FakeClock()
    l1 = level(clock, entries=10)
    for number in range(10):
        l1.put(f"k{number}", answer(clock), 10.0)
    for _ in range(50):
        l1.put("k3", answer(clock, value=b"new"), 10.0)
    assert (l1.entries, l1.evictions) == (10, 0)
    kept = l1.get("k3")
    assert kept is not None
    assert kept.value == b"new"


def test_new_hot_keys_displace_what_was_hot_before() -> None:
    """A frequency that never decays keeps the old hot set for good: 0.33 here; recency and decay give about 0.48."""
    clock, chance = FakeClock(), random.Random(7)
    l1 = level(clock, entries=1_000)
    hits = 0
    for phase in range(4):
        for _ in range(25_000):
            key = f"k{(int(chance.paretovariate(0.9)) + 5_000 * phase) % 20_000}"
            if l1.get(key) is not None:
                hits += 1
            else:
                l1.put(key, answer(clock), 1_000.0)
    assert hits / 100_000 > 0.7
    last = sum(l1.get(f"k{15_000 + number}") is not None for number in range(1, 101))
    assert last > 90  # the hot keys of the last phase are in


@settings(max_examples=60)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("put"), st.integers(0, 30), st.integers(0, 400)),
            st.tuples(st.just("get"), st.integers(0, 30), st.just(0)),
            st.tuples(st.just("discard"), st.integers(0, 30), st.just(0)),
            st.tuples(st.just("shrink"), st.integers(1, 10), st.just(0)),
            st.tuples(st.just("restore"), st.just(0), st.just(0)),
            st.tuples(st.just("wait"), st.integers(0, 30), st.just(0)),
            st.tuples(st.just("purge"), st.just(0), st.just(0)),
        ),
        max_size=120,
    )
)
def test_bounds_hold_and_bytes_are_those_of_the_entries_whatever_happens(steps: list[tuple[str, int, int]]) -> None:
    clock = FakeClock()
    l1 = level(clock, entries=12, bytes_=8 * (ENTRY_OVERHEAD_BYTES + 200), value=300)
    written: dict[str, bytes] = {}
    for verb, number, size in steps:
        key = f"k{number:02}"
        if verb == "put":
            written[key] = bytes([number]) * size
            l1.put(key, answer(clock, value=written[key]), 20.0)
        elif verb == "get":
            found = l1.get(key)
            assert found is None or found.value == written[key]
        elif verb == "discard":
            l1.discard(key)
            assert l1.get(key) is None
        elif verb == "shrink":
            l1.shrink(number / 10)
        elif verb == "restore":
            l1.restore()
        elif verb == "wait":
            clock.seconds += number
        else:
            l1.purge_expired()
        assert 0 <= l1.bytes <= l1.max_bytes
        assert l1.entries <= l1.max_entries
        assert (l1.bytes == 0) == (l1.entries == 0)
    clock.seconds += 1_000
    l1.purge_expired()
    assert (l1.entries, l1.bytes) == (0, 0)


def test_too_large_value_is_skipped_and_the_smaller_one_before_it_is_gone() -> None:
    clock = FakeClock()
    l1 = level(clock, value=10)
    l1.put("k", answer(clock, value=b"x" * 10), 10.0)
    assert not l1.put("k", answer(clock, value=b"x" * 11), 10.0)
    assert (l1.get("k"), l1.skipped) == (None, 1)


def test_shrinking_keeps_the_most_recent_and_restoring_gives_the_room_back() -> None:
    clock = FakeClock()
    l1 = level(clock, entries=100)
    for number in range(100):
        l1.put(f"k{number}", answer(clock), 100.0)
    for number in range(10):
        l1.get(f"k{number}")
    freed = l1.shrink(0.1)
    assert freed > 0
    assert l1.max_entries == 10
    assert sum(l1.get(f"k{number}") is not None for number in range(10)) == l1.entries > 0
    l1.restore()
    for number in range(200, 260):
        l1.put(f"k{number}", answer(clock), 100.0)
    assert l1.entries > 50


@pytest.mark.parametrize("fraction", [0.0, -0.5, 1.1])
def test_share_that_is_none_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match="fraction: "):
        level(FakeClock()).shrink(fraction)


def test_cleared_level_is_empty_and_goes_on() -> None:
    clock = FakeClock()
    l1 = level(clock)
    l1.put("k", answer(clock), 10.0)
    l1.clear()
    assert (l1.get("k"), l1.entries, l1.bytes) == (None, 0, 0)
    assert l1.put("k", answer(clock), 10.0)


class CountingKey(str):
    """A key that counts how often one like it is looked at."""

    __slots__ = ()
    looks = 0

    def __hash__(self) -> int:
        CountingKey.looks += 1
        return super().__hash__()

    def __eq__(self, other: object) -> bool:
        CountingKey.looks += 1
        return super().__eq__(other)


def test_insert_looks_at_no_more_keys_when_there_are_many() -> None:
    clock = FakeClock()
    looks: list[int] = []
    for entries in (100, 10_000):
        l1 = level(clock, entries=entries)
        for number in range(entries):
            l1.put(CountingKey(f"old{number}"), answer(clock), 300.0)
        CountingKey.looks = 0
        for number in range(100):
            l1.put(CountingKey(f"new{number}"), answer(clock), 300.0)
        looks.append(CountingKey.looks)
    assert looks[1] <= 2 * looks[0]

"""What is remembered, packed: values like the tuples that they stand for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation_operator.decide.memory import MAX_BINS, Bin, Bins, Rates

NUMBERS = st.floats(0, 1e9, width=32)  # as exact as they are kept


@given(st.lists(st.builds(Bin, NUMBERS, NUMBERS), max_size=20), st.builds(Bin, NUMBERS, NUMBERS))
def test_bins_are_what_was_put_in_and_the_newest_come_first_when_asked(entries: list[Bin], newest: Bin) -> None:
    bins = Bins(entries).followed_by(newest)
    assert list(bins) == [*entries, newest]
    assert len(bins) == len(entries) + 1
    seconds, arrived = bins.newest(3)
    assert list(zip(seconds, arrived, strict=True)) == [tuple(entry) for entry in reversed([*entries, newest][-3:])]


def test_only_so_many_bins_are_kept() -> None:
    bins = Bins(Bin(2.0, float(number)) for number in range(MAX_BINS + 5))
    assert len(bins) == MAX_BINS
    assert len(bins.followed_by(Bin(2.0, 7.0))) == MAX_BINS
    assert next(iter(bins)) == Bin(2.0, 5.0)


def test_equal_bins_are_equal_values() -> None:
    one, other = Bins([Bin(2.0, 3.0)]), Bins().followed_by(Bin(2.0, 3.0))
    assert one == other
    assert hash(one) == hash(other)
    assert one != Bins()
    assert one != (Bin(2.0, 3.0),)


@given(st.lists(st.none() | st.floats(0, 1000, width=16), min_size=1, max_size=20))
def test_rates_are_what_was_put_in(rates: list[float | None]) -> None:
    assert list(Rates(rates)) == rates


def test_numbers_beyond_all_measure_are_kept_as_the_largest_there_can_be() -> None:
    [kept] = Bins([Bin(2.0, 1e300)])
    assert kept.arrived == pytest.approx(3e38)
    assert list(Rates([1e300, 65504.0])) == [65504.0, 65504.0]


@given(st.floats(0.01, 60_000))
def test_a_rate_is_kept_to_half_a_thousandth(rate: float) -> None:
    assert Rates([rate])[0] == pytest.approx(rate, rel=0.0005)


def test_changing_rates_leaves_the_ones_before_as_they_are() -> None:
    before = Rates([None, 2.5, 3.0])
    after = before.having([(0, 1.0), (2, None)])
    assert list(before) == [None, 2.5, 3.0]
    assert list(after) == [1.0, 2.5, None]
    assert after == Rates([1.0, 2.5, None])
    assert hash(after) == hash(Rates([1.0, 2.5, None]))


def test_a_rate_is_changed_in_any_of_the_pieces() -> None:
    before = Rates([None] * 700)
    after = before.having([(0, 1.0), (699, 3.0), (288, 2.0), (287, 2.5)])
    assert {slot: rate for slot, rate in enumerate(after) if rate is not None} == {0: 1.0, 287: 2.5, 288: 2.0, 699: 3.0}
    assert len(after) == len(before) == 700
    assert set(before) == {None}
    assert after.having([(slot, None) for slot in (0, 287, 288, 699)]) == before


def test_what_was_never_seen_takes_no_room() -> None:
    fleet = [Rates([None] * 2304).having([(number, 1.0)]) for number in range(100)]
    pieces = {id(piece): piece for rates in fleet for piece in rates._pieces}
    assert sum(map(len, pieces.values())) == 101 * 288 * 2


def test_a_slot_beyond_the_last_is_an_error() -> None:
    with pytest.raises(Exception, match="unpack_from"):
        Rates([1.0])[1]

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_service import FakeService, steps
from generation_operator.rivals.aibrix import Apa, Settings
from generation_operator.simulate.baselines import aibrix as under_test


def make_apa(**settings: float) -> Apa:
    return Apa(Settings(10.0, 2, 20, **settings))


def scaler() -> under_test.Apa:
    return under_test.Apa(14.0, min_replicas=1, max_replicas=20)


def jump(before: int, after: int, replicas: int) -> FakeService:
    """The load changes at 100 s."""
    return FakeService(lambda at: before if at < 100 else after).with_replicas(replicas)


@pytest.mark.parametrize(
    ("reading", "current", "want"),
    [
        (10.0, 6, 6),
        (11.0, 6, 6),  # at the edge of the tolerance
        (11.1, 6, 7),
        (15.0, 6, 9),
        (90.0, 6, 12),  # at most doubled
        (90.0, 15, 20),  # the maximum
        (9.0, 6, 6),
        (8.9, 6, 6),  # rounded up again
        (8.0, 6, 5),
        (1.0, 6, 3),  # at most halved
        (0.0, 3, 2),  # the minimum
        (None, 6, 6),  # nobody answered
        (None, 1, 2),  # which does not suspend the bounds
        (None, 25, 20),
        (10.0, 25, 20),
        (90.0, 0, 0),  # switched off
    ],
)
def test_the_count_for_one_reading(reading: float | None, current: int, want: int) -> None:
    assert make_apa().synced(reading, current, 0.0) == want


def test_tolerances_are_the_settings() -> None:
    assert make_apa(up_tolerance=0.5).synced(15.0, 6, 0.0) == 6
    assert make_apa(down_tolerance=0.3).synced(7.0, 6, 0.0) == 6
    assert make_apa(down_tolerance=0.2).synced(7.0, 6, 0.0) == 5


def test_readings_are_averaged_over_the_window_and_then_forgotten() -> None:
    apa = make_apa(window=20.0, down_cooldown=0.0)
    assert apa.synced(10.0, 4, 0.0) == 4
    assert apa.synced(16.0, 4, 10.0) == 6  # 13
    assert apa.synced(10.0, 4, 20.0) == 5  # 12
    assert apa.synced(10.0, 4, 30.0) == 5  # 12: the first one is gone, that of 16 not yet
    assert apa.synced(10.0, 4, 40.0) == 4


def test_the_last_reading_of_a_second_counts() -> None:
    apa = make_apa(window=20.0)
    apa.synced(100.0, 4, 5.0)
    assert apa.synced(10.0, 4, 5.5) == 4


def test_the_cooldown_takes_the_lowest_count_of_its_time_as_the_original_does() -> None:
    """One short dip is remembered: as soon as another reading is a little low, the count goes all the way."""
    apa = make_apa(window=0.0)
    assert apa.synced(3.0, 10, 0.0) == 5
    assert apa.synced(20.0, 5, 10.0) == 10
    assert apa.synced(8.5, 10, 20.0) == 5  # by itself it asks for nine
    assert make_apa(window=0.0).synced(8.5, 10, 20.0) == 9


def test_the_cooldown_ends() -> None:
    apa = make_apa(window=0.0, down_cooldown=60.0)
    apa.synced(3.0, 10, 0.0)
    apa.synced(20.0, 5, 10.0)
    assert apa.synced(8.5, 10, 59.0) == 5
    again = make_apa(window=0.0, down_cooldown=60.0)
    again.synced(3.0, 10, 0.0)
    again.synced(20.0, 5, 10.0)
    assert again.synced(8.5, 10, 60.0) == 9


def test_on_the_way_up_it_takes_the_highest_of_its_time() -> None:
    apa = make_apa(window=0.0, up_cooldown=60.0)
    assert apa.synced(20.0, 5, 0.0) == 10
    assert apa.synced(12.0, 5, 10.0) == 10  # by itself it asks for six
    assert apa.synced(12.0, 5, 60.0) == 6


def test_a_jump_doubles_the_count_at_every_turn_because_starting_replicas_are_not_seen() -> None:
    assert steps(jump(10, 140, 1), scaler(), 150) == [(108.5, 2), (118.5, 4), (128.5, 8), (138.5, 16), (148.5, 20)]


def test_the_reversed_cooldown_undoes_a_whole_scale_up_at_once() -> None:
    """Ten replicas are right and twenty came; the ones of before the jump are still among the recommendations."""
    changes = steps(jump(10, 140, 1), scaler(), 320)
    assert changes[5] == (308.5, 1)


def test_nobody_ready_is_no_reading() -> None:
    service = FakeService(lambda _: 100, startup_seconds=1000.0)
    service.scale(3, 0.0)
    assert steps(service, scaler(), 100) == []


@given(
    readings=st.lists(st.one_of(st.none(), st.floats(0, 1e6)), max_size=30),
    current=st.integers(1, 50),
)
def test_counts_stay_within_their_bounds(readings: list[float | None], current: int) -> None:
    apa = make_apa()
    for turn, reading in enumerate(readings):
        current = apa.synced(reading, current, 10.0 * turn)
        assert 2 <= current <= 20

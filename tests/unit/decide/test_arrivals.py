"""The arrival rate, and when a change counts as more than chance."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation_operator.decide.arrivals import estimate
from generation_operator.decide.memory import Bin, Bins


def bins(*spans: tuple[float, float]) -> list[Bin]:
    """(seconds, workflows per second) one after the other, in bins of 2 s."""
    return [Bin(2.0, rate * 2.0) for seconds, rate in spans for _ in range(int(seconds / 2))]


def test_nothing_seen_is_no_estimate() -> None:
    assert estimate(Bins()) is None


def test_steady_arrivals_give_their_mean_and_no_growth() -> None:
    found = estimate(Bins(bins((400, 10))))
    assert found is not None
    assert found.rate == pytest.approx(10)
    assert found.growth == 0


@pytest.mark.parametrize(
    ("spans", "at_least", "at_most"),
    [
        pytest.param([(58, 10), (2, 13)], 10, 10.2, id="one lively look is chance"),
        pytest.param([(56, 10), (4, 40)], 25, 40, id="a burst counts within 4 s, less what chance explains"),
        pytest.param([(40, 10), (20, 40)], 35, 40, id="a burst that goes on counts nearly in full"),
        pytest.param([(40, 40), (20, 10)], 10, 15, id="a fall counts within 20 s"),
        pytest.param([(60, 0.05)], 0.04, 0.06, id="few arrivals"),
        pytest.param([(60, 0)], 0, 0, id="none"),
        pytest.param([(2, 7)], 7, 7, id="a single look"),
    ],
)
def test_only_what_chance_does_not_explain_moves_the_estimate(
    spans: list[tuple[float, float]], at_least: float, at_most: float
) -> None:
    found = estimate(Bins(bins(*spans)))
    assert found is not None
    assert at_least - 1e-9 <= found.rate <= at_most + 1e-9


def test_certain_growth_is_seen_and_lasts_no_longer_than_it_has_been_seen() -> None:
    ramp = [Bin(2.0, 2.0 * (5 + 0.5 * second)) for second in range(0, 80, 2)]
    found = estimate(Bins(ramp))
    assert found is not None
    assert 0.2 < found.growth <= 0.5
    assert 0 < found.lasts <= 40


def test_shrinking_arrivals_have_no_growth() -> None:
    found = estimate(Bins(Bin(2.0, 2.0 * (45 - 0.5 * second)) for second in range(0, 80, 2)))
    assert found is not None
    assert found.growth == 0


_histories = st.lists(st.builds(Bin, st.floats(0.5, 60), st.floats(0, 1e4)), min_size=1, max_size=60)


@given(_histories, st.floats(0, 1e4))
def test_more_arrivals_just_now_never_lower_the_estimate(history: list[Bin], more: float) -> None:
    newest = history[-1]
    before, after = estimate(Bins(history)), estimate(Bins([*history[:-1], Bin(newest.seconds, newest.arrived + more)]))
    assert before is not None
    assert after is not None
    assert after.rate >= before.rate * (1 - 1e-9)
    assert after.growth * after.lasts >= before.growth * before.lasts * (1 - 1e-9)


@given(_histories)
def test_an_estimate_is_never_negative(history: list[Bin]) -> None:
    found = estimate(Bins(history))
    assert found is not None
    assert found.rate >= 0
    assert found.growth >= 0

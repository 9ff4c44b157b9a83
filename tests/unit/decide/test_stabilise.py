"""What speaks against removing replicas now, and how experience changes that."""

import pytest

from generation_operator.decide.draft import Draft
from generation_operator.decide.memory import MAX_RAISES, Memory, Raise
from generation_operator.decide.stabilise import stabilised
from generation_operator.decide.types import Reason, Replicas, Seconds, Stage

NOW = Seconds(1_700_000_000.0)
STARTUP = 20.0


def draft(desired: int, current: int = 8) -> Draft:
    return Draft(Replicas(current), Replicas(desired), True, Stage.DEMAND, None, Reason.LOW_LOAD, "asked")


def memory(*, hindsight: int = 0, raises: tuple[Raise, ...] = (), lowered_at: float | None = None) -> Memory:
    return Memory(startup_seconds=STARTUP, hindsight=hindsight, raises=raises, lowered_at=lowered_at)


@pytest.mark.parametrize(
    ("wanted", "remembered", "outcome", "says"),
    [
        pytest.param(5, memory(), 5, "would not have needed", id="nothing speaks against it"),
        pytest.param(5, memory(hindsight=7), 7, "arrivals of the last minutes", id="hindsight holds a part"),
        pytest.param(5, memory(hindsight=9), 8, "arrivals of the last minutes", id="hindsight never raises"),
        pytest.param(5, memory(raises=(Raise(NOW - 5, 8),)), 8, "start-up time ago", id="asked for just now"),
        pytest.param(5, memory(raises=(Raise(NOW - 21, 8),)), 5, "would not", id="asked for long ago"),
        pytest.param(5, memory(raises=(Raise(NOW + 9, 8),)), 5, "would not", id="asked for in the future"),
        pytest.param(8, memory(hindsight=12), 8, "no removal", id="nothing to hold"),
        pytest.param(11, memory(hindsight=12), 11, "no removal", id="additions pass"),
    ],
)
def test_removals_are_held(wanted: int, remembered: Memory, outcome: int, says: str) -> None:
    after, _ = stabilised(draft(wanted), remembered, NOW)
    assert after.desired == outcome
    assert says in after.lines[-1].text
    assert (after.reason is Reason.STABILISING) == (outcome != wanted)


def test_additions_are_remembered_until_they_have_had_time_to_become_ready() -> None:
    _, after = stabilised(draft(12), memory(), NOW)
    assert after.raises == (Raise(NOW, 12),)
    _, later = stabilised(draft(10, current=12), after, Seconds(NOW + 19))
    assert later.raises == (Raise(NOW, 12),)
    _, late = stabilised(draft(10, current=12), later, Seconds(NOW + 20))
    assert late.raises == ()


def test_a_higher_addition_covers_lower_ones_and_the_memory_stays_bounded() -> None:
    _, after = stabilised(draft(12), memory(raises=(Raise(NOW - 3, 10), Raise(NOW - 2, 9))), NOW)
    assert after.raises == (Raise(NOW, 12),)
    falling = memory(raises=tuple(Raise(NOW - 1, 200 - index) for index in range(MAX_RAISES)))
    _, bounded = stabilised(draft(9), falling, NOW)
    assert len(bounded.raises) == MAX_RAISES


def learnt(remembered: Memory, wanted: int, after: float) -> Memory:
    return stabilised(draft(wanted), remembered, Seconds(NOW + after))[1]


def test_replicas_brought_back_soon_lengthen_the_hold() -> None:
    removed = learnt(memory(), 7, 0)
    assert removed.lowered_at == NOW
    back = learnt(removed, 9, 30)
    assert back.hold_scale == pytest.approx(1.25)
    assert back.lowered_at is None


def test_replicas_brought_back_much_later_change_nothing() -> None:
    assert learnt(learnt(memory(), 7, 0), 9, 41).hold_scale == 1


def test_replicas_that_stay_away_shorten_the_hold() -> None:
    removed = learnt(memory(), 7, 0)
    assert learnt(removed, 8, 30) == removed
    assert learnt(removed, 8, 40).hold_scale == pytest.approx(0.8)


def test_without_a_removal_there_is_nothing_to_learn() -> None:
    assert learnt(memory(), 9, 5).hold_scale == 1


@pytest.mark.parametrize(("wanted", "after", "bound"), [(9, 5, 4.0), (8, 60, 0.4)])
def test_the_hold_stays_within_bounds(wanted: int, after: float, bound: float) -> None:
    remembered = memory()
    for _ in range(40):
        remembered = learnt(learnt(remembered, 7, 0), wanted, after)
    assert remembered.hold_scale == pytest.approx(bound)

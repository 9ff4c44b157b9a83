"""What the policy Targets remembers of one moment after the other."""

import pytest

from builders import make_observation, make_signal
from generation_operator.decide.memory import MAX_BINS, MAX_STARTING, Bin, Bins, Memory, Starting
from generation_operator.decide.sampling import followed, sampled
from generation_operator.decide.types import Replicas, Signal, SignalName, SignalState

NOW = 1_700_000_000.0
NAMES = {
    "arrivals": SignalName.WORKFLOW_ARRIVALS,
    "in_flight": SignalName.WORKFLOWS_IN_FLIGHT,
    "queued": SignalName.QUEUE_LENGTH,
    "service": SignalName.WORKFLOW_SERVICE_TIME,
}


def signals(age: float | None = 0.0, **values: float) -> dict[SignalName, Signal]:
    missing = {name: make_signal(name, None, SignalState.MISSING) for name in SignalName}
    return missing | {NAMES[name]: make_signal(NAMES[name], value, age=age) for name, value in values.items()}


def seen(*moments: tuple[float, dict[SignalName, Signal]]) -> Memory:
    memory = Memory()
    for at, found in moments:
        memory = sampled(memory, found, NOW + at)
    return memory


def test_nothing_usable_leaves_the_memory_as_it_is() -> None:
    assert seen((0, signals())) == Memory()


def test_arrivals_are_remembered_per_interval_between_two_samples() -> None:
    one = signals(arrivals=10, in_flight=150, queued=0, service=15)
    memory = seen((0, one), (2, one), (4, one))
    assert memory.bins == Bins([Bin(10, 100), Bin(2, 20), Bin(2, 20)])
    assert memory.in_system == 150
    assert memory.service_seconds == 15


def test_the_same_sample_again_is_not_a_second_one() -> None:
    one = {"arrivals": 10.0, "in_flight": 150.0, "queued": 0.0, "service": 15.0}
    memory = seen((0, signals(age=1, **one)), (5, signals(age=6, **one)), (15, signals(age=1, **one)))
    assert memory.bins == Bins([Bin(10, 100), Bin(15, 150)])


def test_a_burst_shows_in_the_system_before_the_rate_of_a_minute_tells() -> None:
    before = signals(arrivals=2, in_flight=30, queued=0, service=15)
    after = signals(arrivals=4, in_flight=100, queued=100, service=15)
    burst = list(seen((0, before), (15, before), (30, after)).bins)[-1]
    # 170 more in the system and 15 s of departures from up to 100 slots, less what chance explains.
    assert 200 < burst.arrived < 270


def test_what_is_in_the_system_scatters_without_being_a_burst() -> None:
    before = signals(arrivals=2, in_flight=30, queued=0, service=15)
    after = signals(arrivals=2, in_flight=38, queued=0, service=15)
    assert list(seen((0, before), (15, before), (30, after)).bins)[-1] == Bin(15, 30)


def test_without_a_rate_the_balance_of_the_system_tells_it() -> None:
    memory = seen(
        (0, signals(in_flight=30, queued=0, service=15)),
        (15, signals(in_flight=30, queued=0, service=15)),
    )
    assert memory.bins == Bins([Bin(15, 30)])


def test_without_the_system_the_rate_and_the_service_time_tell_it() -> None:
    assert seen((0, signals(arrivals=2, service=15))).in_system == 30
    assert seen((0, signals(arrivals=2))).in_system == 2
    assert seen((0, signals(queued=7))).in_system == 7


def test_the_service_time_is_guessed_by_littles_law_until_it_is_measured_and_is_then_kept() -> None:
    guessed = seen((0, signals(arrivals=2, in_flight=4)), (2, signals(arrivals=2, in_flight=30)))
    assert (guessed.service_seconds, guessed.guessed_service) == (None, 15)
    kept = seen((0, signals(arrivals=2, in_flight=30, service=9)), (2, signals(arrivals=2, in_flight=30)))
    assert kept.service_seconds == 9


def test_a_service_that_fills_up_is_no_burst() -> None:
    memory = seen(*((at, signals(arrivals=10, in_flight=10.0 * at, queued=0)) for at in range(1, 15, 2)))
    assert {entry.arrived / entry.seconds for entry in memory.bins} == {10}


def test_a_balance_without_any_service_time_is_the_change_alone() -> None:
    memory = seen((0, signals(queued=4)), (2, signals(queued=10)))
    assert list(memory.bins)[-1].arrived == pytest.approx(16)


def test_a_long_gap_makes_what_came_before_worthless() -> None:
    one = signals(arrivals=10, in_flight=150, queued=0, service=15)
    assert seen((0, one), (2, one), (200, one)).bins == Bins([Bin(60, 600)])


def test_a_clock_that_was_set_back_starts_a_new_interval() -> None:
    one = signals(arrivals=10, in_flight=150, queued=0, service=15)
    memory = seen((100, one), (50, one), (52, one))
    assert memory.bins == Bins([Bin(10, 100), Bin(2, 20)])


def test_signals_without_an_age_are_of_now() -> None:
    assert seen((3, signals(age=None, queued=1))).sampled_at == NOW + 3


def test_the_memory_stays_bounded() -> None:
    one = signals(arrivals=10, in_flight=150, queued=0, service=15)
    memory = seen(*((2.0 * index, one) for index in range(2 * MAX_BINS)))
    assert len(memory.bins) == MAX_BINS


@pytest.mark.parametrize(
    ("before", "count", "after"),
    [
        ((), 0, ()),
        ((), 3, (Starting(NOW, 3),)),
        ((Starting(NOW - 9, 2),), 3, (Starting(NOW - 9, 2), Starting(NOW, 1))),
        ((Starting(NOW - 9, 2), Starting(NOW - 5, 2)), 3, (Starting(NOW - 9, 1), Starting(NOW - 5, 2))),
        ((Starting(NOW - 9, 2), Starting(NOW - 5, 2)), 2, (Starting(NOW - 5, 2),)),
        ((Starting(NOW - 9, 2),), -1, ()),
        ((Starting(NOW + 9, 2),), 2, (Starting(NOW, 2),)),
    ],
)
def test_those_that_started_first_become_ready_first(
    before: tuple[Starting, ...], count: int, after: tuple[Starting, ...]
) -> None:
    assert followed(Memory(starting=before), make_observation(starting=Replicas(count)), NOW).starting == after


def test_groups_on_their_way_stay_bounded() -> None:
    memory = Memory()
    for count in range(3 * MAX_STARTING):
        memory = followed(memory, make_observation(starting=Replicas(count)), NOW + count)
    assert len(memory.starting) == MAX_STARTING


def test_the_start_up_time_is_learnt_from_replicas_that_become_ready() -> None:
    memory = followed(Memory(), make_observation(current=4, ready=2, starting=Replicas(2)), NOW)
    assert memory.learnt_startup is None
    memory = followed(memory, make_observation(current=4, ready=2, starting=Replicas(2)), NOW + 10)
    memory = followed(memory, make_observation(current=4, ready=4), NOW + 20)
    assert memory.learnt_startup == 20
    memory = followed(memory, make_observation(current=5, ready=4, starting=Replicas(1)), NOW + 100)
    memory = followed(memory, make_observation(current=5), NOW + 110)
    assert memory.learnt_startup == 20 + 0.3 * (10 - 20)


def test_replicas_that_went_without_becoming_ready_teach_nothing() -> None:
    memory = followed(Memory(ready=2), make_observation(current=4, ready=2, starting=Replicas(2)), NOW)
    assert followed(memory, make_observation(current=2), NOW + 20).learnt_startup is None

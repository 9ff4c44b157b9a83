import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation_operator.decide.counterfactuals import counterfactuals
from generation_operator.decide.types import Signal, SignalName, SignalState

CPU, IN_FLIGHT, QUEUE = SignalName.CPU, SignalName.WORKFLOWS_IN_FLIGHT, SignalName.QUEUE_LENGTH


def observed(**states: SignalState) -> dict[SignalName, Signal]:
    """Full slots on four replicas and a queue; a state other than Fresh by the signal's name."""
    values = {CPU: 91.9, IN_FLIGHT: 80.0, QUEUE: 25.0}
    return {name: Signal(name, states.get(name.name, SignalState.FRESH), value) for name, value in values.items()}


def answers(signals: dict[SignalName, Signal], *, current: int = 4, ready: int = 4, slots: int = 20) -> dict[str, int]:
    return counterfactuals(signals, slots=slots, cpu_target_percent=70, current=current, ready=ready)


def test_each_rival_answers_with_its_own_arithmetic() -> None:
    # 4 x 91 / 70 = 5.2; (80 + 25) / 14 = 7.5
    assert answers(observed()) == {"hpa": 6, "keda": 8, "kpa": 8}


@pytest.mark.parametrize("state", [SignalState.STALE, SignalState.MISSING, SignalState.NO_TRAFFIC])
@pytest.mark.parametrize(("signal", "left"), [(CPU, {"keda", "kpa"}), (IN_FLIGHT, {"hpa"}), (QUEUE, {"hpa"})], ids=str)
def test_a_rival_whose_signal_is_not_fresh_is_left_out(signal: SignalName, state: SignalState, left: set[str]) -> None:
    assert set(answers(observed(**{signal.name: state}))) == left


def test_without_any_signal_nobody_answers() -> None:
    assert answers({}) == {}


def test_hpa_and_keda_stay_where_they_are_within_ten_percent_and_kpa_does_not() -> None:
    signals = {
        CPU: Signal(CPU, SignalState.FRESH, 77.9),  # read as 77 %, 1.1 times the target
        IN_FLIGHT: Signal(IN_FLIGHT, SignalState.FRESH, 61.0),
        QUEUE: Signal(QUEUE, SignalState.FRESH, 0.0),
    }
    assert answers(signals) == {"hpa": 4, "keda": 4, "kpa": 5}


def test_hpa_counts_ready_replicas_and_keda_all() -> None:
    assert answers(observed(), current=8, ready=2) == {"hpa": 3, "keda": 8, "kpa": 8}


def test_no_ready_replica_or_no_slots_leave_out_who_would_divide_by_them() -> None:
    assert set(answers(observed(), ready=0)) == {"keda", "kpa"}
    assert set(answers(observed(), slots=0)) == {"hpa"}


@given(
    cpu=st.floats(0, 1e300),
    load=st.floats(0, 1e300),
    current=st.integers(0, 1000),
    ready=st.integers(0, 1000),
    slots=st.integers(0, 1000),
)
def test_any_observation_gives_counts(cpu: float, load: float, current: int, ready: int, slots: int) -> None:
    signals = {
        CPU: Signal(CPU, SignalState.FRESH, cpu),
        IN_FLIGHT: Signal(IN_FLIGHT, SignalState.FRESH, load),
        QUEUE: Signal(QUEUE, SignalState.FRESH, load),
    }
    assert all(0 <= count < 2**31 for count in answers(signals, current=current, ready=ready, slots=slots).values())

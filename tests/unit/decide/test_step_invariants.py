"""Whatever is observed, however broken: what a decision never does."""

from hypothesis import given
from hypothesis import strategies as st

from generation_operator.api.spec import Scaling
from generation_operator.decide.signals import REQUIRED
from generation_operator.decide.step import step
from generation_operator.decide.types import (
    Guard,
    Observation,
    Reason,
    Replicas,
    Seconds,
    Signal,
    SignalName,
    SignalState,
    Stage,
    State,
)

NOW = Seconds(1_700_000_000.0)

_numbers = st.one_of(st.none(), st.floats(), st.floats(min_value=0, max_value=200))
_ages = st.one_of(st.none(), st.floats().map(Seconds))


@st.composite
def _observations(draw: st.DrawFn) -> Observation:
    """Anything, broken or not, with usable signals more often than chance would have them."""
    state = st.one_of(st.just(SignalState.FRESH), st.sampled_from(SignalState))
    names = draw(st.one_of(st.just(set(SignalName)), st.sets(st.sampled_from(SignalName))))
    values = draw(st.one_of(st.just(_numbers), st.just(st.floats(0, 2)), st.just(st.floats(90, 900))))
    return Observation(
        signals={name: Signal(name, draw(state), draw(values), draw(_ages)) for name in sorted(names)},
        current=Replicas(draw(st.integers(0, 40))),
        ready=Replicas(draw(st.integers(0, 40))),
        rollout_in_progress=draw(st.booleans()),
        guard=Guard(draw(st.one_of(st.none(), st.integers(0, 40).map(Replicas))), "CpuUtilization"),
    )


@st.composite
def _policies(draw: st.DrawFn) -> Scaling:
    minimum = draw(st.integers(1, 20))
    return Scaling.model_validate(
        {
            "minReplicas": minimum,
            "maxReplicas": draw(st.integers(minimum, 40)),
            "score": {
                "cooldownSeconds": draw(st.integers(0, 600)),
                "up": {"stepReplicas": draw(st.integers(1, 9)), "scoreAbove": draw(st.integers(0, 100))},
                "down": {"stepReplicas": draw(st.integers(1, 9)), "scoreAbove": draw(st.integers(0, 100))},
            },
        }
    )


_states = st.builds(State, st.one_of(st.none(), st.floats(min_value=0, max_value=2e9).map(Seconds)), st.integers(0, 2))
_times = st.one_of(st.floats(), st.floats(min_value=1e9, max_value=2e9)).map(Seconds)


@given(_policies(), _states, _observations(), _times)
def test_never_outside_the_bounds_and_never_an_error(
    policy: Scaling, state: State, observation: Observation, now: Seconds
) -> None:
    decision = step(policy, state, observation, now)[1]
    assert policy.min_replicas <= decision.desired <= policy.max_replicas
    assert [line.stage for line in decision.lines] == list(Stage)
    assert decision.message


@given(_policies(), _states, _observations())
def test_never_lower_on_anything_but_fresh_evidence(policy: Scaling, state: State, observation: Observation) -> None:
    decision = step(policy, state, observation, NOW)[1]
    if decision.desired < decision.current and decision.reason is not Reason.ABOVE_MAXIMUM:
        states = {signal.name: signal.state for signal in decision.signals}
        assert decision.valid
        assert not observation.rollout_in_progress
        assert all(states[name] in (SignalState.FRESH, SignalState.NO_TRAFFIC) for name in REQUIRED)
        assert any(states[name] is SignalState.FRESH for name in REQUIRED)
        need = observation.guard.replicas
        assert need is None or decision.desired >= min(need, policy.max_replicas)


@given(_policies(), _states, _observations())
def test_an_invalid_decision_only_clamps(policy: Scaling, state: State, observation: Observation) -> None:
    decision = step(policy, state, observation, NOW)[1]
    if not decision.valid:
        assert decision.desired == min(max(observation.current, policy.min_replicas), policy.max_replicas)


@given(_policies(), _states, _observations(), _times)
def test_the_same_inputs_give_the_same_decision(
    policy: Scaling, state: State, observation: Observation, now: Seconds
) -> None:
    first, second = step(policy, state, observation, now)[1], step(policy, state, observation, now)[1]
    assert (first.id, first.message, first.lines) == (second.id, second.message, second.lines)

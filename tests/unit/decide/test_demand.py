"""The policy Targets: the fewest replicas that keep the declared targets."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import make_observation, make_policy, make_service, make_signal
from generation_operator.decide import signals as evidence
from generation_operator.decide.demand import demanded
from generation_operator.decide.draft import Draft
from generation_operator.decide.memory import Backtest, Bin, Bins, Memory, Profile, Rates, Starting
from generation_operator.decide.policy import Policy
from generation_operator.decide.stabilise import stabilised
from generation_operator.decide.types import Observation, Reason, Replicas, Seconds, SignalName, SignalState, Stage

NOW = Seconds(1_700_000_000.0)
STARTUP = Seconds(20.0)


DEMAND = (SignalName.WORKFLOW_ARRIVALS, SignalName.WORKFLOWS_IN_FLIGHT, SignalName.QUEUE_LENGTH)


def load(rate: float = 10.0, in_flight: float = 150.0, queued: float = 0.0, **more: float) -> dict[SignalName, float]:
    return {
        SignalName.WORKFLOW_ARRIVALS: rate,
        SignalName.WORKFLOWS_IN_FLIGHT: in_flight,
        SignalName.QUEUE_LENGTH: queued,
        SignalName.WORKFLOW_SERVICE_TIME: 15.0,
    } | {SignalName(name): value for name, value in more.items()}


def after_minutes_of(rate: float, seconds: float = 400.0) -> Memory:
    """A service that has been watched for a while and was sampled 2 s ago."""
    return Memory(
        bins=Bins(Bin(2.0, 2.0 * rate) for _ in range(int(seconds / 2))),
        sampled_at=NOW - 2.0,
        in_system=rate * 15.0,
        service_seconds=15.0,
    )


def decide(
    values: Mapping[SignalName, float],
    memory: Memory | None = None,
    *,
    current: int = 8,
    policy: Policy | None = None,
    valid: bool = True,
    **fields: Any,
) -> tuple[Draft, Memory]:
    policy = policy or make_policy()
    observation = make_observation(values, current=current, **{"startup_seconds": STARTUP} | fields)
    draft = Draft(Replicas(current), Replicas(current), valid, Stage.SIGNALS, None, Reason.WITHIN_RANGE, "")
    signals = evidence.trusted(policy, observation, NOW)
    return demanded(draft, after_minutes_of(10.0) if memory is None else memory, policy, observation, signals, now=NOW)


def knobs(parameters: Mapping[str, Any]) -> Policy:
    """Parameters of the policy, `spec.scaling.targets`."""
    return Policy.of(make_service().scaling(targets=parameters).obj().spec)


def replicas(*args: Any, **kwargs: Any) -> int:
    return decide(*args, **kwargs)[0].desired


@pytest.mark.parametrize(
    ("values", "rate", "current", "expected"),
    [
        # 10/s x 15 s = 150 busy slots: 7.9 replicas at 19 usable slots each.
        pytest.param(load(), 10, 8, 8, id="as many as are busy"),
        pytest.param(load(), 10, 20, 8, id="no more than that"),
        pytest.param(load(queued=60), 10, 8, 8, id="a queue that the target allows is no reason to add"),
        pytest.param(load(queued=400), 10, 8, 17, id="a queue that it does not allow is"),
        pytest.param(load(rate=20), 20, 8, 13, id="twice the arrivals"),
        pytest.param(load(rate=0, in_flight=0), 0, 8, 0, id="nothing to do"),
    ],
)
def test_replicas_follow_from_arrivals_service_time_and_backlog(
    values: dict[SignalName, float], rate: float, current: int, expected: int
) -> None:
    assert replicas(values, after_minutes_of(rate), current=current) == pytest.approx(expected, abs=1)


@pytest.mark.parametrize(
    ("targets", "fewer"),
    [
        ({"workflowDurationSeconds": 16}, False),  # hardly any waiting is allowed
        ({"workflowDurationSeconds": 120}, True),
        ({"concurrentWorkflows": 10}, False),
        ({"concurrentWorkflows": 40}, True),
    ],
)
def test_replicas_follow_from_the_declared_targets(targets: dict[str, int], fewer: bool) -> None:
    base = replicas(load(queued=150))
    other = replicas(load(queued=150), policy=make_policy(targets=targets))
    assert other < base if fewer else other > base


def test_headroom_is_added() -> None:
    assert replicas(load(), current=20, policy=knobs({"headroomPercent": 50})) >= 11


@pytest.mark.parametrize(("missed", "more"), [(0.0, False), (0.02, False), (0.125, True)])
def test_headroom_grows_as_the_error_budget_goes(missed: float, more: bool) -> None:
    spent = replicas(load(MissRatio1h=missed), current=20)
    assert (spent > replicas(load(), current=20)) is more


def test_replicas_on_their_way_are_not_asked_for_again() -> None:
    flooded = load(queued=400)
    wanted = replicas(flooded)
    starting = {"ready": 8, "starting": Replicas(wanted - 8)}
    assert replicas(flooded, current=wanted, **starting) <= wanted
    on_their_way = after_minutes_of(10.0)
    late = Memory(
        bins=on_their_way.bins,
        sampled_at=on_their_way.sampled_at,
        in_system=550.0,
        service_seconds=15.0,
        starting=(Starting(NOW - 19, wanted - 8),),
    )
    assert replicas(flooded, late, current=wanted, **starting) <= wanted


def test_replicas_that_are_not_even_seen_starting_count_from_a_start_up_on() -> None:
    assert replicas(load(queued=400), current=18, ready=8) <= 18


@pytest.mark.parametrize("measured", [None, 0.0, -5.0, float("nan"), float("inf")])
def test_until_a_start_up_was_measured_the_assumed_one_holds(measured: float | None) -> None:
    _, memory = decide(load(), startup_seconds=measured, policy=knobs({"assumedStartupSeconds": 50}))
    assert memory.startup_seconds == pytest.approx(55)


def test_a_start_up_that_was_learnt_holds_until_one_is_measured() -> None:
    learnt = Memory(bins=after_minutes_of(10.0).bins, sampled_at=NOW - 2, in_system=150.0, learnt_startup=40.0)
    assert decide(load(), learnt, startup_seconds=None)[1].startup_seconds == pytest.approx(44)
    assert decide(load(), learnt)[1].startup_seconds == pytest.approx(22)


@pytest.mark.parametrize(("values", "valid"), [({}, True), (load(), False)])
def test_without_usable_evidence_nothing_is_asked_for(values: dict[SignalName, float], valid: bool) -> None:
    draft, _ = decide(values, Memory(), valid=valid)
    assert draft.desired == 8
    assert [line.stage for line in draft.lines] == [Stage.DEMAND, Stage.FORECAST]


def test_the_first_look_already_counts_when_there_is_a_rate() -> None:
    assert replicas(load(rate=20, in_flight=160, queued=200), Memory()) > 8


TRUSTED = Backtest(compared=4, persistence=2.0, trend=1.0, seasons=4, persistence_beside_season=2.0, season=1.0)


def growing() -> Memory:
    bins = Bins(Bin(2.0, 2.0 * (5.0 + 0.1 * second)) for second in range(0, 160, 2))
    return Memory(bins=bins, sampled_at=NOW - 2.0, in_system=300.0, service_seconds=15.0, backtest=TRUSTED)


def test_a_trusted_trend_raises_and_says_so() -> None:
    values = load(rate=21, in_flight=300)
    draft, _ = decide(values, growing(), current=16, startup_seconds=60.0)
    assert draft.binder is Stage.FORECAST
    assert "trend" in draft.message
    without = knobs({"forecast": "Disabled"})
    plain, _ = decide(values, growing(), current=16, startup_seconds=60.0, policy=without)
    assert draft.desired > plain.desired
    assert plain.lines[-1].text == "disabled"


def test_a_trusted_trend_that_needs_no_more_changes_nothing() -> None:
    draft, _ = decide(load(rate=21, in_flight=300, queued=2000), growing(), current=16, startup_seconds=1.0)
    assert draft.binder is Stage.DEMAND
    assert draft.lines[-1].text.endswith("not more")


def test_a_trusted_season_raises_before_the_load_comes() -> None:
    slot = int(NOW // 300)
    rates: list[float | None] = [None] * (8 * 288)
    for ahead in range(3):
        rates[(slot + ahead - 288) % len(rates)] = 20.0
    base = after_minutes_of(10.0)
    memory = Memory(
        bins=base.bins,
        sampled_at=base.sampled_at,
        in_system=base.in_system,
        service_seconds=15.0,
        backtest=TRUSTED,
        profile=Profile(Rates(rates), slot, 10.0, 100.0),
    )
    draft, _ = decide(load(), memory, startup_seconds=60.0)
    assert draft.binder is Stage.FORECAST
    assert draft.desired > 8
    assert "season 20/s trusted" in draft.message


def test_after_a_start_nothing_is_removed_before_the_recent_past_is_known() -> None:
    _, memory = decide(load(rate=1, in_flight=15), after_minutes_of(1.0, seconds=10.0))
    assert memory.hindsight == 8
    _, memory = decide(load(rate=1, in_flight=15), after_minutes_of(1.0))
    assert memory.hindsight <= 2


def test_bursts_that_come_again_and_again_keep_their_replicas() -> None:
    cycle = [Bin(2.0, 60.0)] * 5 + [Bin(2.0, 0.0)] * 10
    memory = Memory(bins=Bins(cycle * 8), sampled_at=NOW - 2.0, in_system=10.0, service_seconds=15.0, hold_scale=2.0)
    quiet, after = decide(load(rate=0, in_flight=10), memory, current=12)
    assert quiet.desired < after.hindsight <= 12


_numbers = st.floats(0, 400)


_loads = st.builds(load, _numbers, _numbers, _numbers)


@settings(max_examples=60)
@given(_loads, st.floats(1, 3), st.integers(1, 30), st.floats(1, 120))
def test_more_demand_never_gives_fewer_replicas(
    values: dict[SignalName, float], factor: float, current: int, startup: float
) -> None:
    def outcome(scale: float) -> int:
        scaled = {name: value * scale for name, value in values.items() if name in DEMAND}
        draft, memory = decide(values | scaled, current=current, startup_seconds=startup)
        return stabilised(draft, memory, NOW)[0].desired

    assert outcome(factor) >= outcome(1.0)


def test_an_unusable_signal_is_not_read_as_nothing() -> None:
    policy = make_policy()
    gone = make_signal(SignalName.WORKFLOWS_IN_FLIGHT, None, SignalState.MISSING)
    observation = Observation(
        signals={SignalName.WORKFLOWS_IN_FLIGHT: gone}, current=Replicas(8), ready=Replicas(8), startup_seconds=STARTUP
    )
    signals = evidence.trusted(policy, observation, NOW)
    draft = Draft(Replicas(8), Replicas(8), True, Stage.SIGNALS, None, Reason.WITHIN_RANGE, "")
    memory = after_minutes_of(10.0)
    after, kept = demanded(draft, memory, policy, observation, signals, now=NOW)
    assert kept.bins == memory.bins
    assert after.desired == 8

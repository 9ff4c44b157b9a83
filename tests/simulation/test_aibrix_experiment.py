"""The simulator against a real experiment: the same arrivals under HPA, KPA and APA, on a cluster and in the plant.

What comes out as on the cluster, with one calibration for all three (see aibrix_world): pod-seconds within 20 % of the
real ones for each policy; APA is the cheapest by far; KPA fails least; the first scale-ups come when they came. Between
HPA and KPA the two real runs disagree about which is cheaper, so nothing is asked of that.

What does not: how badly the HPA failed. It lost 10 and 12 % of its requests, seven times as many as KPA; in the plant
it loses about 1.5 %, more than KPA but no more than APA. There a request that waits goes to whichever replica is free
next; on the cluster it was stuck at the replica that it had been sent to, so a late scale-up cost much more.
"""

from typing import NamedTuple

import numpy as np
import pytest

from bench import public_traces
from generation_operator.simulate.plant import simulate
from generation_operator.simulate.result import Run
from generation_operator.simulate.trace import Floats
from simulation import aibrix_world

TRACE = "aibrix_as_is"
SEEDS = range(6)
MINUTES = "minutes"
RECORDED = "recorded"


class Real(NamedTuple):
    """One run on the cluster: what it cost, and what became of the requests that were answered."""

    pod_seconds: float
    pod_hours: float  # as the experiment itself reports its cost
    failed: int
    succeeded: int


FROM_ONE = {
    "hpa": Real(4733, 1.31, 563, 4125),
    "kpa": Real(4929, 1.37, 74, 4600),
    "apa": Real(3877, 1.08, 94, 4495),
}
FROM_EIGHT = {
    "hpa": Real(7223, 2.01, 478, 4225),
    "kpa": Real(6560, 1.82, 68, 4650),
    "apa": Real(4110, 1.14, 105, 4556),
}
# Seconds after which the first replica was added when there was one at the start.
FIRST_RAISE = {"hpa": 322, "kpa": 190, "apa": 280}


def recorded_arrivals() -> Floats:
    return public_traces.load(TRACE, 0).arrivals


@pytest.fixture(scope="module", params=[MINUTES, RECORDED] if TRACE in public_traces.available() else [MINUTES])
def runs(request: pytest.FixtureRequest) -> dict[str, list[Run]]:
    """Where the trace is, also with its own arrival times."""

    def one(policy: str, seed: int) -> Run:
        arrivals = recorded_arrivals() if request.param == RECORDED else aibrix_world.spread_arrivals(seed)
        scaler = aibrix_world.POLICIES[policy]()
        return simulate(aibrix_world.requests(arrivals, seed), scaler, aibrix_world.config(), seed)

    return {policy: [one(policy, seed) for seed in SEEDS] for policy in aibrix_world.POLICIES}


def pod_seconds(runs: list[Run]) -> float:
    return float(np.mean([run.pod_seconds for run in runs]))


def failed(runs: list[Run]) -> float:
    """The part that was not answered within the clients' time-out."""
    timeout = aibrix_world.TIMEOUT_SECONDS
    return float(np.mean([np.mean(~(run.latencies <= timeout)) for run in runs]))


def first_raise(run: Run) -> float:
    return float(run.timeline.at[int(np.argmax(run.timeline.replicas > 1))])


@pytest.mark.parametrize("policy", FROM_ONE)
def test_each_policy_costs_what_it_cost_on_the_cluster(runs: dict[str, list[Run]], policy: str) -> None:
    assert pod_seconds(runs[policy]) == pytest.approx(FROM_ONE[policy].pod_seconds, rel=0.2)


def test_what_both_real_runs_agree_on_about_cost_comes_out(runs: dict[str, list[Run]]) -> None:
    for real in (FROM_ONE, FROM_EIGHT):
        assert real["apa"].pod_seconds < 0.85 * min(real["hpa"].pod_seconds, real["kpa"].pod_seconds)
    assert pod_seconds(runs["apa"]) < 0.85 * min(pod_seconds(runs["hpa"]), pod_seconds(runs["kpa"]))


def test_kpa_fails_least_as_in_both_real_runs(runs: dict[str, list[Run]]) -> None:
    for real in (FROM_ONE, FROM_EIGHT):
        assert real["kpa"].failed < real["apa"].failed < real["hpa"].failed
    assert failed(runs["kpa"]) < failed(runs["apa"])
    assert failed(runs["kpa"]) < failed(runs["hpa"])


@pytest.mark.parametrize("policy", ["kpa", "apa"])
def test_failures_of_kpa_and_apa_are_about_those_of_the_cluster(runs: dict[str, list[Run]], policy: str) -> None:
    real = FROM_ONE[policy]
    assert failed(runs[policy]) == pytest.approx(real.failed / (real.failed + real.succeeded), rel=0.5)


def test_hpa_fails_less_than_on_the_cluster(runs: dict[str, list[Run]]) -> None:
    """A known difference: see above. Should it go away, the text above is wrong."""
    assert 0.005 < failed(runs["hpa"]) < 0.03
    assert FROM_ONE["hpa"].failed / (FROM_ONE["hpa"].failed + FROM_ONE["hpa"].succeeded) > 0.1


@pytest.mark.parametrize("policy", FIRST_RAISE)
def test_the_first_replica_is_added_when_it_was(runs: dict[str, list[Run]], policy: str) -> None:
    raised = float(np.mean([first_raise(run) for run in runs[policy]]))
    assert raised == pytest.approx(FIRST_RAISE[policy], abs=90)


@pytest.mark.parametrize("real", [*FROM_ONE.values(), *FROM_EIGHT.values()])
def test_the_real_figures_are_consistent(real: Real) -> None:
    """Counted replicas and reported cost are two measurements of the same; not every request was answered."""
    assert real.pod_seconds / 3600 == pytest.approx(real.pod_hours, abs=0.006)
    assert 0.9 * sum(aibrix_world.ARRIVALS_PER_MINUTE) < real.failed + real.succeeded
    assert real.failed + real.succeeded < sum(aibrix_world.ARRIVALS_PER_MINUTE)


def test_arrivals_per_minute_are_those_of_the_trace() -> None:
    if TRACE not in public_traces.available():
        assert not public_traces.FOLDER.exists(), "the folder of traces is there but this one is not in it"
        assert sum(aibrix_world.ARRIVALS_PER_MINUTE) == 5012
        return
    counted = np.bincount((recorded_arrivals() // 60).astype(np.int64))
    assert tuple(counted.tolist()) == aibrix_world.ARRIVALS_PER_MINUTE

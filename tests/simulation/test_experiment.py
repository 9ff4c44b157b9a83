"""Many runs over many seeds: nothing lost, nothing dependent on who ran it, errors that name the run."""

from collections.abc import Callable

import numpy as np
import pytest

from builders import make_service
from generation_operator.api.spec import GenerationServiceSpec
from generation_operator.simulate.contenders import CONTENDERS
from generation_operator.simulate.experiment import Experiment, Job, RunError, initial_replicas, run, run_one
from generation_operator.simulate.outcome import Outcome
from generation_operator.simulate.plant import Startup
from generation_operator.simulate.trace import Requests
from simulation.traffic import Broken, Steady

NAMES = ("Targets", "KPA")


def make_spec(slots: int = 4) -> GenerationServiceSpec:
    return make_service().targets(concurrentWorkflows=slots).scaling(minReplicas=1, maxReplicas=8).obj().spec


def make_experiment(traffic: Callable[[int], Requests] | None = None, **fields: object) -> Experiment:
    values: dict[str, object] = {
        "title": "steady",
        "traffic": traffic or Steady(),
        "spec": make_spec(),
        "startup": Startup(20.0),
        "names": NAMES,
        "wait_seconds": 15.0,
        "seeds": 2,
    } | fields
    return Experiment(**values)  # type: ignore[arg-type]


def carry_out(experiment: Experiment, workers: int = 1) -> Outcome:
    return run(experiment, workers=workers, progress=lambda done, total: None)


def test_every_policy_runs_over_every_seed_at_its_usual_setting() -> None:
    outcome = carry_out(make_experiment())
    assert [series.name for series in outcome.series] == list(NAMES)
    for series in outcome.series:
        assert series.headline.knob == CONTENDERS[series.name].usual
        assert len(series.headline.scores) == 2
        assert series.sweep == (series.headline,)


def test_a_sweep_has_every_setting_in_order_over_the_same_seeds() -> None:
    outcome = carry_out(make_experiment(names=("KPA",), sweep_seeds=1))
    (series,) = outcome.series
    knobs = [point.knob for point in series.sweep]
    assert knobs == sorted({*CONTENDERS["KPA"].sweep, CONTENDERS["KPA"].usual})
    assert [len(point.scores) for point in series.sweep] == [1] * len(knobs)
    usual = next(point for point in series.sweep if point.knob == series.headline.knob)
    assert usual.scores == series.headline.scores[:1]


def test_all_policies_have_the_same_traffic() -> None:
    outcome = carry_out(make_experiment())
    requests = {tuple(score.requests for score in series.headline.scores) for series in outcome.series}
    assert len(requests) == 1


def test_the_example_is_the_first_seed_and_only_ours_explains_itself() -> None:
    ours, rival = carry_out(make_experiment()).series
    assert (ours.example.seed, ours.example.scaler, rival.example.scaler) == (0, "Targets", "KPA")
    assert ours.example.notes
    assert not rival.example.notes


def test_other_processes_come_to_the_same_figures() -> None:
    alone, together = (carry_out(make_experiment(), workers=workers) for workers in (1, 2))
    for one, other in zip(alone.series, together.series, strict=True):
        assert one.headline == other.headline
        assert np.array_equal(one.example.timeline.replicas, other.example.timeline.replicas)


def test_progress_counts_up_to_all_runs() -> None:
    told: list[tuple[int, int]] = []
    run(make_experiment(), workers=1, progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failed_run_is_named(workers: int) -> None:
    with pytest.raises(RunError, match=r"^Targets at 0, seed 1: ValueError.*no such seed"):
        carry_out(make_experiment(Broken(), names=("Targets",)), workers=workers)


@pytest.mark.parametrize("name", CONTENDERS)
def test_every_contender_runs_at_both_ends_of_its_sweep(name: str) -> None:
    contender = CONTENDERS[name]
    for knob in (contender.sweep[0], contender.sweep[-1]):
        score, example = run_one(make_experiment(names=(name,)), Job(name, knob, 0, is_example=False))
        assert score.requests > 300
        assert score.pod_seconds > 0
        assert example is None


def test_a_run_begins_with_what_its_first_minutes_need() -> None:
    steady = Requests(np.arange(0.0, 600.0, 0.5), np.full(1200, 7.0), 600.0)  # 14 busy slots
    assert initial_replicas(steady, make_spec(slots=4)) == 5  # 14 of 20 slots: 70 %


@pytest.mark.parametrize(("service", "expected"), [(0.001, 1), (1000.0, 8)])
def test_a_run_begins_within_the_bounds(service: float, expected: int) -> None:
    requests = Requests(np.arange(0.0, 600.0), np.full(600, service), 600.0)
    assert initial_replicas(requests, make_spec()) == expected


def test_no_traffic_is_an_outcome_too() -> None:
    nothing = Requests(np.zeros(0), np.zeros(0), 120.0)
    outcome = carry_out(make_experiment(lambda seed: nothing, seeds=1))
    assert [series.headline.miss_ratio.mean for series in outcome.series] == [0.0, 0.0]


def test_the_usual_setting_of_ours_is_what_the_resource_declares() -> None:
    def cost(headroom: int, knob: float) -> float:
        spec = make_service().targets(concurrentWorkflows=4).scaling(targets={"headroomPercent": headroom}).obj().spec
        experiment = make_experiment(names=("Targets",), spec=spec, wait_seconds=2.0)
        return run_one(experiment, Job("Targets", knob, 0, is_example=False))[0].pod_seconds

    assert cost(100, 0) == cost(0, 100) > 1.2 * cost(0, 0)

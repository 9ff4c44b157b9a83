"""Run many autoscalers over one traffic: every setting, every seed, on all cores.

A run depends on nothing but its own inputs, so it does not matter which process does it, nor in which order.
"""

import math
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from functools import lru_cache
from multiprocessing import get_context
from typing import Final, NamedTuple

from generation_operator.api.spec import GenerationServiceSpec
from generation_operator.simulate.contenders import CONTENDERS, Setting
from generation_operator.simulate.ours import DIRECT, Source
from generation_operator.simulate.outcome import Outcome, Point, Series
from generation_operator.simulate.plant import PlantConfig, Startup, simulate
from generation_operator.simulate.result import Run
from generation_operator.simulate.scoring import Score, score
from generation_operator.simulate.serving import Patience
from generation_operator.simulate.trace import Requests

_FIRST_SECONDS: Final = 300.0
_PLANNED_UTILIZATION: Final = 0.7


@dataclass(frozen=True, slots=True)
class Experiment:
    """What is compared, on what.

    Attributes:
        title: name of the traffic.
        traffic: realises the traffic for a seed; must be picklable.
        spec: the resource: bounds, targets and policy parameters.
        startup: of a replica.
        names: of the contenders, ours first.
        seeds: runs of each contender at its usual setting.
        sweep_seeds: runs at each other setting; 0: no sweep.
        engine: of our own policies.
        source: of the signals.
        wait_seconds: waiting beyond this misses.
        timeout_seconds: a client gives up when it has waited this long.
        notes: sentences for the report.
    """

    title: str
    traffic: Callable[[int], Requests]
    spec: GenerationServiceSpec
    startup: Startup
    names: tuple[str, ...]
    wait_seconds: float
    seeds: int = 20
    sweep_seeds: int = 0
    engine: str = DIRECT
    source: str = Source.PODS
    timeout_seconds: float = 60.0
    notes: tuple[str, ...] = field(default=())


class Job(NamedTuple):
    """One run."""

    name: str
    knob: float
    seed: int
    is_example: bool


class RunError(RuntimeError):
    """A run failed; the message names it."""


def run(experiment: Experiment, *, workers: int | None = None, progress: Callable[[int, int], None]) -> Outcome:
    """Carry out all runs.

    Args:
        experiment: what to do.
        workers: processes; None: one per core.
        progress: called with (done, all) after each run.

    Raises:
        RunError: a run failed.
    """
    jobs = list(_jobs(experiment))
    scores: dict[tuple[str, float, int], Score] = {}
    examples: dict[str, Run] = {}
    workers = min(workers or os.cpu_count() or 1, len(jobs))
    for done, (job, scored, example) in enumerate(_results(experiment, jobs, workers), start=1):
        scores[job.name, job.knob, job.seed] = scored
        if example is not None:
            examples[job.name] = example
        progress(done, len(jobs))
    return Outcome(
        trace=experiment.title,
        notes=experiment.notes,
        slots=experiment.spec.targets.concurrent_workflows,
        startup=f"{experiment.startup.mean_seconds:.0f} s",
        wait_seconds=experiment.wait_seconds,
        seeds=experiment.seeds,
        sweep_seeds=experiment.sweep_seeds,
        series=tuple(_series(name, experiment, scores, examples[name]) for name in experiment.names),
    )


def run_one(experiment: Experiment, job: Job) -> tuple[Score, Run | None]:
    """One run, and its score; the run itself only of an example, as it is large."""
    requests = _requests(experiment.traffic, job.seed)
    setting = Setting(
        spec=experiment.spec,
        requests=requests,
        wait_seconds=experiment.wait_seconds,
        startup_seconds=experiment.startup.mean_seconds,
        initial_replicas=initial_replicas(requests, experiment.spec),
        engine=experiment.engine,
        source=experiment.source,
        keep_notes=job.is_example,
    )
    config = PlantConfig(
        slots=setting.slots,
        startup=experiment.startup,
        patience=Patience(experiment.wait_seconds, experiment.timeout_seconds),
        initial_replicas=setting.initial_replicas,
    )
    scaler = CONTENDERS[job.name].build(setting, job.knob)
    result = simulate(requests, scaler, config, job.seed, notes=job.is_example)
    return score(result, setting.slots), result if job.is_example else None


def initial_replicas(requests: Requests, spec: GenerationServiceSpec) -> int:
    """What the first minutes need at 70 % of the slots, so that nobody begins with somebody else's mistake."""
    first = requests.arrivals < _FIRST_SECONDS
    busy = float(requests.service[first].sum()) / min(_FIRST_SECONDS, max(requests.duration, 1.0))
    scaling = spec.scaling
    wanted = math.ceil(busy / spec.targets.concurrent_workflows / _PLANNED_UTILIZATION)
    return max(scaling.min_replicas, min(scaling.max_replicas, wanted))


@lru_cache(maxsize=4)
def _requests(traffic: Callable[[int], Requests], seed: int) -> Requests:
    return traffic(seed)


def _jobs(experiment: Experiment) -> Iterator[Job]:
    """Ordered by seed, so that a process realises each traffic once."""
    for seed in range(experiment.seeds):
        for name in experiment.names:
            contender = CONTENDERS[name]
            yield Job(name, contender.usual, seed, is_example=seed == 0)
            if seed < experiment.sweep_seeds:
                yield from (
                    Job(name, knob, seed, is_example=False) for knob in contender.sweep if knob != contender.usual
                )


def _results(experiment: Experiment, jobs: Sequence[Job], workers: int) -> Iterator[tuple[Job, Score, Run | None]]:
    if workers <= 1:
        for job in jobs:
            yield (job, *_named(experiment, job))
        return
    # Forked processes would copy whatever threads and locks the caller has.
    with ProcessPoolExecutor(workers, get_context("spawn"), _remember, (experiment,)) as pool:
        futures = {pool.submit(_remembered, job): job for job in jobs}
        try:
            for future in as_completed(futures):
                yield (futures[future], *future.result())
        except BrokenProcessPool:
            raise RunError("a process ended in the middle of a run, perhaps for want of memory: use fewer") from None
        finally:
            pool.shutdown(cancel_futures=True)  # after an error or an interrupt nobody wants the rest


_experiment: list[Experiment] = []


def _remember(experiment: Experiment) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the parent's matter, and ends this process with it
    _experiment[:] = [experiment]


def _remembered(job: Job) -> tuple[Score, Run | None]:
    return _named(_experiment[0], job)


def _named(experiment: Experiment, job: Job) -> tuple[Score, Run | None]:
    try:
        return run_one(experiment, job)
    except Exception as error:
        raise RunError(f"{job.name} at {job.knob:g}, seed {job.seed}: {error!r}") from error


def _series(name: str, experiment: Experiment, scores: Mapping[tuple[str, float, int], Score], example: Run) -> Series:
    contender = CONTENDERS[name]
    headline = Point(contender.usual, tuple(scores[name, contender.usual, seed] for seed in range(experiment.seeds)))
    sweep = [headline]
    if experiment.sweep_seeds:
        # Points of one sweep have the same seeds, or their differences would be those of the traffic.
        seeds = range(experiment.sweep_seeds)
        knobs = sorted({*contender.sweep, contender.usual})
        sweep = [Point(knob, tuple(scores[name, knob, seed] for seed in seeds)) for knob in knobs]
    return Series(name, contender.knob, headline, tuple(sweep), replace(example, scaler=name))

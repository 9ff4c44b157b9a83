"""What `gensvc simulate` does: read the traffic, run the experiment, say what came out.

A bad file or path is told before anything runs; a minute of work must not end in "permission denied".
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from generation_operator.api import names
from generation_operator.api.resource import parse
from generation_operator.api.spec import GenerationServiceSpec
from generation_operator.cli import figures
from generation_operator.cli.resources import UnusableFileError, only_resource
from generation_operator.cli.simulate import MEASURED, RECORDED, USUAL_POLICIES
from generation_operator.simulate import report, traces
from generation_operator.simulate.contenders import CONTENDERS
from generation_operator.simulate.experiment import Experiment, RunError
from generation_operator.simulate.experiment import run as run_all
from generation_operator.simulate.plant import MEASURED_MODEL_LOAD, Startup
from generation_operator.simulate.trace import Requests
from generation_operator.simulate.traces.service_times import USUAL_VARIATION, service_times
from generation_operator.simulate.verdict import sentence

_MOST_SWEEP_SEEDS: Final = 3  # a sweep has five to nine settings; an hour of traffic must take no minute
_TIMEOUT_SECONDS: Final = 60.0
_TENTHS: Final = 10


@dataclass(frozen=True, slots=True, eq=False)
class Replay:
    """Realises the traffic for a seed. Sent to other processes."""

    source: traces.Source
    slots: int
    peak_replicas: float | None
    mean_service_seconds: float
    time_compression: float
    growth: traces.Growth

    def __call__(self, seed: int) -> Requests:
        """The requests of one run."""
        return traces.realise(
            self.source,
            rng=np.random.default_rng([seed, 0]),
            peak_replicas=self.peak_replicas,
            slots=self.slots,
            mean_service_seconds=self.mean_service_seconds,
            time_compression=self.time_compression,
            growth=self.growth,
        )


def run(options: argparse.Namespace) -> int:
    """Carry out the command; the result is the exit code."""
    try:
        for path in (options.report, options.json):
            _check_writable(path)
        experiment = _experiment(options)
        with _progress(len(experiment.names)) as progress:
            outcome = run_all(experiment, workers=options.jobs, progress=progress)
        _write(options.report, lambda: report.render(outcome))
        _write(options.json, lambda: json.dumps(figures.as_json(outcome), indent=2, allow_nan=False) + "\n")
    except UnusableFileError as error:
        return _failed(f"{options.resource}: {error}")
    except (traces.TraceError, RunError, _UnwritableError) as error:
        return _failed(str(error))
    figures.show(outcome, Console(), sentence(outcome))
    if options.report is not None:
        print(f"\nreport: {options.report}")
    return 0


class _UnwritableError(ValueError):
    """A file cannot be written; the message names it."""


def _failed(message: str) -> int:
    print(f"gensvc simulate: {message}", file=sys.stderr)
    return 1


def _check_writable(path: Path | None) -> None:
    if path is None:
        return
    if path.is_dir():
        raise _UnwritableError(f"{path}: is a folder: name a file in it")
    if not path.absolute().parent.is_dir():
        raise _UnwritableError(f"{path}: cannot be written: {path.absolute().parent} is no folder: create it first")
    if not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
        raise _UnwritableError(f"{path}: cannot be written: no permission: choose another place")


def _write(path: Path | None, text: Callable[[], str]) -> None:
    if path is None:
        return
    try:
        path.write_text(text(), encoding="utf-8")
    except OSError as error:
        raise _UnwritableError(f"{path}: cannot be written: {error.strerror}") from None


def _experiment(options: argparse.Namespace) -> Experiment:
    spec = _spec(options.resource)
    source = traces.read(options.trace, options.format)
    if options.window is not None:
        source = traces.window(source, *options.window)
    peak = options.peak_replicas if options.peak_replicas is not None else float(spec.scaling.max_replicas)
    traffic = Replay(
        source=source,
        slots=spec.targets.concurrent_workflows,
        peak_replicas=None if peak == RECORDED else peak,
        mean_service_seconds=options.mean_service_seconds,
        time_compression=options.time_compression,
        growth=traces.Growth(options.growth),
    )
    first = traffic(0)
    chosen = dict.fromkeys(options.policy or USUAL_POLICIES)
    startup = MEASURED_MODEL_LOAD if options.startup_seconds == MEASURED else Startup(options.startup_seconds)
    wait = allowed_wait(spec, traffic)
    experiment = Experiment(
        title=options.trace.name,
        traffic=traffic,
        spec=spec,
        startup=startup,
        names=tuple(sorted(chosen, key=lambda name: not CONTENDERS[name].is_ours)),
        wait_seconds=wait,
        seeds=options.seeds,
        sweep_seeds=min(options.seeds, _MOST_SWEEP_SEEDS) if options.sweep else 0,
        engine=options.engine or str(spec.scaling.engine),
        source=options.source,
        timeout_seconds=max(_TIMEOUT_SECONDS, 2 * wait),
    )
    return replace(experiment, notes=tuple(_told(traffic, first, experiment)))


def _spec(path: Path | None) -> GenerationServiceSpec:
    if path is not None:
        return only_resource(path).spec
    metadata = {"name": "simulated", "namespace": "default", "uid": "none"}
    spec = {"image": "not-needed"}
    return parse({"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": metadata, "spec": spec}).spec


def allowed_wait(spec: GenerationServiceSpec, traffic: Replay) -> float:
    """Seconds that a request may wait: what its duration target leaves after the work, as the policy Targets sees it.

    No more than half the target, as work that takes longer than its mean needs the rest; but always a twentieth.
    """
    target = spec.targets.workflow_duration_seconds
    mean = traffic.mean_service_seconds
    times = service_times(traffic.source, mean_seconds=mean, law=None, variation=USUAL_VARIATION, clip_seconds=None)
    return max(0.05 * target, min(target - times.mean, target / 2))


def _told(traffic: Replay, first: Requests, experiment: Experiment) -> Iterator[str]:
    """What one must know to read the figures."""
    yield from traffic.source.repairs
    scored = first.arrivals >= first.scored_from
    mean = f"{first.service[scored].mean():.3g} s of work each" if scored.any() else "nothing to work on"
    hours, warm_up = (first.duration - first.scored_from) / 3600, first.scored_from / 60
    yield f"{int(scored.sum()):,} requests in {hours:.3g} h ({mean}), after {warm_up:.0f} min of warm-up."
    if traffic.time_compression != 1:
        yield f"Time passes {traffic.time_compression:g} times faster than recorded; start-up times do not."
    if traffic.peak_replicas is None:
        yield "The traffic is as it was recorded."
    else:
        yield (
            f"The traffic is scaled so that its busiest minutes need {traffic.peak_replicas:g} replicas of "
            f"{traffic.slots} slots at 70 %; if that makes it larger, it is made of copies ({traffic.growth})."
        )
    yield (
        f"A replica takes {experiment.startup.mean_seconds:g} s to become ready; more than "
        f"{experiment.wait_seconds:.3g} s of waiting is a miss, and after {experiment.timeout_seconds:.3g} s clients "
        f"give up. Ours use the engine {experiment.engine} and signals from {experiment.source}."
    )
    if experiment.sweep_seeds:
        yield (
            f"Usual settings ran over {experiment.seeds} seeds; the other settings, and so all that is said at equal "
            f"cost or attainment, over {experiment.sweep_seeds} of them."
        )
    else:
        yield f"Only usual settings ran, over {experiment.seeds} seeds: nothing was compared at equal cost."


@contextmanager
def _progress(policies: int) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal, a line at each tenth elsewhere; on standard error."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _in_lines
        return
    columns = (TextColumn(f"simulating {policies} policies"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("runs", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _in_lines(done: int, total: int) -> None:
    if done * _TENTHS // total > (done - 1) * _TENTHS // total:
        print(f"simulated {done} of {total} runs", file=sys.stderr)

"""Every policy on every public trace: `python -m bench.policies` writes `docs/results/policies.md` and its JSON.

Of each trace the eighty minutes around its busiest one are replayed, after ten minutes of warm-up. Everything is
compared at equal cost and at equal attainment, never by one number alone. With one seed it takes twenty minutes on
two cores.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from bench import public_traces
from generation_operator.api.spec import GenerationServiceSpec
from generation_operator.simulate.experiment import Experiment, run
from generation_operator.simulate.outcome import Series
from generation_operator.simulate.pareto import NEGLIGIBLE, Spot, cost_at, front, misses_at
from generation_operator.simulate.plant import Startup
from generation_operator.simulate.trace import Requests

_BEFORE, _AFTER, _WARM_UP = 2400.0, 2400.0, 600.0
_WAIT_SECONDS: Final = 15.0
STARTUPS: Final = (20.0, 60.0)
RIVALS: Final = ("Score", "HPA-CPU", "HPA-in-flight", "KEDA", "KPA", "RayServe")
ON_PROMETHEUS: Final = ("HPA-CPU", "HPA-in-flight", "KEDA")
FULL: Final = ("Targets", *RIVALS, "Static", "Oracle")
VARIANTS: Final = (("Direct", "Prometheus"), ("Direct", "PrometheusLate"), ("Floor", "Pods"), ("Floor", "Prometheus"))
SWEPT: Final = (("Direct", "Pods"), ("Direct", "Prometheus"))
SPEC: Final = GenerationServiceSpec.model_validate(
    {"image": "generation-service:0.1.0", "scaling": {"minReplicas": 2, "maxReplicas": 20}}
)
RESULTS: Final = Path(__file__).resolve().parents[2] / "docs" / "results"


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A slice of a public trace, cut to the hours around its busiest minute; the same hours for every seed."""

    name: str
    folder: Path

    def __call__(self, seed: int) -> Requests:
        whole = public_traces.load(self.name, seed, self.folder)
        start = _start(self.name, self.folder)
        end = min(whole.duration, start + _WARM_UP + _BEFORE + _AFTER)
        kept = (whole.arrivals >= start) & (whole.arrivals < end)
        return Requests(whole.arrivals[kept] - start, whole.service[kept], end - start, _WARM_UP)


@lru_cache(maxsize=64)
def _start(name: str, folder: Path) -> float:
    whole = public_traces.load(name, 0, folder)
    if whole.duration <= _WARM_UP + _BEFORE + _AFTER:
        return 0.0
    minutes = np.bincount((whole.arrivals / 60).astype(np.int64), weights=whole.service)
    busiest = float(np.argmax(minutes)) * 60
    return max(0.0, min(busiest - _BEFORE - _WARM_UP, whole.duration - _WARM_UP - _BEFORE - _AFTER))


class Place(NamedTuple):
    """One trace at one start-up time."""

    trace: str
    startup: float


Spots = dict[str, list[Spot]]  # by contender; ours with its engine and source


def measure(names: Sequence[str], folder: Path, seeds: int) -> Iterator[tuple[Place, Spots, dict[str, float]]]:
    """Run everything, place by place: cost relative to the work there was, and misses; reversals at the usual knob."""
    for name in names:
        for startup in STARTUPS:
            spots, reversals = {}, {}
            for engine, source in (("Direct", "Pods"), *VARIANTS):
                full = (engine, source) == ("Direct", "Pods")
                outcome = run(
                    Experiment(
                        title=name,
                        traffic=Excerpt(name, folder),
                        spec=SPEC,
                        startup=Startup(startup),
                        names=FULL if full else ("Targets",),
                        wait_seconds=_WAIT_SECONDS,
                        seeds=seeds,
                        # Of the other sources and engines a front is compared for the first only.
                        sweep_seeds=seeds if (engine, source) in SWEPT else 0,
                        engine=engine,
                        source=source,
                    ),
                    progress=lambda done, everything: None,
                )
                for series in outcome.series:
                    key = series.name if full else f"{series.name} {engine} {source}"
                    spots[key] = [_spot(series, index) for index in range(len(series.sweep))]
                    spots[f"{key} usual"] = [_usual(series)]
                    reversals[key] = float(np.mean([score.reversals_per_hour for score in series.headline.scores]))
            yield Place(name, startup), spots, reversals


def _spot(series: Series, index: int) -> Spot:
    scores = series.sweep[index].scores
    cost = float(np.mean([score.pod_seconds / max(score.work_seconds, 1.0) for score in scores]))
    return Spot(cost, float(np.mean([score.miss_ratio for score in scores])))


def _usual(series: Series) -> Spot:
    scores = series.headline.scores
    cost = float(np.mean([score.pod_seconds / max(score.work_seconds, 1.0) for score in scores]))
    return Spot(cost, float(np.mean([score.miss_ratio for score in scores])))


# Who lets a fifth of the requests miss can always be cheaper; nobody would run that.
_NO_SERVICE: Final = 0.2


class Verdict(NamedTuple):
    """How often one is at least as good as a rival at the rival's own costs."""

    better: int
    tied: int
    worse: int


def verdict(ours: Sequence[Spot], theirs: Sequence[Spot]) -> Verdict:
    """Compare at each point of the rival's front that still serves; both under 0.05 % is a tie."""
    counts = [0, 0, 0]
    for spot in front(theirs):
        if spot.miss_ratio > _NO_SERVICE:
            continue
        missed = misses_at(ours, spot.cost)
        if missed is None:
            counts[2] += 1
        elif missed <= NEGLIGIBLE and spot.miss_ratio <= NEGLIGIBLE:
            counts[1] += 1
        else:
            counts[0 if missed <= spot.miss_ratio else 2] += 1
    return Verdict(*counts)


def markdown(results: Mapping[Place, Spots], reversals: Mapping[Place, Mapping[str, float]], seeds: int) -> str:
    """The page."""
    lines = [HEAD.format(seeds=seeds, s="" if seeds == 1 else "s")]
    for startup in STARTUPS:
        places = [place for place in results if place.startup == startup]
        if not places:
            continue
        lines += [f"\n## Start-up {startup:.0f} s\n"]
        lines += _misses_table(places, results, "Targets", RIVALS)
        lines += ["", f"Cost at 99 % attainment, relative to the oracle's, start-up {startup:.0f} s:", ""]
        lines += _cost_table(places, results)
        lines += ["", f"Targets with other sources and engines, start-up {startup:.0f} s:", ""]
        lines += _variant_table(places, results)
        lines += ["", f"Changes of direction per hour at the usual setting, start-up {startup:.0f} s:", ""]
        lines += _plain_table(places, {place: reversals[place] for place in places}, ("Targets", *RIVALS))
    lines += ["\n## At every cost of a rival\n", *_verdicts(results), WHY]
    return "\n".join(lines) + "\n"


HEAD: Final = """# Policies on public traces

Written by `make bench-policies`; do not edit. {seeds} seed{s} per setting.

Eighty minutes around the busiest one of each trace, scaled so that its peak needs 20 replicas of 20 slots at 70 %; 15 s
of waiting allowed, clients give up after 60 s, 2 to 20 replicas. Cost is pod-seconds from creation to the last request,
divided by the work there was: 1.00 would be replicas that exist only while every slot is busy. Misses are counted over
the requests that arrived. Every policy is swept over its main knob; *misses at equal cost* are read off the front of
the sweep, `never` means that no setting of the knob is as cheap as that.

HPA-CPU, HPA-in-flight and KEDA live on Prometheus or the metrics server (15 s scrapes) and act at the HPA's sync. KPA
and RayServe have fresh samples of their own. Targets and Score sample the pods every 2 s here and write at once, unless
a table says otherwise."""


WHY: Final = """
## Where Targets does not win, and why

- **Bursts that come and go faster than a replica starts** (`azure_llm_code` has one every 45 s, for 15 s; `nab_elb` and
  `alibaba_images` at 60 s). Whoever adds replicas when such a burst comes pays for their start and gets them when it is
  over. A static count, or an HPA that holds for 300 s after each, is cheaper; Targets learns to hold longer, but not
  that long, because the same would cost 10 to 15 % on traffic without such bursts.
- **Flash crowds at 60 s start-up** (`worldcup_flash`, the ramps of `aibrix`). KPA's 30 % of idle slots are worth
  something in the first minute; so would be `headroomPercent`, which costs as much all day.
- **Prometheus alone.** Signals that are 0 to 15 s old cost little on smooth traffic, and a multiple of the misses on
  bursts: that is why fresh load from the pods is the first source.
- **One seed.** Differences of a few hundredths are chance. The oracle's plan is not a proven optimum."""


def _misses_table(
    places: Sequence[Place], results: Mapping[Place, Spots], ours: str, rivals: Sequence[str]
) -> list[str]:
    """Misses at the cost of our usual setting."""
    lines = ["Misses (%) at the cost that Targets has at its usual setting:", ""]
    lines += [_row("trace", "cost", ours, *rivals), _row(*["---"] * (3 + len(rivals)))]
    for place in places:
        spots = results[place]
        usual = spots[f"{ours} usual"][0]
        cells = [_percent(misses_at(spots[rival], usual.cost)) for rival in rivals]
        lines.append(_row(place.trace, f"{usual.cost:.2f}", _percent(usual.miss_ratio), *cells))
    return lines


def _cost_table(places: Sequence[Place], results: Mapping[Place, Spots]) -> list[str]:
    names = ("Targets", *RIVALS, "Static")
    lines = [_row("trace", "oracle", *names), _row(*["---"] * (2 + len(names)))]
    for place in places:
        spots = results[place]
        oracle = cost_at(spots["Oracle"], 0.01)
        cells = []
        for name in names:
            cost = cost_at(spots[name], 0.01)
            cells.append("never" if cost is None or oracle is None else f"{cost / oracle:.2f}")
        lines.append(_row(place.trace, "never" if oracle is None else f"{oracle:.2f}", *cells))
    return lines


def _variant_table(places: Sequence[Place], results: Mapping[Place, Spots]) -> list[str]:
    """Ours at its usual setting, and whether it beats what lives on Prometheus too."""
    names = [f"Targets {engine} {source}" for engine, source in VARIANTS]
    titles = [f"{engine}, {source}: misses @ cost" for engine, source in VARIANTS]
    lines = [_row("trace", "Direct, Pods: misses @ cost", *titles), _row(*["---"] * (2 + len(titles)))]
    for place in places:
        spots = [results[place][f"{name} usual"][0] for name in ("Targets", *names)]
        lines.append(_row(place.trace, *(f"{_percent(spot.miss_ratio)} @ {spot.cost:.2f}" for spot in spots)))
    return lines


def _plain_table(
    places: Sequence[Place], values: Mapping[Place, Mapping[str, float]], names: Sequence[str]
) -> list[str]:
    lines = [_row("trace", *names), _row(*["---"] * (1 + len(names)))]
    return [*lines, *(_row(place.trace, *(f"{values[place][name]:.0f}" for name in names)) for place in places)]


def _verdicts(results: Mapping[Place, Spots]) -> list[str]:
    """Over all places: at how many of the rival's own settings Targets misses less, the same, or more."""
    lines = [
        (
            "At each point of a rival's front with at most 20 % misses: does Targets miss less at that cost, tie (both "
            "under 0.05 %), or miss more (also where it is never that cheap)?"
        ),
        "",
        _row("start-up", "Targets", "rival", "less", "tie", "more", "more on"),
        _row(*["---"] * 7),
    ]
    for startup in STARTUPS:
        pairs = [("Targets", rival) for rival in RIVALS]
        pairs += [("Targets Direct Prometheus", rival) for rival in ON_PROMETHEUS]
        for ours, rival in pairs:
            total, worse = [0, 0, 0], []
            for place, spots in results.items():
                if place.startup == startup:
                    found = verdict(spots[ours], spots[rival])
                    total = [sum(pair) for pair in zip(total, found, strict=True)]
                    if found.worse:
                        worse.append(f"{place.trace} ({found.worse})")
            lines.append(_row(f"{startup:.0f} s", ours, rival, *(str(count) for count in total), ", ".join(worse)))
    return lines


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _percent(ratio: float | None) -> str:
    if ratio is None:
        return "never"
    return f"{ratio * 100:.2f}" if ratio < 0.0995 else f"{ratio * 100:.1f}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write; the result is the exit code."""
    parser = argparse.ArgumentParser(description="Compare all policies on the public traces.")
    parser.add_argument("--traces", type=Path, default=public_traces.FOLDER, help="folder of the public traces")
    parser.add_argument("--seeds", type=int, default=1, help="realisations of each trace")
    parser.add_argument("--only", nargs="*", default=None, help="names of slices")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder to write to")
    parser.add_argument("--page-only", action="store_true", help="write the page anew from the JSON, measuring nothing")
    options = parser.parse_args(arguments)
    if options.page_only:
        results, reversals = _read(json.loads((options.out / "policies.json").read_text()))
        (options.out / "policies.md").write_text(markdown(results, reversals, options.seeds))
        return 0
    names = [name for name in public_traces.available(options.traces) if name != "aibrix_as_is"]
    names = [name for name in names if options.only is None or name in options.only]
    if not names:
        print(f"no traces in {options.traces}: name their folder with --traces", file=sys.stderr)
        return 1
    started = time.monotonic()
    results, reversals = {}, {}
    for done, (place, spots, turns) in enumerate(measure(names, options.traces, options.seeds), start=1):
        results[place], reversals[place] = spots, turns
        passed = time.monotonic() - started
        print(f"{done}/{len(names) * len(STARTUPS)} {place.trace} {place.startup:.0f} s: {passed:.0f} s", flush=True)
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "policies.json").write_text(json.dumps(_plain(results, reversals), indent=1) + "\n")
        (options.out / "policies.md").write_text(markdown(results, reversals, options.seeds))
    return 0


def _plain(results: Mapping[Place, Spots], reversals: Mapping[Place, Mapping[str, float]]) -> list[dict[str, Any]]:
    return [
        {
            "trace": place.trace,
            "startupSeconds": place.startup,
            "spots": {name: [[_short(value) for value in spot] for spot in found] for name, found in spots.items()},
            "reversalsPerHour": {name: _short(value) for name, value in reversals[place].items()},
        }
        for place, spots in results.items()
    ]


def _read(rows: Sequence[Mapping[str, Any]]) -> tuple[dict[Place, Spots], dict[Place, dict[str, float]]]:
    places = [Place(row["trace"], row["startupSeconds"]) for row in rows]
    spots = [{name: [Spot(*spot) for spot in found] for name, found in row["spots"].items()} for row in rows]
    reversals = [dict(row["reversalsPerHour"]) for row in rows]
    return dict(zip(places, spots, strict=True)), dict(zip(places, reversals, strict=True))


def _short(value: float) -> float:
    return float(f"{value:.5g}") if math.isfinite(value) else value


if __name__ == "__main__":
    sys.exit(main())

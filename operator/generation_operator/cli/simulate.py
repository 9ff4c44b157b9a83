"""`gensvc simulate`: its options. What they lead to is in `simulation`, which needs more than the operator does.

Nothing here imports numpy or rich: they are an extra, and the other commands work without them.
"""

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

POLICIES: Final = (
    "Targets", "Score", "HPA-CPU", "HPA-CPU-guide", "HPA-in-flight", "KEDA", "KPA", "RayServe", "Static", "Oracle",
)  # fmt: skip
USUAL_POLICIES: Final = ("Targets", "Score", "HPA-CPU", "KEDA", "KPA")
FORMATS: Final = ("requests", "counts", "access-log", "prometheus", "prometheus-rate", "prometheus-counter")
ENGINES: Final = ("Direct", "Floor")
SOURCES: Final = ("Pods", "Prometheus", "PrometheusLate")
GROWTHS: Final = ("superpose", "replicate")
RECORDED: Final = "recorded"
MEASURED: Final = "dist"
_EXTRA: Final = ("numpy", "rich")
_MOST_SEEDS: Final = 1000


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to `gensvc`."""
    parser = commands.add_parser(
        "simulate",
        help="replay your traffic against a model of your service, under several autoscalers",
        description="Replay traffic against a model of a service and see what each autoscaler would have cost and "
        "missed. Ours decide with the operator's own function. Each is run over several seeds (chance in arrivals, "
        "start-up times and phases), and at other settings of its main knob too, so that misses can be compared at "
        "equal cost. Nothing is changed anywhere.",
    )
    parser.add_argument(
        "--trace",
        required=True,
        type=Path,
        metavar="FILE",
        help="the traffic, plain or .gz: CSV arrival_s[,exec_s][,input_tokens,output_tokens] or t_s,count, an access "
        "log (nginx, Envoy, JSON lines), or the saved answer of a Prometheus range query",
    )
    parser.add_argument("--format", choices=FORMATS, help="what FILE is (default: told by its first line)")
    parser.add_argument(
        "--resource", type=Path, metavar="FILE", help="a GenerationService as YAML (default: one with all defaults)"
    )
    parser.add_argument(
        "--policy",
        nargs="+",
        action="extend",
        choices=POLICIES,
        metavar="NAME",
        help=f"what to compare, of {', '.join(POLICIES)} (default: {', '.join(USUAL_POLICIES)})",
    )
    parser.add_argument("--seeds", type=_whole(1, _MOST_SEEDS), default=20, metavar="N", help="runs each (default: 20)")
    _add_service(parser)
    _add_traffic(parser)
    parser.add_argument(
        "--sweep",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="try each policy's main knob too, over up to 3 of the seeds; needed to compare at equal cost",
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help="write a report, one HTML file")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures as JSON")
    parser.add_argument("--jobs", type=_whole(1, 1024), metavar="N", help="processes (default: one per core)")
    parser.set_defaults(run=_run)


def _add_service(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the service")
    group.add_argument(
        "--startup-seconds",
        type=_number_or(MEASURED, 0.0, 3600.0),
        default=20.0,
        metavar=f"SECONDS|{MEASURED}",
        help="mean time from the creation of a replica until it is ready; "
        f"{MEASURED}: as measured for model loads, 26 s with a long tail (default: 20)",
    )
    group.add_argument(
        "--engine",
        choices=ENGINES,
        help="how our policies act (default: as the resource says)",
    )
    group.add_argument(
        "--source",
        choices=SOURCES,
        default=SOURCES[0],
        help="where signals come from: fresh load from the pods every 2 s, a Prometheus that scrapes every 15 s, or "
        "one that is one scrape late, which also counts for HPA and KEDA (default: Pods)",
    )


def _add_traffic(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the traffic")
    group.add_argument(
        "--peak-replicas",
        type=_number_or(RECORDED, 0.001, 1000.0),
        metavar=f"N|{RECORDED}",
        help="make it so much smaller or larger that its busiest minutes need N replicas at 70 %% of their slots; "
        f"{RECORDED}: leave it as it is (default: the resource's maxReplicas)",
    )
    group.add_argument(
        "--growth",
        choices=GROWTHS,
        default=GROWTHS[0],
        help="how it is made larger: shifted copies, which smooth bursts, or every request several times at its place, "
        "which keeps them; the truth lies between (default: superpose)",
    )
    group.add_argument(
        "--window",
        nargs=2,
        type=_number(0.0, 1e9),
        metavar=("FROM", "TO"),
        help="only this part, in seconds from its start",
    )
    group.add_argument(
        "--time-compression",
        type=_number(0.001, 1000.0),
        default=1.0,
        metavar="FACTOR",
        help="let its time pass so many times faster; ramps get steeper, start-up times stay (default: 1)",
    )
    group.add_argument(
        "--mean-service-seconds",
        type=_number(0.001, 86400.0),
        default=15.0,
        metavar="SECONDS",
        help="of requests whose duration is neither recorded nor known from tokens (default: 15)",
    )


def _run(options: argparse.Namespace) -> int:
    try:
        from generation_operator.cli import simulation  # noqa: PLC0415 - the extra may be missing
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _EXTRA:
            raise
        print(
            f"gensvc simulate needs {missing}, which is not installed: pip install 'generation-operator[simulate]'",
            file=sys.stderr,
        )
        return 1
    return simulation.run(options)


def _number(least: float, most: float) -> Callable[[str], float]:
    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is no number from {least:g} to {most:g}")
        return value

    return number


def _whole(least: int, most: int) -> Callable[[str], int]:
    def whole(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and len(text) < 10 and least <= int(text) <= most):
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least} to {most}")
        return int(text)

    return whole


def _number_or(word: str, least: float, most: float) -> Callable[[str], float | str]:
    def number_or(text: str) -> float | str:
        try:
            return word if text == word else _number(least, most)(text)
        except argparse.ArgumentTypeError as error:
            raise argparse.ArgumentTypeError(f"{error}, nor {word!r}") from None

    return number_or

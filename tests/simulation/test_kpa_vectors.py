"""Our KPA agrees with the real autoscaler on every recorded case (hack/vectors/README.md tells how they are made)."""

import json
from pathlib import Path
from typing import Any

from generation_operator.rivals.kpa import Autoscaler, Averages, Buckets, Collector, Proposal, Settings

VECTORS = Path(__file__).parent / "vectors"
ANNOTATION = "autoscaling.knative.dev/"


def load(name: str) -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = json.loads((VECTORS / f"kpa_{name}.json").read_text())
    return cases


def settings_of(spec: dict[str, Any]) -> Settings:
    return Settings(
        total=spec["total"],
        utilization=spec["part"],
        max_scale_up_rate=spec["up"],
        max_scale_down_rate=spec["down"],
        stable_window=spec["window"],
        panic_threshold=spec["threshold"],
        scale_down_delay=spec["delay"],
        target_burst_capacity=spec["burst"],
        activation_scale=spec["activation"],
        reachable=spec["reachable"],
    )


def annotated(case: dict[str, Any]) -> Settings:
    """As the reconciler reads a revision."""
    values = {key.removeprefix(ANNOTATION): value for key, value in case["annotations"].items()}
    return Settings(
        total=float(case["concurrency"]),
        utilization=float(values.get("target-utilization-percentage", 70)) / 100,
        stable_window=float(values.get("window", "60s").removesuffix("s")),
        panic_window_percent=float(values.get("panic-window-percentage", 10)),
        panic_threshold=float(values.get("panic-threshold-percentage", 200)) / 100,
        scale_down_delay=float(values.get("scale-down-delay", "0s").removesuffix("s")),
        activation_scale=int(values.get("activation-scale", 0)),
    )


def as_recorded(proposal: Proposal | None) -> list[int] | None:
    return None if proposal is None else [proposal.desired, proposal.excess_burst_capacity]


def test_averages_are_those_of_the_real_windows() -> None:
    asked = 0
    for number, case in enumerate(load("windows")):
        buckets = Buckets(case["window"])
        for step, (at, value, *want) in enumerate(case["steps"]):
            if value is None:
                assert [buckets.is_empty(at), buckets.average(at)] == want, (number, step)
                asked += 1
            else:
                buckets.record(at, value)
    assert asked > 5000


def test_decisions_are_those_of_the_real_autoscaler() -> None:
    decided = 0
    for number, case in enumerate(load("scale")):
        autoscaler = Autoscaler(settings_of(case["spec"]), case["start"], 0.0)
        now = 0.0
        for step, (passed, ready, averages, want) in enumerate(case["ticks"]):
            now += passed
            given = None if averages is None else Averages(*averages)
            assert as_recorded(autoscaler.scale(given, ready, now)) == want, (number, step)
            decided += want is not None
    assert decided > 20000


def test_scrapes_averages_and_decisions_together_are_those_of_the_real_autoscaler() -> None:
    decided = panicked = 0
    for number, case in enumerate(load("loop")):
        settings = annotated(case)
        assert (settings.target, settings.stable_window, settings.panic_window) == (
            case["target"],
            case["window"],
            case["panicWindow"],
        )
        collector, autoscaler = Collector(settings), Autoscaler(settings, case["start"], 0.0)
        now = 0.0
        for step, (ready, scraped, want) in enumerate(case["ticks"]):
            for concurrency in scraped:
                now += 1.0
                if concurrency is not None:
                    collector.record(now, concurrency)
            proposal = autoscaler.scale(collector.averages(now + 0.5), ready, now + 0.5)
            assert as_recorded(proposal) == want, (number, step)
            decided += want is not None
            panicked += autoscaler.panics
    assert decided > 10000
    assert 1000 < panicked < decided

"""`gensvc decide`: one answer per line, at once, whatever comes."""

import io
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from builders import make_service
from generation_operator.cli.decide import LINE_LIMIT, SIGNALS, decide, observed
from generation_operator.cli.main import main
from generation_operator.decide.types import Reason, Signal, SignalName, SignalState

SCORE = make_service().scaling(policy="Score", minReplicas=1)
GUIDE = {
    "responseTimeSeconds": 0.5,
    "requestsPerSecond": 150,
    "cpuUtilizationPercent": 65,
    "memoryUtilizationPercent": 70,
    "queueLength": 25,
    "errorRatio": 0.02,
}
FULL = {
    "at": 0.0,
    "replicas": 2,
    "readyReplicas": 2,
    "startingReplicas": 0,
    "reportingPods": 2,
    "startupSeconds": 21.5,
    "signals": GUIDE
    | {
        "workflowArrivalsPerSecond": 3.1,
        "workflowServiceSeconds": 6.2,
        "workflowsInFlight": 19,
        "workflowDurationP95Seconds": 9.0,
        "cachedResponseP95Seconds": 0.04,
        "cacheHitRatio": 0.8,
        "missRatio5m": 0.0,
        "missRatio1h": 0.0,
    },
    "ages": {"queueLength": 3.0},
}
BUSY = GUIDE | {"responseTimeSeconds": 5, "cpuUtilizationPercent": 95}


def run(*lines: Any, service: Any = SCORE) -> list[dict[str, Any]]:
    """The answers to lines, which are objects or raw bytes."""
    raw = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    output = io.StringIO()
    assert decide(service.obj().spec, io.BytesIO(b"\n".join(raw)), output) == 0
    return [json.loads(line) for line in output.getvalue().splitlines()]


def line(at: float = 0.0, replicas: int = 5, **signals: Any) -> dict[str, Any]:
    return {"at": at, "replicas": replicas, "signals": signals}


def test_a_full_line_gets_a_full_answer() -> None:
    [answer] = run(FULL)
    assert list(answer) == [
        "id", "at", "desired", "current", "valid", "binder", "limitedBy", "reason", "signals", "lines",
        "counterfactuals",
    ]  # fmt: skip
    assert (answer["at"], answer["desired"], answer["current"], answer["valid"]) == (0.0, 2, 2, True)
    assert (answer["binder"], answer["limitedBy"], answer["reason"]) == ("Score", None, "WithinRange")
    assert answer["signals"]["queueLength"] == {"state": "Fresh", "value": 25.0, "age": 3.0}
    assert answer["signals"]["errorRatio"] == {"state": "Fresh", "value": 0.02, "age": 0.0}
    assert answer["signals"]["missRatio6h"] == {"state": "Missing", "value": None, "age": None}
    assert set(answer["signals"]) == set(SIGNALS)
    assert answer["lines"][0] == {"stage": "Signals", "before": 2, "after": 2, "text": "all fresh"}
    assert [entry["stage"] for entry in answer["lines"]][-1] == "Bounds"
    assert set(answer["counterfactuals"]) == {"hpa", "keda", "kpa"}


def test_every_signal_has_a_key() -> None:
    assert set(SIGNALS.values()) == set(SignalName)


@pytest.mark.parametrize(
    ("value", "state"),
    [
        (1.5, SignalState.FRESH),
        (None, SignalState.MISSING),
        ("NaN", SignalState.MISSING),
        (math.nan, SignalState.MISSING),  # as Python's own writer spells it
        (math.inf, SignalState.MISSING),
        (10**400, SignalState.MISSING),
    ],
)
def test_what_a_query_did_not_answer_with_a_number_is_missing(value: Any, state: SignalState) -> None:
    signals = observed(json.dumps(line(queueLength=value)).encode())[1].signals
    assert signals[SignalName.QUEUE_LENGTH].state is state
    assert SignalName.CPU not in signals


@pytest.mark.parametrize(
    ("signals", "name", "state"),
    [
        ({"requestsPerSecond": 0, "responseTimeSeconds": "NaN"}, SignalName.RESPONSE_TIME, SignalState.NO_TRAFFIC),
        ({"requestsPerSecond": 0, "errorRatio": None}, SignalName.ERROR_RATIO, SignalState.NO_TRAFFIC),
        ({"requestsPerSecond": 1, "errorRatio": "NaN"}, SignalName.ERROR_RATIO, SignalState.MISSING),
        ({"requestsPerSecond": 0, "queueLength": "NaN"}, SignalName.QUEUE_LENGTH, SignalState.MISSING),
        ({"workflowArrivalsPerSecond": 0, "missRatio5m": "NaN"}, SignalName.MISS_RATIO_5M, SignalState.NO_TRAFFIC),
        ({"requestsPerSecond": 0, "missRatio5m": "NaN"}, SignalName.MISS_RATIO_5M, SignalState.MISSING),
    ],
)
def test_nothing_divided_by_nothing_is_no_traffic(
    signals: dict[str, Any], name: SignalName, state: SignalState
) -> None:
    assert observed(json.dumps(line(**signals)).encode())[1].signals[name].state is state


def test_what_is_left_out_has_a_meaning() -> None:
    at, seen = observed(b'{"at": 3, "replicas": 4, "signals": {"queueLength": 2}, "ages": {"queueLength": null}}')
    assert (at, seen.current, seen.ready, seen.starting, seen.reporting) == (3.0, 4, 4, 0, None)
    assert seen.startup_seconds is None
    age = seen.signals[SignalName.QUEUE_LENGTH].age
    assert age is not None
    assert math.isnan(age)
    assert observed(b'{"at": 3, "replicas": 4}')[1].signals == {}
    signal = observed(json.dumps(line(queueLength=2)).encode())[1].signals[SignalName.QUEUE_LENGTH]
    assert signal == Signal(SignalName.QUEUE_LENGTH, SignalState.FRESH, 2.0, signal.age)
    assert signal.age == 0.0


MALFORMED: list[tuple[bytes, str]] = [
    (b"", "not JSON: "),
    (b"{", "not JSON: "),
    (b"\xff", "not JSON: "),
    (b"[" * 20000, "not JSON: "),
    (b"[1]", "not a JSON object: write one observation per line"),
    (b'{"replicas": 1}', "at: missing or not a number: give the time in seconds"),
    (b'{"at": "NaN", "replicas": 1}', "at: missing or not a number"),
    (b'{"at": "soon", "replicas": 1}', 'at: not a number: write a number, null or "NaN"'),
    (b'{"at": true, "replicas": 1}', "at: not a number"),
    (b'{"at": 1}', "replicas: missing: give the replicas that the Deployment asks for"),
    (b'{"at": 1, "replicas": 1.5}', "replicas: not a count: write a whole number from 0 to 1000000"),
    (b'{"at": 1, "replicas": -1}', "replicas: not a count"),
    (b'{"at": 1, "replicas": true}', "replicas: not a count"),
    (b'{"at": 1, "replicas": 1, "readyPods": 1}', "readyPods: unknown: use at, replicas, readyReplicas, "),
    (b'{"at": 1, "replicas": 1, "signals": [1]}', "signals: not a JSON object: write names and numbers"),
    (b'{"at": 1, "replicas": 1, "signals": {"cpu": 1}}', "signals.cpu: unknown: use responseTimeSeconds, "),
    (b'{"at": 1, "replicas": 1, "ages": {"cpu": 1}}', "ages.cpu: unknown: use responseTimeSeconds, "),
    (b'{"at": 1, "replicas": 1, "signals": {"queueLength": [1]}}', "signals.queueLength: not a number"),
    (b" " * (LINE_LIMIT + 1), f"the line is longer than {LINE_LIMIT} bytes: "),
    (b" " * (5 * LINE_LIMIT), f"the line is longer than {LINE_LIMIT} bytes: "),
]


@pytest.mark.parametrize(("raw", "error"), MALFORMED, ids=[error[:30] for _, error in MALFORMED])
def test_a_malformed_line_is_answered_and_passed_over(raw: bytes, error: str) -> None:
    first, answer, last = run(FULL, raw, FULL | {"at": 5.0})
    assert set(answer) == {"error", "line"}
    assert answer["error"].startswith(error)
    assert answer["line"] == 2
    assert (first["reason"], last["reason"], last["at"]) == ("WithinRange", "WithinRange", 5.0)


def test_a_long_last_line_without_an_end_is_answered_too() -> None:
    assert [set(answer) for answer in run(b" " * (LINE_LIMIT + 1))] == [{"error", "line"}]
    assert run() == []


@given(st.binary(max_size=200))
def test_whatever_comes_each_line_has_one_answer(raw: bytes) -> None:
    answers = run(raw)
    expected = len(raw.split(b"\n")) - (raw.endswith(b"\n") or not raw)
    assert len(answers) == expected


@pytest.mark.parametrize(
    ("carried_out", "reason"), [(True, Reason.COOLDOWN), (False, Reason.HIGH_LOAD)], ids=["carried out", "not"]
)
def test_a_step_is_remembered_only_if_the_replicas_followed(reason: Reason, *, carried_out: bool) -> None:
    first, second = run(line(0, 5, **BUSY), line(5, 7 if carried_out else 5, **BUSY))
    assert (first["desired"], second["reason"]) == (7, str(reason))


def test_the_same_lines_have_the_same_answers() -> None:
    lines = [line(tick * 15.0, 5, **BUSY) for tick in range(5)]
    answers = run(*lines)
    assert run(*lines) == answers
    assert len({answer["id"] for answer in answers}) == 5


def test_coverage_and_bounds_are_those_of_the_operator() -> None:
    [partial] = run(line(0, 5, **BUSY) | {"readyReplicas": 5, "reportingPods": 3})
    assert (partial["valid"], partial["signals"]["queueLength"]["state"]) == (False, "Stale")
    [above] = run(line(0, 30, **GUIDE))
    assert (above["desired"], above["reason"]) == (20, "AboveMaximum")


@pytest.fixture
def resource(tmp_path: Path) -> Path:
    file = tmp_path / "a.yaml"
    file.write_text(yaml.safe_dump(SCORE.manifest()))
    return file


def test_observations_come_from_a_file(resource: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = resource.with_name("observations")
    file.write_text(f"{json.dumps(FULL)}\n{{\n")
    assert main(["decide", "-f", str(resource), "--observations", str(file)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [min(json.loads(text)) for text in printed] == ["at", "error"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "contains no GenerationService"),
        ("kind: GenerationService\n---\nkind: GenerationService", "contains 2 GenerationService resources"),
        ("kind: GenerationService", "apiVersion: must be generation.dev/v1alpha1"),
        (None, "cannot be read: No such file or directory"),
    ],
)
def test_without_a_resource_there_is_nothing_to_decide_by(
    content: str | None, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "b.yaml"
    if content is not None:
        file.write_text(content)
    assert main(["decide", "-f", str(file), "--observations", "-"]) == 1
    assert capsys.readouterr().err.startswith(f"{file}: {problem}")


def test_observations_that_are_not_there_are_one_clear_line(resource: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["decide", "-f", str(resource), "--observations", str(resource.with_name("none"))]) == 1
    assert capsys.readouterr().err.endswith("none: cannot be read: No such file or directory\n")


@pytest.fixture
def process(resource: Path) -> Iterator[subprocess.Popen[str]]:
    command = [
        sys.executable,
        "-m",
        "generation_operator.cli.main",
        "decide",
        "-f",
        str(resource),
        "--observations",
        "-",
    ]
    # PYTHONUNBUFFERED would hide a forgotten flush.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as running:
        yield running
        running.kill()


def test_each_answer_comes_before_the_next_line_is_written(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    for at in range(3):
        process.stdin.write(json.dumps(FULL | {"at": at}) + "\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["at"] == at
    process.stdin.close()
    assert process.wait(20) == 0


def test_a_reader_that_leaves_is_no_error(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    process.stdin.write(json.dumps(FULL) + "\n")
    process.stdin.close()
    assert process.wait(20) == 0
    assert process.stderr.read() == ""

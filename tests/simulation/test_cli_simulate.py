"""`gensvc simulate`: what it prints, writes and refuses."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from builders import make_service
from generation_operator.cli import simulate as options
from generation_operator.cli.main import main
from generation_operator.cli.simulation import Replay, allowed_wait
from generation_operator.simulate import traces
from generation_operator.simulate.contenders import CONTENDERS
from generation_operator.simulate.ours import DIRECT, FLOOR, Source

QUICK = ("--jobs", "1", "--seeds", "1", "--no-sweep", "--peak-replicas", "3")


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Ten minutes: one request per second, then three, then one again."""
    path = tmp_path / "shop.csv"
    rows = [f"{second},{3 if 200 <= second < 400 else 1}" for second in range(0, 600, 10)]
    path.write_text("\n".join(["t_s,count", *rows]) + "\n")
    return path


def simulate(trace: Path, *arguments: str | Path) -> int:
    return main(["simulate", "--trace", str(trace), *QUICK, *(str(argument) for argument in arguments)])


def test_options_name_what_the_simulator_has() -> None:
    assert tuple(CONTENDERS) == options.POLICIES
    assert set(options.USUAL_POLICIES) <= set(CONTENDERS)
    assert tuple(traces.Format) == options.FORMATS
    assert options.ENGINES == (DIRECT, FLOOR)
    assert tuple(traces.Growth) == options.GROWTHS
    assert tuple(Source) == options.SOURCES


def test_the_table_has_cost_and_misses_of_each_policy(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate(trace, "--policy", "Targets", "KPA") == 0
    printed = capsys.readouterr()
    heading = next(line for line in printed.out.splitlines() if "pod-hours" in line and "policy" in line)
    assert heading.split() == ["policy", "pod-hours", "misses", "worst", "5", "min", "p95", "wait", "turns/h"]
    rows = [line.split()[0] for line in printed.out.splitlines() if "%" in line and line.split()[0] in CONTENDERS]
    assert rows == ["Targets", "KPA"]
    assert "nothing was compared at equal cost" in " ".join(printed.out.split())
    assert printed.err == "simulated 1 of 2 runs\nsimulated 2 of 2 runs\n"


def test_ours_come_first_and_once(trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.json"
    assert simulate(trace, "--policy", "KPA", "Static", "--policy", "Score", "KPA", "--json", out) == 0
    assert [policy["name"] for policy in json.loads(out.read_text())["policies"]] == ["Score", "KPA", "Static"]


def test_json_has_every_run_and_the_comparison(trace: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    arguments = ("--policy", "Targets", "KPA", "--seeds", "2", "--sweep", "--jobs", "2")
    assert simulate(trace, *arguments, "--json", out) == 0
    told = json.loads(out.read_text())
    assert (told["trace"], told["seeds"], told["sweepSeeds"], told["waitSeconds"]) == ("shop.csv", 2, 2, 15.0)
    ours, rival = told["policies"]
    assert len(ours["usual"]["runs"]) == 2
    assert [point["knob"] for point in rival["sweep"]] == sorted(CONTENDERS["KPA"].sweep)
    assert "atEqualCost" not in ours
    assert rival["atEqualCost"]["with"] == "Targets"
    assert rival["atEqualCost"]["podHours"] == pytest.approx(ours["usual"]["podHours"]["mean"])
    run = ours["usual"]["runs"][0]
    assert {"podSeconds", "missed", "requests", "waitSeconds", "latencySeconds"} <= set(run)


def test_the_same_command_gives_the_same_figures(trace: Path, tmp_path: Path) -> None:
    one, other = tmp_path / "1.json", tmp_path / "2.json"
    for out in (one, other):
        assert simulate(trace, "--policy", "Targets", "--json", out) == 0
    assert one.read_text() == other.read_text()


def test_the_report_is_written_and_named(trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.html"
    assert simulate(trace, "--policy", "Targets", "--report", out) == 0
    assert out.read_text().startswith("<!doctype html>")
    assert f"report: {out}" in capsys.readouterr().out


def test_a_resource_says_bounds_slots_targets_and_engine(trace: Path, tmp_path: Path) -> None:
    resource, out = tmp_path / "cr.yaml", tmp_path / "out.json"
    service = make_service().targets(concurrentWorkflows=7, workflowDurationSeconds=60).scaling(maxReplicas=6)
    resource.write_text(yaml.safe_dump(service.manifest()))
    arguments = [
        "simulate",
        "--trace",
        str(trace),
        "--resource",
        str(resource),
        "--policy",
        "Static",
        "--json",
        str(out),
    ]
    assert main([*arguments, "--seeds", "1", "--no-sweep"]) == 0
    told = json.loads(out.read_text())
    assert (told["slots"], told["waitSeconds"]) == (7, 30.0)
    assert any("busiest minutes need 6 replicas of 7 slots" in note for note in told["notes"])
    assert any("engine Direct" in note for note in told["notes"])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--peak-replicas", "recorded"], "The traffic is as it was recorded."),
        (["--time-compression", "2"], "Time passes 2 times faster"),
        (["--startup-seconds", "dist"], "A replica takes 26 s to become ready"),
        (["--startup-seconds", "60"], "A replica takes 60 s to become ready"),
        (["--window", "100", "400"], "in 0.0833 h"),
        (["--source", "PrometheusLate"], "signals from PrometheusLate"),
        (["--engine", "Floor"], "engine Floor"),
        (["--growth", "replicate"], "(replicate)"),
        (["--mean-service-seconds", "1"], "s of work each"),
    ],
)
def test_options_are_told_in_the_notes(arguments: list[str], told: str, trace: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    assert simulate(trace, "--policy", "Static", "--json", out, *arguments) == 0
    assert told in " ".join(json.loads(out.read_text())["notes"])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "trace.csv"),
        ("hello\n", "no known kind of trace"),
        ("t_s,count\n0,1\n10,-4\n", "line 3"),
        ("arrival_s\n", "trace.csv"),
    ],
)
def test_a_bad_trace_is_refused(content: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(content)
    assert simulate(path) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith("gensvc simulate: ")
    assert told in printed.err
    assert printed.out == ""


def test_a_trace_that_is_not_there_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate(tmp_path / "no.csv") == 1
    assert "no.csv" in capsys.readouterr().err


def test_a_bad_resource_is_refused(trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    resource = tmp_path / "cr.yaml"
    resource.write_text(yaml.safe_dump(make_service().scaling(minReplicas=9, maxReplicas=3).manifest()))
    assert simulate(trace, "--resource", resource) == 1
    assert f"{resource}: spec.scaling" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--report", "--json"])
@pytest.mark.parametrize(("place", "told"), [("no/out", "is no folder"), (".", "is a folder")])
def test_a_place_that_cannot_be_written_is_told_before_anything_runs(
    option: str, place: str, told: str, trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert simulate(trace, option, trace.parent / place) == 1
    printed = capsys.readouterr().err
    assert told in printed
    assert "simulated" not in printed


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--seeds", "0"], "argument --seeds: '0' is no whole number from 1 to 1000"),
        (["--seeds", "²"], "argument --seeds"),
        (["--startup-seconds", "soon"], "argument --startup-seconds: 'soon' is no number from 0 to 3600, nor 'dist'"),
        (["--peak-replicas", "nan"], "argument --peak-replicas"),
        (["--peak-replicas", "0"], "argument --peak-replicas"),
        (["--policy", "HPA"], "argument --policy: invalid choice: 'HPA'"),
        (["--engine", "Sideways"], "argument --engine"),
        (["--format", "xml"], "argument --format"),
        (["--time-compression", "0"], "argument --time-compression"),
    ],
)
def test_wrong_usage_exits_with_2_and_names_the_option(
    arguments: list[str], told: str, trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_info:
        simulate(trace, *arguments)
    assert exit_info.value.code == 2
    assert told in capsys.readouterr().err


def test_a_missing_trace_option_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(["simulate"])
    assert exit_info.value.code == 2
    assert "--trace" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("target", "service", "expected"),
    [(30, 15.0, 15.0), (30, 5.0, 15.0), (30, 20.0, 10.0), (30, 100.0, 1.5)],  # at most half, at least a twentieth
)
def test_what_the_target_leaves_may_be_waited(target: int, service: float, expected: float) -> None:
    spec = make_service().targets(workflowDurationSeconds=target).obj().spec
    source = traces.CountTrace("shop", np.array([0.0, 60.0]), np.array([60.0]))
    traffic = Replay(source, 20, None, service, 1.0, traces.Growth.SUPERPOSE)
    assert allowed_wait(spec, traffic) == pytest.approx(expected)


def python(code: str) -> Any:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("missing", ["numpy", "rich"])
def test_without_the_extra_it_says_what_to_install(missing: str, tmp_path: Path) -> None:
    done = python(
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from generation_operator.cli.main import main\n"
        "sys.exit(main(['simulate', '--trace', 'any.csv']))"
    )
    assert done.returncode == 1
    assert missing in done.stderr
    assert "pip install 'generation-operator[simulate]'" in done.stderr


def test_other_commands_do_without_the_extra() -> None:
    done = python(
        "import sys; sys.modules['numpy'] = sys.modules['rich'] = None\n"
        "from generation_operator.cli.main import main\n"
        "main(['lint', 'no-such-file.yaml'])"
    )
    assert "no-such-file.yaml: cannot be read" in done.stderr

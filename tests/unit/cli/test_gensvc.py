"""What `gensvc` prints and how it exits."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from builders import make_service
from generation_operator.cli.main import main

# The guide's defaults warn: slow responses or a long queue alone add nothing, and slow begins at ten times the target.
QUIET: dict[str, Any] = {
    "up": {"weights": {"responseTime": 51, "queueLength": 51}, "thresholds": {"responseTimeMilliseconds": 100}},
    "down": {"thresholds": {"responseTimeMilliseconds": 50}},
}


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write(*documents: Any, name: str = "a.yaml") -> str:
        path = tmp_path / name
        path.write_text(yaml.safe_dump_all(documents))
        return str(path)

    return write


def lint(capsys: pytest.CaptureFixture[str], *files: str) -> tuple[int, list[str], list[str]]:
    """Exit code, problems, warnings; each without the folder of its file."""
    code = main(["lint", *files])
    printed = capsys.readouterr()
    folder = f"{Path(files[0]).parent}/"
    problems, warnings = (text.replace(folder, "").splitlines() for text in (printed.err, printed.out))
    return code, problems, warnings


def manifest(name: str = "a", **scaling: Any) -> dict[str, Any]:
    return make_service(name).scaling(**{"policy": "Score", "score": QUIET} | scaling).manifest()


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(["--version"])
    assert exit_info.value.code == 0
    assert capsys.readouterr().out.startswith("gensvc 0.")


@pytest.mark.parametrize("arguments", [[], ["lint"], ["unknown"], ["decide"], ["decide", "-f", "a.yaml"]])
def test_wrong_usage_exits_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(arguments)
    assert exit_info.value.code == 2
    assert capsys.readouterr().err.startswith("usage: gensvc")


def test_a_correct_file_is_silent(write: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert lint(capsys, write(manifest())) == (0, [], [])


def test_what_only_the_api_server_adds_is_not_asked_for(write: Any, capsys: pytest.CaptureFixture[str]) -> None:
    resource = manifest() | {"metadata": {"name": "a"}}
    assert lint(capsys, write(resource)) == (0, [], [])


def test_every_problem_is_a_line_with_file_and_path(write: Any, capsys: pytest.CaptureFixture[str]) -> None:
    resource = manifest(minReplicas=0)
    resource["spec"] |= {"port": 70000, "colour": "red"}
    code, problems, warnings = lint(capsys, write(resource))
    assert (code, warnings) == (1, [])
    assert sorted(line.split(": ")[1] for line in problems) == ["spec.colour", "spec.port", "spec.scaling.minReplicas"]
    assert all(line.startswith("a.yaml: ") for line in problems)


def test_rules_between_fields_are_checked(write: Any, capsys: pytest.CaptureFixture[str]) -> None:
    code, problems, _ = lint(capsys, write(manifest(minReplicas=5, maxReplicas=3)))
    assert code == 1
    assert problems == [
        "a.yaml: spec.scaling: minReplicas must not exceed maxReplicas: lower minReplicas or raise maxReplicas"
    ]


def test_all_files_and_documents_are_checked(write: Any, capsys: pytest.CaptureFixture[str]) -> None:
    other = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}
    mixed = write(manifest("one"), None, other, manifest("two", minReplicas=0), name="mixed.yaml")
    code, problems, _ = lint(capsys, mixed, write(manifest("three")))
    assert code == 1
    assert [line.split(": ")[:3] for line in problems] == [["mixed.yaml", "two", "spec.scaling.minReplicas"]]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"a: [", "is not YAML: "),
        (b"\xff\xfe\xfa", "is not a text file in UTF-8"),
        (b"", "contains no GenerationService: is it the right file?"),
        (b"- kind: GenerationService", "contains no GenerationService: is it the right file?"),
        (b"kind: GenerationService\napiVersion: generation.dev/v1alpha1", "metadata.name: missing: "),
        (b"kind: GenerationService\napiVersion: generation.dev/v1alpha1\nmetadata: [a]", "metadata.name: missing: "),
        (
            b"kind: GenerationService\napiVersion: v1\nmetadata: {name: a}",
            "apiVersion: must be generation.dev/v1alpha1",
        ),
        (
            b"kind: GenerationService\napiVersion: generation.dev/v1alpha1\nmetadata: {name: a}\nspec: [image]",
            "spec: ",
        ),
    ],
)
def test_what_is_no_resource_is_one_clear_line(
    content: bytes, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(content)
    code, problems, _ = lint(capsys, str(file))
    assert code == 1
    assert problems[0].startswith(f"a.yaml: {problem}")


def test_a_file_that_is_not_there_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, problems, _ = lint(capsys, str(tmp_path / "none.yaml"))
    assert (code, problems) == (1, ["none.yaml: cannot be read: No such file or directory"])


def quiet_but(**up: Any) -> dict[str, Any]:
    return QUIET | {"up": QUIET["up"] | up}


@pytest.mark.parametrize(
    ("score", "warning"),
    [
        (
            quiet_but(weights={"responseTime": 30, "queueLength": 51}),
            "up.weights.responseTime: slow responses alone give 30 points, and 50 must be exceeded, ",
        ),
        (
            quiet_but(weights={"responseTime": 51}),
            "up.weights.queueLength: a long queue alone gives 20 points, and 50 must be exceeded, ",
        ),
        (quiet_but(scoreAbove=152), "up.scoreAbove: all weights add up to 152, never more than 152, "),
        (QUIET | {"down": {"scoreAbove": 100, **QUIET["down"]}}, "down.scoreAbove: all weights add up to 100, never m"),
        (
            quiet_but(thresholds={"responseTimeMilliseconds": 101}),
            "up.thresholds.responseTimeMilliseconds: responses count from 101 ms on, and ",
        ),
    ],
)
def test_a_score_that_cannot_be_reached_is_a_warning(
    score: dict[str, Any], warning: str, write: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    code, problems, warnings = lint(capsys, write(manifest(score=score)))
    assert (code, problems, len(warnings)) == (0, [], 1)
    assert warnings[0].startswith(f"a.yaml: warning: spec.scaling.score.{warning}")


@pytest.mark.parametrize(
    "score", [QUIET, quiet_but(scoreAbove=29), QUIET | {"down": {"scoreAbove": 99, **QUIET["down"]}}]
)
def test_a_score_that_can_be_reached_is_no_warning(
    score: dict[str, Any], write: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lint(capsys, write(manifest(score=score))) == (0, [], [])


def test_a_file_may_be_named_with_f(write: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", "-f", write(manifest())]) == 0
    assert main(["lint", "-f", "none.yaml"]) == 1
    assert capsys.readouterr().err == "none.yaml: cannot be read: No such file or directory\n"

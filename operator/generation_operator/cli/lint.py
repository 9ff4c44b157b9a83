"""Check `GenerationService` files before they are applied, by the very rules that the operator parses with.

Beside what is wrong it names what is allowed but will not do what one expects: a score that no load can reach.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from generation_operator.api.names import API_VERSION, KIND
from generation_operator.api.resource import InvalidSpecError, parse
from generation_operator.api.spec import ScorePolicy


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to say about a file."""

    file: Path
    text: str  # "spec.path: message"
    is_problem: bool = True

    def __str__(self) -> str:
        """As it is printed."""
        return f"{self.file}: {'' if self.is_problem else 'warning: '}{self.text}"


def lint(file: Path) -> list[Finding]:
    """What is to be said about a file, problems and warnings."""
    try:
        documents = list(yaml.safe_load_all(file.read_text(encoding="utf-8")))
    except OSError as error:
        return [Finding(file, f"cannot be read: {error.strerror}")]
    except UnicodeDecodeError:
        return [Finding(file, "is not a text file in UTF-8")]
    except yaml.YAMLError as error:
        return [Finding(file, f"is not YAML: {' '.join(str(error).split())}")]
    resources = [document for document in documents if isinstance(document, dict) and document.get("kind") == KIND]
    if not resources:
        return [Finding(file, f"contains no {KIND}: is it the right file?")]
    several = len(resources) > 1
    return [
        Finding(file, f"{_name(resource)}: {finding.text}" if several else finding.text, finding.is_problem)
        for resource in resources
        for finding in _findings(file, resource)
    ]


def _findings(file: Path, resource: dict[str, Any]) -> Iterator[Finding]:
    if resource.get("apiVersion") != API_VERSION:
        yield Finding(file, f"apiVersion: must be {API_VERSION}")
    if not isinstance(_name(resource), str):
        yield Finding(file, "metadata.name: missing: give the resource a name")
        return
    # What only the API server gives an object is no matter here.
    complete = {"namespace": "default", "uid": "none"} | resource["metadata"]
    try:
        service = parse(resource | {"metadata": complete})
    except InvalidSpecError as error:
        for problem in re.split(r"; (?=spec[.:\[])", str(error)):
            yield Finding(file, problem)
        return
    for warning in _unreachable(service.spec.scaling.score):
        yield Finding(file, f"spec.scaling.score.{warning}", is_problem=False)


def _unreachable(policy: ScorePolicy) -> Iterator[str]:
    up, down = policy.up, policy.down
    most_up = up.weights.response_time + up.weights.cpu + up.weights.memory + up.weights.queue_length
    most_down = down.weights.response_time + down.weights.cpu + down.weights.memory + down.weights.requests_per_second
    for name, most, limit, effect in (
        ("up", most_up, up.score_above, "added"),
        ("down", most_down, down.score_above, "removed"),
    ):
        if most <= limit:
            yield (
                f"{name}.scoreAbove: all weights add up to {most}, never more than {limit}, "
                f"so replicas are never {effect}: lower scoreAbove or raise the weights"
            )
    if up.weights.response_time <= up.score_above < most_up:
        yield (
            f"up.weights.responseTime: slow responses alone give {up.weights.response_time} points, and "
            f"{up.score_above} must be exceeded, so they never add replicas unless another signal is high too"
        )


def _name(resource: dict[str, Any]) -> object:
    metadata = resource.get("metadata")
    return metadata.get("name") if isinstance(metadata, dict) else None

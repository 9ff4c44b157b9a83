"""Check `GenerationService` files before they are applied, by the very rules that the operator parses with.

Beside what is wrong it names what is allowed but unwise (see `advice`).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from generation_operator.api.names import API_VERSION
from generation_operator.api.resource import InvalidSpecError
from generation_operator.cli.advice import advice
from generation_operator.cli.resources import UnusableFileError, name_of, parsed, resources_in


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to say about a file."""

    file: Path
    text: str  # "spec.path: message"
    is_problem: bool = True

    def __str__(self) -> str:
        """As it is printed."""
        return f"{self.file}: {'' if self.is_problem else 'warning: '}{self.text}"


def lint(file: Path, now: float) -> list[Finding]:
    """What is to be said about a file, problems and warnings.

    Args:
        file: YAML.
        now: Unix seconds, to tell what is over.
    """
    try:
        resources = resources_in(file)
    except UnusableFileError as error:
        return [Finding(file, str(error))]
    several = len(resources) > 1
    return [
        Finding(file, f"{name_of(resource)}: {finding.text}" if several else finding.text, finding.is_problem)
        for resource in resources
        for finding in _findings(file, resource, now)
    ]


def _findings(file: Path, resource: dict[str, Any], now: float) -> Iterator[Finding]:
    if resource.get("apiVersion") != API_VERSION:
        # Told, and yet read on: the rest may be right or wrong all the same.
        yield Finding(file, f"apiVersion: must be {API_VERSION}")
    try:
        service = parsed(resource | {"apiVersion": API_VERSION})
    except InvalidSpecError as error:
        for problem in re.split(r"; (?=spec[.:\[])", str(error)):
            yield Finding(file, problem)
        return
    for warning in advice(service.spec, now):
        yield Finding(file, warning, is_problem=False)

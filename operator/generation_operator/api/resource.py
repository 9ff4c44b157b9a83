"""One `GenerationService` as the operator sees it: identity plus a parsed spec, or the reason why it has none."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from sys import intern
from typing import Any, Final, NamedTuple

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from generation_operator.api.names import ANNOTATION_PAUSED
from generation_operator.api.spec import GenerationServiceSpec, Mode

# The longest name of a child is NAME-proxy-HASH with a hash of 10 digits, a ConfigMap; names of Services and label
# values allow 63 characters. 63 - len("-proxy-") - 10 = 46.
NAME_LIMIT: Final = 46
NAME_PATTERN: Final = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
NAME_TOO_LONG: Final = (
    f"metadata.name must have at most {NAME_LIMIT} characters, because children are named after it: "
    "choose a shorter name"
)
NAME_UNUSABLE: Final = (
    "metadata.name must start with a letter and consist of a-z, 0-9 and '-', because a Service is named after it: "
    "choose another name"
)


class Key(NamedTuple):
    """Namespace and name of a `GenerationService`."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class GenerationService:
    """A parsed resource."""

    key: Key
    uid: str
    generation: int
    spec: GenerationServiceSpec
    paused_by_annotation: bool = False

    @property
    def mode(self) -> Mode:
        """The effective mode: the annotation wins, so that a GitOps-managed spec can be paused in an emergency."""
        return Mode.PAUSED if self.paused_by_annotation else self.spec.scaling.mode


class InvalidSpecError(ValueError):
    """The spec breaks a rule that the API server would have refused; the message names field and remedy."""


def key_of(manifest: Mapping[str, Any]) -> Key:
    """The key of any namespaced object. Names are interned: each is kept in a dozen keys."""
    metadata = manifest["metadata"]
    return Key(intern(metadata["namespace"]), intern(metadata["name"]))


def parse(manifest: Mapping[str, Any]) -> GenerationService:
    """Parse an object as read from the API server.

    Raises:
        InvalidSpecError: a field is missing, unknown or breaks a rule. All problems are listed, each with its path.
    """
    metadata = manifest["metadata"]
    problems = list(_name_problems(metadata["name"]))
    spec = None
    try:
        # Only the names on the wire: `min_replicas` is as unknown here as it is to the API server.
        spec = GenerationServiceSpec.model_validate(manifest.get("spec") or {}, by_alias=True, by_name=False)
    except ValidationError as error:
        problems += [_problem(detail) for detail in error.errors()]
    if spec is None or problems:
        raise InvalidSpecError("; ".join(problems))
    annotations = metadata.get("annotations") or {}
    return GenerationService(
        key=key_of(manifest),
        uid=metadata["uid"],
        generation=metadata.get("generation", 0),
        spec=spec,
        paused_by_annotation=annotations.get(ANNOTATION_PAUSED) == "true",
    )


def _name_problems(name: str) -> Iterator[str]:
    if len(name) > NAME_LIMIT:
        yield NAME_TOO_LONG
    if not NAME_PATTERN.fullmatch(name):
        yield NAME_UNUSABLE


def _problem(detail: ErrorDetails) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in detail["loc"])
    return f"spec{path}: {detail['msg'].removeprefix('Value error, ')}"

"""One `GenerationService` as the operator sees it: identity plus a parsed spec, or the reason why it has none."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from pydantic import ValidationError

from generation_operator.api.names import ANNOTATION_PAUSED
from generation_operator.api.spec import GenerationServiceSpec, Mode


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
    """The key of any namespaced object."""
    metadata = manifest["metadata"]
    return Key(metadata["namespace"], metadata["name"])


def parse(manifest: Mapping[str, Any]) -> GenerationService:
    """Parse an object as read from the API server.

    Raises:
        InvalidSpecError: a field is missing, unknown or breaks a rule. All problems are listed, each with its path.
    """
    metadata = manifest["metadata"]
    try:
        spec = GenerationServiceSpec.model_validate(manifest.get("spec") or {})
    except ValidationError as error:
        raise InvalidSpecError("; ".join(_problem(detail) for detail in error.errors())) from None
    annotations = metadata.get("annotations") or {}
    return GenerationService(
        key=key_of(manifest),
        uid=metadata["uid"],
        generation=metadata.get("generation", 0),
        spec=spec,
        paused_by_annotation=annotations.get(ANNOTATION_PAUSED) == "true",
    )


def _problem(detail: Any) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in detail["loc"])
    return f"spec{path}: {detail['msg'].removeprefix('Value error, ')}"

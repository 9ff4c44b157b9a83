"""Read `GenerationService` resources from files, as `lint` and the commands that need one do."""

from pathlib import Path
from typing import Any

import yaml

from generation_operator.api.names import API_VERSION, KIND
from generation_operator.api.resource import GenerationService, InvalidSpecError, parse


class UnusableFileError(ValueError):
    """The file gives no resource; the message says why, without the file's name."""


def resources_in(file: Path) -> list[dict[str, Any]]:
    """All `GenerationService` documents of a YAML file, at least one.

    Raises:
        UnusableFileError: the file cannot be read, is not YAML, or contains none.
    """
    try:
        documents = list(yaml.safe_load_all(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise UnusableFileError(f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UnusableFileError("is not a text file in UTF-8") from None
    except yaml.YAMLError as error:
        raise UnusableFileError(f"is not YAML: {' '.join(str(error).split())}") from None
    found = [document for document in documents if isinstance(document, dict) and document.get("kind") == KIND]
    if not found:
        raise UnusableFileError(f"contains no {KIND}: is it the right file?")
    return found


def name_of(resource: dict[str, Any]) -> object:
    """`metadata.name`, whatever it is; None if there is none."""
    metadata = resource.get("metadata")
    return metadata.get("name") if isinstance(metadata, dict) else None


def parsed(resource: dict[str, Any]) -> GenerationService:
    """The resource as the operator would see it.

    Raises:
        InvalidSpecError: it breaks a rule.
    """
    if resource.get("apiVersion") != API_VERSION:
        raise InvalidSpecError(f"apiVersion: must be {API_VERSION}")
    if not isinstance(name_of(resource), str):
        raise InvalidSpecError("metadata.name: missing: give the resource a name")
    # What only the API server gives an object is no matter here.
    return parse(resource | {"metadata": {"namespace": "default", "uid": "none"} | resource["metadata"]})


def only_resource(file: Path) -> GenerationService:
    """The one resource of a file.

    Raises:
        UnusableFileError: there is not exactly one, or it breaks a rule.
    """
    found = resources_in(file)
    if len(found) > 1:
        raise UnusableFileError(f"contains {len(found)} {KIND} resources: keep the one that is meant")
    try:
        return parsed(found[0])
    except InvalidSpecError as error:
        raise UnusableFileError(str(error)) from None

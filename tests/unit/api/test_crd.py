"""The generated CRD: structural, complete, and the same as the committed file."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from generation_operator.api import crd

FILE = Path(__file__).parents[3] / "crds" / "generation.dev_generationservices.yaml"


def schema() -> dict[str, Any]:
    root: dict[str, Any] = crd.crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return root


def nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    inner = [node[field] for field in ("items", "additionalProperties") if field in node]
    for child in (*node.get("properties", {}).values(), *inner):
        yield from nodes(child)


def test_committed_file_is_what_the_models_say() -> None:
    assert FILE.read_text() == crd.render(), "run `make crds`"


def test_schema_keeps_the_api_conventions() -> None:
    assert list(crd.lint(schema())) == []


def test_lint_finds_what_the_conventions_forbid() -> None:
    bad = {
        "type": "object",
        "properties": {
            "ratio": {"type": "number", "description": "A float."},
            "text": {"type": "string", "description": "Endless."},
            "list": {"type": "array", "description": "Endless.", "items": {"type": "integer"}},
            "silent": {"type": "integer"},
            "map": {"type": "object", "description": "Endless.", "additionalProperties": {"type": "string"}},
        },
    }
    assert len(list(crd.lint(bad))) == 6


def test_schema_is_structural() -> None:
    forbidden = {"$ref", "anyOf", "allOf", "oneOf", "not", "title", "definitions"}
    for node in nodes(schema()):
        assert not forbidden & node.keys()
        assert not {"properties", "additionalProperties"} <= node.keys(), "a map or an object, not both"
        assert "type" in node


def test_every_object_with_optional_fields_has_a_default_so_that_all_defaults_are_visible() -> None:
    spec = schema()["properties"]["spec"]
    for name, child in spec["properties"].items():
        if child["type"] == "object":
            assert "default" in child, name


def test_check_of_an_outdated_file_names_the_remedy(tmp_path: Path) -> None:
    outdated = tmp_path / "crd.yaml"
    outdated.write_text("kind: CustomResourceDefinition\n")
    done = subprocess.run(
        [sys.executable, "-m", "generation_operator.api.crd", "--check", str(outdated)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "run `make crds`" in done.stderr

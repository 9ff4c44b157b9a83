"""The models: rows shared with the API server, defaults of the performance guide, round trips."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from generation_operator.api.quantity import parse_quantity
from generation_operator.api.resource import InvalidSpecError, parse
from generation_operator.api.spec import GenerationServiceSpec, Mode
from spec_rows import ROWS, Row

SAMPLES = Path(__file__).parents[3] / "manifests" / "samples"
STORED = Path(__file__).parents[2] / "stored"


def stored(manifest: dict[str, Any]) -> dict[str, Any]:
    """As the API server returns it."""
    return manifest | {"metadata": {"namespace": "default", "uid": "u", "generation": 1, **manifest["metadata"]}}


@pytest.mark.parametrize("row", ROWS, ids=[row.id for row in ROWS])
def test_row_is_judged_as_the_table_says(row: Row) -> None:
    if row.accepted:
        parse(stored(row.manifest()))
        return
    with pytest.raises(InvalidSpecError) as refused:
        parse(stored(row.manifest()))
    assert (row.local_message or row.message) in str(refused.value)


def test_rows_have_names_of_their_own() -> None:
    assert len({row.id for row in ROWS}) == len(ROWS)


def test_several_problems_are_listed_with_their_paths() -> None:
    with pytest.raises(InvalidSpecError) as refused:
        parse(stored({"metadata": {"name": "1"}, "spec": {"port": 0, "scaling": {"minReplicas": 30}}}))
    text = str(refused.value)
    assert text.startswith("metadata.name must start with a letter")
    assert "spec.image: Field required" in text
    assert "spec.port: " in text
    assert "spec.scaling: minReplicas must not exceed maxReplicas" in text


def test_samples_parse_and_the_full_one_shows_the_defaults() -> None:
    minimal, full = (yaml.safe_load((SAMPLES / f"{name}.yaml").read_text()) for name in ("minimal", "full"))
    assert parse(stored(minimal)).spec == parse(stored(full)).spec
    defaults = GenerationServiceSpec(image=full["spec"]["image"])
    assert full["spec"] == defaults.model_dump(by_alias=True, mode="json", exclude_none=True)


def test_null_is_as_if_the_field_were_absent() -> None:
    # Not a row: a null without default depends on the verb, the API server drops it but server-side apply refuses it.
    empty = {"image": "a", "env": None, "scaling": {"score": None}, "metrics": {"prometheusURL": None}}
    assert parse(stored({"metadata": {"name": "x"}, "spec": empty})).spec == GenerationServiceSpec(image="a")


def test_null_for_an_unknown_field_is_refused() -> None:
    with pytest.raises(InvalidSpecError, match=r"spec\.colour: Extra inputs are not permitted"):
        parse(stored({"metadata": {"name": "x"}, "spec": {"image": "a", "colour": None}}))


@pytest.mark.parametrize(("value", "paused"), [("true", True), ("false", False), ("", False), (None, False)])
def test_annotation_pauses_whatever_the_spec_says(value: str | None, paused: bool) -> None:
    manifest = stored({"metadata": {"name": "x"}, "spec": {"image": "a"}})
    manifest["metadata"]["annotations"] = {"generation.dev/paused": value} if value is not None else None
    assert (parse(manifest).mode is Mode.PAUSED) == paused


@pytest.mark.parametrize(
    ("text", "value"),
    [("500m", "0.5"), ("2", "2"), ("1Gi", str(2**30)), ("1.5k", "1500"), ("0", "0"), ("0.25", "0.25")],
)
def test_quantity_is_exact(text: str, value: str) -> None:
    assert parse_quantity(text) == Decimal(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.000000001m", "1e-9"),  # rounded up, never to nothing
        ("8388607Ti", str(8388607 * 2**40)),
        ("8388608Ti", str(2**63 - 1)),
        ("9223373T", "9223373e12"),
        ("999999999999999.999999999Ki", "1023999999999999999.999998976"),
    ],
)
def test_extreme_quantity_is_what_the_api_server_makes_of_it(text: str, value: str) -> None:
    assert parse_quantity(text) == Decimal(value)


@pytest.mark.parametrize("text", ["", "m", "1e3", "-1", "1 Gi", "1gi", "٣", "1\n"])
def test_text_that_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a Kubernetes quantity"):
        parse_quantity(text)


@pytest.mark.parametrize("file", sorted(STORED.glob("*.yaml")), ids=lambda file: file.stem)
def test_what_was_stored_in_an_earlier_shape_still_loads_and_means_the_same(file: Path) -> None:
    resource = yaml.safe_load(file.read_text())
    spec = parse(stored(resource)).spec
    wire = spec.model_dump(by_alias=True, mode="json", exclude_none=True)
    for section, said in resource["spec"].items():
        assert says(wire[section], said), section


def says(whole: object, part: object) -> bool:
    """Whether everything in the part is in the whole."""
    if isinstance(whole, dict) and isinstance(part, dict):
        return all(name in whole and says(whole[name], value) for name, value in part.items())
    return whole == part


def test_the_newest_shape_is_kept_for_later() -> None:
    newest = max(STORED.glob("*.yaml"))
    full = yaml.safe_load((SAMPLES / "full.yaml").read_text())
    assert yaml.safe_load(newest.read_text())["spec"] == full["spec"], "a new shape: add it to tests/stored"

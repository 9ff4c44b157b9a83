"""The models: rows shared with the API server, defaults of the performance guide, round trips."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from generation_operator.api.quantity import parse_quantity
from generation_operator.api.resource import InvalidSpecError, parse
from generation_operator.api.spec import GenerationServiceSpec, Mode, Scaling
from spec_rows import ROWS, Row

SAMPLES = Path(__file__).parents[3] / "manifests" / "samples"


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


def test_every_cel_rule_has_an_accepting_and_a_refusing_row() -> None:
    rules = [rule for model in all_models() for rule in model.cel]
    refused = " ".join(row.message for row in ROWS if not row.accepted)
    assert rules
    for rule in rules:
        assert any(row.message and row.message in rule.message for row in ROWS if not row.accepted), rule.message
    assert refused


def all_models() -> list[Any]:
    from generation_operator.api import spec

    return [value for value in vars(spec).values() if isinstance(value, type) and issubclass(value, spec.Model)]


def test_several_problems_are_listed_with_their_paths() -> None:
    with pytest.raises(InvalidSpecError) as refused:
        parse(stored({"metadata": {"name": "x"}, "spec": {"port": 0, "scaling": {"minReplicas": 30}}}))
    text = str(refused.value)
    assert "spec.image: Field required" in text
    assert "spec.port: " in text
    assert "spec.scaling: minReplicas must not exceed maxReplicas" in text


def test_samples_parse_and_the_full_one_shows_the_defaults() -> None:
    minimal, full = (yaml.safe_load((SAMPLES / f"{name}.yaml").read_text()) for name in ("minimal", "full"))
    assert parse(stored(minimal)).spec == parse(stored(full)).spec
    defaults = GenerationServiceSpec(image=full["spec"]["image"])
    assert full["spec"] == defaults.model_dump(by_alias=True, mode="json", exclude_none=True)


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
    assert str(parse_quantity(text).normalize()) == str(type(parse_quantity(text))(value).normalize())


@pytest.mark.parametrize("text", ["", "m", "1e3", "-1", "1 Gi", "1gi", "٣"])
def test_text_that_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a Kubernetes quantity"):
        parse_quantity(text)


@given(
    low=st.integers(1, 1000),
    extra=st.integers(0, 500),
    mode=st.sampled_from(Mode),
    cooldown=st.integers(0, 86400),
)
def test_accepted_spec_survives_the_wire(low: int, extra: int, mode: Mode, cooldown: int) -> None:
    high = min(1000, low + extra)
    spec = GenerationServiceSpec(
        image="a",
        scaling=Scaling.model_validate(
            {"minReplicas": low, "maxReplicas": high, "mode": mode, "score": {"cooldownSeconds": cooldown}}
        ),
    )
    wire = spec.model_dump(by_alias=True, mode="json", exclude_none=True)
    assert parse(stored({"metadata": {"name": "x"}, "spec": wire})).spec == spec

"""The schema that the API server enforces and the models that the operator parses with judge alike.

The table of `spec_rows` names the cases that matter; here every field and every rule of the
generated schema is visited.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings

from generation_operator.api.resource import InvalidSpecError, parse
from spec_rows import ROWS
from spec_strategies import ROOT, SPEC, Place, Schema, places, probes, values, with_value


def problems(spec: Any, name: str = "x") -> str:
    """What the models find wrong, nothing when they accept."""
    try:
        parse({"metadata": {"name": name, "namespace": "default", "uid": "u"}, "spec": spec})
    except InvalidSpecError as error:
        return str(error)
    return ""


def beyond_rules(found: str) -> list[str]:
    """Problems one by one, without those that come from rules which tie fields together."""
    each = [problem for problem in re.split(r"; (?=spec[.:\[])", found) if problem]
    messages = {rule["message"] for _, rule in RULES}
    return [problem for problem in each if problem.split(": ", 1)[1] not in messages]


PROBES: Final = list(probes())


@pytest.mark.parametrize(
    ("place", "value", "allowed"),
    PROBES,
    ids=[f"{place.name}={str(value)[:30]}" for place, value, _ in PROBES],
)
def test_models_keep_every_bound_of_the_schema(place: Place, value: Any, allowed: bool) -> None:
    found = "; ".join(beyond_rules(problems(with_value(SPEC, place.path, value))))
    assert (re.search(rf"spec\.{re.escape(place.name)}[:.\[]", found) is None) == allowed, found


def rules() -> Iterator[tuple[Place, Schema]]:
    for place in places(ROOT):
        for rule in place.schema.get("x-kubernetes-validations", ()):
            yield place, rule


RULES: Final = list(rules())
_FIELDS: Final = re.compile(r"self\.([A-Za-z.]*[A-Za-z])(?=\b)")


@pytest.mark.parametrize(("place", "rule"), RULES, ids=[rule["message"][:50] for _, rule in RULES])
def test_rule_has_a_row_that_meets_it_and_a_row_that_breaks_it(place: Place, rule: Schema) -> None:
    """A row counts as meeting a rule only if it sets a field that the rule reads."""
    fields = [re.sub("[.](matches|all|exists|size)$", "", field) for field in _FIELDS.findall(rule["rule"])]
    assert any(row.message and row.message in rule["message"] for row in ROWS if not row.accepted), "none breaks it"
    met = [
        row.id
        for row in ROWS
        if row.accepted and any(sets(row.manifest(), (*place.path, *field.split("."))) for field in fields)
    ]
    assert met, f"no accepted row sets one of {fields}"


def sets(value: Any, path: tuple[str, ...]) -> bool:
    if not path:
        return True
    first, *rest = path
    if first == "[]":
        return isinstance(value, list) and any(sets(item, tuple(rest)) for item in value)
    return isinstance(value, dict) and first in value and sets(value[first], tuple(rest))


def test_field_path_of_every_rule_exists() -> None:
    for place, rule in RULES:
        node = place.schema
        for part in rule.get("fieldPath", "").split(".")[1:]:
            node = node["properties"][part]


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(values(SPEC))
def test_what_the_schema_allows_is_refused_by_a_rule_only_and_else_survives_the_wire(spec: Any) -> None:
    manifest = {"metadata": {"name": "x", "namespace": "default", "uid": "u"}, "spec": spec}
    found = problems(spec)
    assert beyond_rules(found) == []
    if found:
        return
    parsed = parse(manifest).spec
    wire = parsed.model_dump(by_alias=True, mode="json", exclude_none=True)
    assert parse(manifest | {"spec": wire}).spec == parsed
    assert keeps(wire, spec)


def keeps(wire: Any, given: Any) -> bool:
    """Whether everything that was given is still there, whatever defaults were added."""
    if isinstance(given, dict):
        return all(name in wire and keeps(wire[name], value) for name, value in given.items())
    if isinstance(given, list):
        return len(wire) == len(given) and all(map(keeps, wire, given))
    return bool(wire == given)

"""The schema that the API server enforces and the models that the operator parses with judge alike.

The table of `spec_rows` names the cases that matter; here every field and every rule of the
generated schema is visited.
"""

import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from generation_operator.api import crd
from generation_operator.api.resource import InvalidSpecError, parse
from spec_rows import ROWS

Schema = dict[str, Any]

ROOT: Final[Schema] = crd.crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
SPEC: Final[Schema] = ROOT["properties"]["spec"]


class Place(NamedTuple):
    """A node of the schema; `[]` in the path is an item of a list."""

    path: tuple[str, ...]
    schema: Schema

    @property
    def name(self) -> str:
        """As problems name it, items being the first."""
        return "".join("[0]" if part == "[]" else f".{part}" for part in self.path).removeprefix(".")


def places(schema: Schema, path: tuple[str, ...] = ()) -> Iterator[Place]:
    yield Place(path, schema)
    for name, child in schema.get("properties", {}).items():
        yield from places(child, (*path, name))
    if "items" in schema:
        yield from places(schema["items"], (*path, "[]"))


# Texts that more than their pattern decides on: cron, time zones and times.
EXAMPLES: Final = {
    "start": ("0 8 * * MON-FRI", "*/5 7-9 1,15 * *", "0 0 29 2 *"),
    "end": ("30 18 * * *", "0 8 * * 5L"),
    "timeZone": ("UTC", "Europe/Berlin", "America/New_York"),
    "until": ("2030-01-31T18:00:00Z", "2024-02-29T00:00:00.5-08:00"),
}


def smallest(schema: Schema, name: str = "") -> Any:
    """What must be there, with values that every pattern of a required field allows."""
    match schema:
        case {"type": "object"}:
            return {part: smallest(schema["properties"][part], part) for part in schema.get("required", ())}
        case {"type": "array"}:
            return []
        case {"type": "integer", "minimum": least}:
            return least
        case {"enum": [first, *_]}:
            return first
    return EXAMPLES.get(name, ("a",))[0]


def with_value(schema: Schema, path: tuple[str, ...], value: Any) -> Any:
    """The smallest object that has this value at this place."""
    if not path:
        return value
    first, *rest = path
    if first == "[]":
        return [with_value(schema["items"], tuple(rest), value)]
    return smallest(schema) | {first: with_value(schema["properties"][first], tuple(rest), value)}


def problems(spec: Any, name: str = "x") -> str:
    """What the models find wrong, nothing when they accept."""
    try:
        parse({"metadata": {"name": name, "namespace": "default", "uid": "u"}, "spec": spec})
    except InvalidSpecError as error:
        return str(error)
    return ""


def map_key(schema: Schema) -> str:
    """The field by which the entries of a list are told apart."""
    [key] = schema["x-kubernetes-list-map-keys"]
    return str(key)


def distinct_keys(schema: Schema, count: int) -> list[dict[str, str]]:
    """As many different keys as there can be; where there are too few, some come twice."""
    key = map_key(schema)
    chosen = schema["items"]["properties"][key].get("enum") or [f"a{number}" for number in range(count)]
    return [{key: chosen[number % len(chosen)]} for number in range(count)]


def probes() -> Iterator[tuple[Place, Any, bool]]:
    """Values at and beyond every bound of the schema, and whether the field allows them."""
    others = {"integer": "1", "string": 1, "boolean": "true", "array": {}, "object": []}
    for place in places(SPEC):
        schema = place.schema
        if not place.path:
            continue
        yield place, others[schema["type"]], False
        if schema["type"] == "integer":
            yield from ((place, schema[bound], True) for bound in ("minimum", "maximum"))
            yield place, schema["minimum"] - 1, False
            yield place, schema["maximum"] + 1, False
        for value in schema.get("enum", ()):
            yield place, value, True
            yield place, value.lower(), False
        if "maxLength" in schema:
            yield place, "9" * (schema["maxLength"] + 1), False
        if "minLength" in schema:
            yield place, "", False
        if "maxItems" in schema:
            many = [smallest(schema["items"]) | key for key in distinct_keys(schema, schema["maxItems"] + 1)]
            yield place, many[:-1], True
            yield place, many, False
        if schema["type"] == "object":
            yield place, smallest(schema) | {"colour": 1}, False
            for name in schema.get("required", ()):
                yield place, {key: value for key, value in smallest(schema).items() if key != name}, False


PROBES: Final = list(probes())


@pytest.mark.parametrize(
    ("place", "value", "allowed"),
    PROBES,
    ids=[f"{place.name}={str(value)[:30]}" for place, value, _ in PROBES],
)
def test_models_keep_every_bound_of_the_schema(place: Place, value: Any, allowed: bool) -> None:
    found = problems(with_value(SPEC, place.path, value))
    # The rules that tie fields together are named at the object that holds the fields, never at a field alone.
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
    fields = [field.removesuffix(".matches") for field in _FIELDS.findall(rule["rule"])]
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


def texts(schema: Schema) -> st.SearchStrategy[str]:
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "pattern" in schema:
        pattern: str = schema["pattern"]
        return st.from_regex(pattern, fullmatch=True).filter(lambda text: len(text) <= schema["maxLength"])
    return st.text(min_size=schema.get("minLength", 0), max_size=20)


def values(schema: Schema) -> st.SearchStrategy[Any]:
    """Anything that the schema allows, rules aside."""
    match schema:
        case {"type": "string"}:
            return texts(schema)
        case {"type": "boolean"}:
            return st.booleans()
        case {"type": "integer", "minimum": least, "maximum": most}:
            return st.integers(least, most)
        case {"type": "array", "items": items}:
            key = map_key(schema)
            return st.lists(values(items), max_size=3, unique_by=lambda item: item[key])
    fields = {
        name: st.sampled_from(EXAMPLES[name]) if name in EXAMPLES else values(child)
        for name, child in schema["properties"].items()
    }
    needed = set(schema.get("required", ()))
    return st.fixed_dictionaries(
        {name: fields[name] for name in needed},
        optional={name: field for name, field in fields.items() if name not in needed},
    )


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(values(SPEC))
def test_what_the_schema_allows_is_refused_by_a_rule_only_and_else_survives_the_wire(spec: Any) -> None:
    manifest = {"metadata": {"name": "x", "namespace": "default", "uid": "u"}, "spec": spec}
    try:
        parsed = parse(manifest).spec
    except InvalidSpecError as error:
        messages = {rule["message"] for _, rule in RULES}
        found = re.split(r"; (?=spec[.:\[])", str(error))
        assert {problem.split(": ", 1)[1] for problem in found} <= messages
        return
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

"""Specs made from the generated CRD: every bound of every field, and anything at all that the schema allows."""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from hypothesis import strategies as st

from generation_operator.api import crd
from generation_operator.api.text import LABEL_KEY

Schema = dict[str, Any]

ROOT: Final[Schema] = crd.crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
SPEC: Final[Schema] = ROOT["properties"]["spec"]


class Place(NamedTuple):
    """A node of the schema; in the path `[]` is an item of a list and `{}` a value of a map."""

    path: tuple[str, ...]
    schema: Schema

    @property
    def name(self) -> str:
        """As problems name it, items being the first."""
        inner = {"[]": "[0]", "{}": ".key"}
        return "".join(inner.get(part, f".{part}") for part in self.path).removeprefix(".")


def places(schema: Schema, path: tuple[str, ...] = ()) -> Iterator[Place]:
    yield Place(path, schema)
    for name, child in schema.get("properties", {}).items():
        yield from places(child, (*path, name))
    if "items" in schema:
        yield from places(schema["items"], (*path, "[]"))
    if "additionalProperties" in schema:
        yield from places(schema["additionalProperties"], (*path, "{}"))


# Texts that more than their pattern decides on: cron, time zones and times.
EXAMPLES: Final = {
    "start": ("0 8 * * MON-FRI", "*/5 7-9 1,15 * *", "0 0 29 2 *"),
    "end": ("30 18 * * *", "0 8 * * 5L"),
    "timeZone": ("UTC", "Europe/Berlin", "America/New_York"),
    "until": ("2030-01-31T18:00:00Z", "2024-02-29T00:00:00.5-08:00"),
    "mountPath": ("/data", "/var/lib/x.y"),
}


def smallest(schema: Schema, name: str = "") -> Any:
    """What must be there, with values that every pattern of a required field allows."""
    match schema:
        case {"type": "object"}:
            return {part: smallest(schema["properties"][part], part) for part in schema.get("required", ())}
        case {"type": "array"}:
            return [smallest(schema["items"])] * schema.get("minItems", 0)
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
    if first == "{}":
        return {"key": with_value(schema["additionalProperties"], tuple(rest), value)}
    return smallest(schema) | {first: with_value(schema["properties"][first], tuple(rest), value)}


def map_key(schema: Schema) -> str | None:
    """The field by which the entries of a list are told apart; None where nothing does."""
    [key] = schema.get("x-kubernetes-list-map-keys", [None])
    return None if key is None else str(key)


def entries(schema: Schema, count: int) -> list[Any]:
    """A list of that length; keys differ as far as there are different ones."""
    key, one = map_key(schema), smallest(schema["items"])
    if key is None:
        return [one] * count
    found = schema["items"]["properties"][key]
    chosen = found.get("enum") or [f"{smallest(found, key)}{number}" for number in range(count)]
    return [one | {key: chosen[number % len(chosen)]} for number in range(count)]


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
            many = entries(schema, schema["maxItems"] + 1)
            yield place, many[:-1], True
            yield place, many, False
        if "minItems" in schema:
            yield place, entries(schema, schema["minItems"] - 1), False
        if "maxProperties" in schema:
            yield place, {f"a{number}": "b" for number in range(schema["maxProperties"])}, True
            yield place, {f"a{number}": "b" for number in range(schema["maxProperties"] + 1)}, False
        if "properties" in schema:
            yield place, smallest(schema) | {"colour": 1}, False
            for name in schema.get("required", ()):
                yield place, {key: value for key, value in smallest(schema).items() if key != name}, False


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
            key, least = map_key(schema), schema.get("minItems", 0)
            unique = None if key is None else lambda item: item[key]
            return st.lists(values(items), min_size=least, max_size=max(least, 2), unique_by=unique)
        case {"additionalProperties": value}:
            return st.dictionaries(st.from_regex(LABEL_KEY, fullmatch=True), values(value), max_size=2)
    fields = {
        name: st.sampled_from(EXAMPLES[name]) if name in EXAMPLES else values(child)
        for name, child in schema["properties"].items()
    }
    needed = set(schema.get("required", ()))
    return st.fixed_dictionaries(
        {name: fields[name] for name in needed},
        optional={name: field for name, field in fields.items() if name not in needed},
    )

"""Which fields a manifest sets, and how server-side apply merges them: the part of it that manifests of ours need.

The API server reads list keys and atomic fields from its schema; here they are a short table of the fields that occur
in our kinds. Pure functions on plain values: nothing here knows objects, managers or errors, and nothing is changed in
place.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final, TypeAlias

Json: TypeAlias = Any  # any part of a manifest
Path = tuple[str, ...]  # in the notation of managedFields: `f:NAME` is a field, `k:{…}` the list item with these keys
Fields = frozenset[Path]

MISSING: Final = object()

# Lists whose items are told apart by these keys. Every other list is one value.
_LIST_KEYS: Final = {
    "conditions": ("type",),
    "containers": ("name",),
    "env": ("name",),
    "initContainers": ("name",),
    "ownerReferences": ("uid",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "volumeMounts": ("mountPath",),
    "volumes": ("name",),
}
_CONTAINER_PORT_KEYS: Final = ("containerPort", "protocol")
_SERVICE_PORT_KEYS: Final = ("port", "protocol")
_KEY_DEFAULTS: Final = {"protocol": "TCP"}
# Maps that have one owner as a whole.
_ATOMIC: Final = frozenset({"f:selector", "f:labelSelector", "f:nodeSelector", "f:fieldRef", "f:secretKeyRef"})


def fields_of(value: Json, path: Path = ()) -> Iterator[Path]:
    """The paths that somebody who applies `value` owns."""
    if isinstance(value, dict) and value and not (path and path[-1] in _ATOMIC):
        for name, child in value.items():
            yield from fields_of(child, (*path, f"f:{name}"))
    elif isinstance(value, list) and (keys := _keys(path, value)):
        for item in value:
            item_path = (*path, _item(item, keys))
            yield item_path
            yield from fields_of(item, item_path)
    else:
        yield path


def changed_fields(before: dict[str, Any], after: dict[str, Any]) -> Fields:
    """The paths that somebody who turns `before` into `after` by an update owns afterwards."""
    # Most updates are of one part, the status above all; looking at every field of the others takes most of the time.
    changed = {name: part for name, part in after.items() if name not in before or before[name] != part}
    if not changed:
        return frozenset()
    return frozenset(path for path in fields_of(changed) if get(before, path) != get(after, path))


def get(value: Json, path: Path) -> Json:
    """What is at `path`, `MISSING` when nothing is."""
    for number, element in enumerate(path):
        if element.startswith("f:"):
            value = value.get(element[2:], MISSING) if isinstance(value, dict) else MISSING
        else:
            value = _find(value, path[:number], element)
        if value is MISSING:
            return MISSING
    return value


def merge(live: Json, applied: Json, path: Path = ()) -> Json:
    """`live` with everything that `applied` says."""
    if isinstance(live, dict) and isinstance(applied, dict) and not (path and path[-1] in _ATOMIC):
        merged = {name: merge(live.get(name), child, (*path, f"f:{name}")) for name, child in applied.items()}
        return live | merged
    if isinstance(live, list) and isinstance(applied, list) and (keys := _keys(path, live + applied)):
        old = {_item(item, keys): item for item in live}
        new = {name: merge(old.get(name), item, (*path, name)) for item in applied for name in (_item(item, keys),)}
        return list(new.values()) + [item for name, item in old.items() if name not in new]
    return applied


def remove(value: Json, path: Path, *, prefix: Path = ()) -> Json:
    """`value` without what is at `path`; a map or list that becomes empty by that goes too (`MISSING`)."""
    element, rest = path[0], path[1:]
    here = (*prefix, element)
    if element.startswith("f:"):
        if not isinstance(value, dict) or element[2:] not in value:
            return value
        others = {name: child for name, child in value.items() if name != element[2:]}
        left = remove(value[element[2:]], rest, prefix=here) if rest else MISSING
        kept: Json = others if left is MISSING else {**value, element[2:]: left}
    else:
        found = _find(value, prefix, element)
        if found is MISSING:
            return value
        left = remove(found, rest, prefix=here) if rest else MISSING
        kept = [left if item is found else item for item in value if item is not found or left is not MISSING]
    return kept or MISSING


def encode(fields: Iterable[Path]) -> dict[str, Any]:
    """Paths in the form of `managedFields[].fieldsV1`."""
    ordered = sorted(fields)
    root: dict[str, Any] = {}
    for path in ordered:
        node = root
        for element in path:
            node = node.setdefault(element, {})
    for path in ordered:
        node = root
        for element in path:
            node = node[element]
        if node:  # owned itself, besides what is below it
            node["."] = {}
    return root


def dotted(path: Path) -> str:
    """A path as conflict messages show it: `.spec.replicas`."""
    return "".join(f".{element[2:]}" if element.startswith("f:") else f"[{element[2:]}]" for element in path)


def _keys(path: Path, items: list[Any]) -> tuple[str, ...]:
    if not path or not items or not all(isinstance(item, dict) for item in items):
        return ()
    if path[-1] == "f:ports":
        return _CONTAINER_PORT_KEYS if any("containerPort" in item for item in items) else _SERVICE_PORT_KEYS
    return _LIST_KEYS.get(path[-1][2:], ())


def _item(item: dict[str, Any], keys: tuple[str, ...]) -> str:
    identity = {key: item.get(key, _KEY_DEFAULTS.get(key)) for key in keys}
    return "k:" + json.dumps(identity, sort_keys=True, separators=(",", ":"))


def _find(items: Json, path: Path, element: str) -> Json:
    if not isinstance(items, list):
        return MISSING
    keys = _keys(path, items)
    return next((item for item in items if keys and _item(item, keys) == element), MISSING)

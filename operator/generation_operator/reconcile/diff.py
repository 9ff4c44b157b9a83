"""Is everything that we want already there?

The live object has more than we said: defaults of the API server, fields of other managers. Only what we said counts.
The answer must never be "no" for an object that the API server made from exactly our manifest, else every reconcile
would write; and never "yes" while one of our values differs.

What this cannot see is a field that we said once and say no longer; the hash annotation, a desired value like any
other, differs then.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from generation_operator.api.quantity import parse_quantity

# Fields that tell the items of a list apart, most specific first. Only a field that all items have, each with another
# value, is used; a list without one is compared by position and length, as the API server replaces it whole.
_ITEM_KEYS: Final = ("mountPath", "uid", "name", "containerPort", "port", "topologyKey")
# Quantities, and maps of them. The API server writes them in a form of its own: 1000m becomes 1.
_QUANTITIES: Final = frozenset({"requests", "limits", "minAllowed", "maxAllowed", "averageValue", "sizeLimit"})


def covers(live: object, desired: object) -> bool:
    """Whether every value in `desired` is in `live` with the same meaning."""
    if isinstance(desired, Mapping):
        return isinstance(live, Mapping) and all(_field_covered(live, name, desired[name]) for name in desired)
    if isinstance(desired, list):
        return isinstance(live, list) and _list_covered(live, desired)
    # By type as well: in Python 1 == True, in a manifest they are different values.
    return type(live) is type(desired) and bool(live == desired)


def _field_covered(live: Mapping[str, Any], name: str, desired: object) -> bool:
    if name not in live:
        # The API server leaves empty values out of what it stores.
        return desired is None or (isinstance(desired, str | list | Mapping) and not desired)
    if name in _QUANTITIES:
        return _same_quantities(live[name], desired)
    return covers(live[name], desired)


def _list_covered(live: list[Any], desired: list[Any]) -> bool:
    key = _item_key(desired)
    if key is None:
        return len(live) == len(desired) and all(map(covers, live, desired))
    found = {item[key]: item for item in live if isinstance(item, Mapping) and key in item}
    return all(item[key] in found and covers(found[item[key]], item) for item in desired)


def _item_key(items: Sequence[Any]) -> str | None:
    if not items or not all(isinstance(item, Mapping) for item in items):
        return None
    for key in _ITEM_KEYS:
        values = [item.get(key) for item in items]
        if all(isinstance(value, str | int) for value in values) and len(set(values)) == len(values):
            return key
    return None


def _same_quantities(live: object, desired: object) -> bool:
    if isinstance(live, Mapping) and isinstance(desired, Mapping):
        return all(_same_quantity(live.get(resource), value) for resource, value in desired.items())
    return _same_quantity(live, desired)


def _same_quantity(live: object, desired: object) -> bool:
    if isinstance(live, str) and isinstance(desired, str):
        try:
            return parse_quantity(live) == parse_quantity(desired)
        except ValueError:
            return live == desired
    return False

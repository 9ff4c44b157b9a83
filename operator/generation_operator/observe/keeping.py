"""What is kept of an object that was seen, and how: thousands of services have nearly the same objects.

Read as they come, the objects of one service take 140 kB, half of it `managedFields`, nearly all of it keys and values
that every other service has too. So what nobody reads is left out, and equal parts are one object. Kept objects are
never changed in place, so it does not matter who shares them.

What only a reconcile reads, which is seldom, is packed: some hundred bytes an object instead of two to five thousand,
for 10 to 100 us each time that it is read. What the autoscaler reads at each tick is kept beside that.
"""

import json
import zlib
from sys import intern
from typing import Any, Final

from generation_operator.api.kinds import DEPLOYMENT, GENERATION_SERVICE, HPA, Kind, Manifest

# Different parts that are known at a time, those of before and the newest: the few hundred that all services share, and
# room for those that are one service's own, which nobody can tell from the others at first. An entry takes 400 bytes.
_MOST: Final = 4_000
_LONGEST_TEXT: Final = 200
# Known texts of a kind: each is at most as long as the window of zlib, and all are kept for what was packed with them.
_MOST_KNOWN: Final = 8
_WINDOW: Final = 32_768
_UNLIKE: Final = 2  # so many times as large as the smallest: it has something that is new
# Who owns a field is asked of these alone, and of the spec alone.
_OWNED: Final = frozenset({DEPLOYMENT, HPA})
# Whose status reconcile reads. What an HPA saw is for the autoscaler, which looks at each tick.
_WITH_STATUS: Final = frozenset({GENERATION_SERVICE, DEPLOYMENT})

# Of metadata in a glance.
_IDENTITY: Final = frozenset(
    {
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "generation",
        "deletionTimestamp",
        "ownerReferences",
        "managedFields",
    }
)
_REPLICAS: Final[Manifest] = {"f:spec": {"f:replicas": {}}}


class Keeper:
    """Makes the kept form of objects.

    Args:
        most: how many different parts are known before those that were not met again are forgotten, which costs some
            sharing and nothing else.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._known: dict[object, Any] = {}
        self._known_before: dict[object, Any] = {}

    def kept(self, kind: Kind, manifest: Manifest, before: Manifest | None = None) -> Manifest:
        """The object without what nobody reads, with parts that others have too.

        Args:
            kind: of the object.
            manifest: as it was seen.
            before: how an earlier version is kept. Most parts are still the same, and comparing them takes a fiftieth
                of the time that looking for equal ones does.
        """
        manifest, before = _lean(kind, manifest), before or {}
        if len(self._known) > self._most:
            self._known, self._known_before = {}, self._known
        # The outermost level and the metadata are always one object's own.
        metadata = self._parts(manifest["metadata"], before.get("metadata", {}))
        return self._parts({**manifest, "metadata": metadata}, {**before, "metadata": metadata})

    def _parts(self, parts: Manifest, before: Manifest) -> Manifest:
        return {intern(name): self._part(name, part, before) for name, part in parts.items()}

    def _part(self, name: str, part: Any, before: Manifest) -> Any:  # noqa: ANN401 (anything that JSON can say)
        known = before.get(name)
        # 1 equals True here, but no field has a number in one version of an object and a truth value in the next.
        return known if known == part and type(known) is type(part) else self._shared(part)

    def _shared(self, value: Any) -> Any:  # noqa: ANN401 (anything that JSON can say)
        if isinstance(value, str):
            return intern(value) if len(value) <= _LONGEST_TEXT else value
        if isinstance(value, dict):
            parts = {intern(name): self._shared(part) for name, part in value.items()}
            # Parts are known by what they are, not by what is in them: they are the same object if they are equal. An
            # entry keeps its parts alive, so no other object can come to have their identity.
            return self._known_as(("map", *((name, _identity(part)) for name, part in parts.items())), parts)
        if isinstance(value, list):
            items = [self._shared(item) for item in value]
            return self._known_as(("list", *map(_identity, items)), items)
        return value

    def _known_as(self, key: object, part: Any) -> Any:  # noqa: ANN401 (a map or a list)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._known_before.get(key, part)
        return known


def glance(kind: Kind, manifest: Manifest) -> Manifest:
    """What the autoscaler reads: of a Deployment its counts and who wants so many, of an HPA all that it says."""
    metadata = {name: part for name, part in manifest["metadata"].items() if name in _IDENTITY}
    if kind is HPA:
        metadata.pop("ownerReferences", None)
        return {"metadata": metadata} | {name: manifest[name] for name in ("spec", "status") if name in manifest}
    spec, status = manifest.get("spec") or {}, manifest.get("status") or {}
    entries = metadata.get("managedFields") or ()
    return {
        "metadata": metadata
        | {"managedFields": [entry | {"fieldsV1": _REPLICAS} for entry in entries if _owns_replicas(entry)]},
        "spec": {name: part for name, part in spec.items() if name == "replicas"},
        "status": {name: part for name, part in status.items() if not isinstance(part, list)},
    }


class Packer:
    """Compresses objects as JSON, each as what it does not have in common with earlier ones of its kind.

    Of what a service has, nearly everything is the same as in the others: an object takes 0.1 to 0.2 kB so, and would
    take 0.5 to 2 by itself. What is taken as known begins with the first object and grows while others turn out to be
    different: a proxy's Deployment from a service's, one with a status from one without.
    """

    def __init__(self) -> None:
        self._known: dict[Kind, list[bytes]] = {}
        self._least: dict[Kind, int] = {}  # bytes

    def packed(self, kind: Kind, manifest: Manifest) -> bytes:
        """The object without what nobody reads."""
        text = json.dumps(_lean(kind, manifest), separators=(",", ":")).encode()
        known = self._known.setdefault(kind, [b""])
        deflate = zlib.compressobj(level=6, zdict=known[-1])
        data = bytes((len(known) - 1,)) + deflate.compress(text) + deflate.flush()
        least = self._least[kind] = min(len(data), self._least.get(kind, len(data)))
        if len(known) < _MOST_KNOWN and (len(known) == 1 or len(data) > _UNLIKE * least):
            known.append((known[-1] + text)[-_WINDOW:])
        return data

    def unpacked(self, kind: Kind, data: bytes) -> Manifest:
        """What was packed."""
        inflate = zlib.decompressobj(zdict=self._known[kind][data[0]])
        manifest: Manifest = json.loads(inflate.decompress(data[1:]))
        return manifest


def content(kind: Kind, kept: Manifest) -> Manifest:
    """What reconcile reads of a kept object: two versions with the same content need the same writes."""
    metadata = {name: part for name, part in kept["metadata"].items() if name != "resourceVersion"}
    return {
        name: metadata if name == "metadata" else part
        for name, part in kept.items()
        if name != "status" or kind in _WITH_STATUS
    }


def _lean(kind: Kind, manifest: Manifest) -> Manifest:
    metadata = manifest["metadata"]
    if "managedFields" not in metadata:
        return manifest
    owners = [_of_the_spec(entry) for entry in metadata["managedFields"] or () if _owns_spec(kind, entry)]
    return manifest | {"metadata": metadata | {"managedFields": owners}}


def _identity(part: object) -> tuple[object, object]:
    """By type as well: 1 and True are not the same in a manifest."""
    return type(part), id(part) if isinstance(part, dict | list) else part


def _owns_replicas(entry: Manifest) -> bool:
    return "f:replicas" in ((entry.get("fieldsV1") or {}).get("f:spec") or {})


def _owns_spec(kind: Kind, entry: Manifest) -> bool:
    return kind in _OWNED and "f:spec" in (entry.get("fieldsV1") or {})


def _of_the_spec(entry: Manifest) -> Manifest:
    return entry | {"fieldsV1": {"f:spec": entry["fieldsV1"]["f:spec"]}}

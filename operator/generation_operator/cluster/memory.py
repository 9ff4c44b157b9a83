"""A cluster in memory: what the unit tests run against, and proof that the port says all that callers rely on.

It keeps what the API server keeps for every object (uid, resourceVersion, generation, field owners) and refuses what
the API server refuses as far as `tests/contract` tells. It runs no controllers, so a test plays them with the helpers
at the end of the class. It must never be kinder than a real API server.
"""

import copy
import itertools
import json
import re
import uuid
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from generation_operator.api.kinds import (
    CONFIG_MAP,
    DEPLOYMENT,
    GENERATION_SERVICE,
    HPA,
    KNOWN,
    VPA,
    Kind,
    Manifest,
    kind_of,
)
from generation_operator.api.resource import InvalidSpecError, Key, key_of, parse
from generation_operator.cluster import fields
from generation_operator.cluster.ports import ClusterError, ConflictError, NotFoundError, Scale, as_it_is

_COUNT_GENERATIONS: Final = frozenset({DEPLOYMENT, GENERATION_SERVICE, VPA})
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_EPOCH: Final = "2026-01-01T00:00:00Z"  # all that happens here happens at once
_REPLICAS: Final = ("f:spec", "f:replicas")
_CONFIGURED_METADATA: Final = ("annotations", "finalizers", "labels", "ownerReferences")


@dataclass(frozen=True, slots=True)
class Write:
    """One call that may change the cluster."""

    verb: str  # apply, apply_status, scale, delete
    kind: Kind
    key: Key
    manager: str = ""


@dataclass(frozen=True, slots=True)
class _Owner:
    manager: str
    operation: str  # Apply or Update
    subresource: str = ""

    def __str__(self) -> str:
        return f'"{self.manager}"' + (f' with subresource "{self.subresource}"' if self.subresource else "")


@dataclass(slots=True)
class _Object:
    manifest: Manifest = field(default_factory=dict)  # without managedFields
    owners: dict[_Owner, fields.Fields] = field(default_factory=dict)
    answer: str = ""  # to whoever asks, as JSON; none until somebody does


class MemoryCluster:
    """An in-memory `ClusterApi`.

    Args:
        absent: kinds that this API server does not know.
    """

    def __init__(self, *, absent: Collection[Kind] = ()) -> None:
        self.absent = set(absent)
        self.groups: set[str] = set()  # of other API servers behind this one
        self.writes: list[Write] = []
        self.events: list[Manifest] = []
        self._objects: dict[tuple[Kind, Key], _Object] = {}
        self._faults: dict[str, list[ClusterError]] = {}
        self._versions = itertools.count(1)
        self._uids = itertools.count(1)

    async def get(self, kind: Kind, namespace: str, name: str) -> Manifest:
        """Read one object."""
        self._enter("get", kind)
        return _rendered(self._found(kind, Key(namespace, name)))

    async def list(
        self,
        kind: Kind,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        transform: Callable[[Manifest], Manifest] = as_it_is,
    ) -> list[Manifest]:
        """Read all objects of a kind; the selector may be a list of `label=value`."""
        self._enter("list", kind)
        wanted = dict(term.split("=", 1) for term in label_selector.split(",") if term)
        return [
            transform(_rendered(stored))
            for (stored_kind, key), stored in sorted(self._objects.items(), key=lambda entry: entry[0][1])
            if stored_kind == kind
            and namespace in (None, key.namespace)
            and wanted.items() <= stored.manifest["metadata"].get("labels", {}).items()
        ]

    async def serves(self, group: str) -> bool:
        """Whether there is an API group of that name."""
        if self._faults.get("serves"):
            raise self._faults["serves"].pop(0)
        own = {kind.api_version.rpartition("/")[0] for kind in set(KNOWN.values()) - self.absent}
        return group in own | self.groups

    async def apply(self, manifest: Manifest, *, manager: str, force: bool = True) -> Manifest:
        """Server-side apply."""
        kind, key = kind_of(manifest), key_of(manifest)
        self.writes.append(Write("apply", kind, key, manager))
        self._enter("apply", kind)
        metadata = {name: part for name, part in manifest["metadata"].items() if name in _CONFIGURED_METADATA}
        without = {"apiVersion", "kind", "metadata"} | (set() if kind == CONFIG_MAP else {"status"})
        config = {name: part for name, part in manifest.items() if name not in without}
        if metadata:
            config["metadata"] = metadata
        live = self._objects.get((kind, key))
        uid = manifest["metadata"].get("uid")
        if live is None:
            _refuse_bad_name(kind, key)
            if uid is not None:
                raise ConflictError(409, f"uid mismatch: {uid} was given, and no {kind.kind} named {key.name} exists")
        elif uid not in (None, live.manifest["metadata"]["uid"]):
            raise ClusterError(422, f'metadata.uid: Invalid value: "{uid}": field is immutable')
        version = manifest["metadata"].get("resourceVersion")
        if version is not None and (live is None or live.manifest["metadata"]["resourceVersion"] != version):
            raise ConflictError(409, f"{kind.kind} {key.name}: the object has been modified since this version")
        return self._apply(kind, key, config, _Owner(manager, "Apply"), force=force)

    async def apply_status(self, manifest: Manifest, *, manager: str) -> Manifest:
        """Server-side apply of `status`."""
        kind, key = kind_of(manifest), key_of(manifest)
        self.writes.append(Write("apply_status", kind, key, manager))
        self._enter("apply_status", kind)
        self._found(kind, key)
        return self._apply(kind, key, {"status": manifest["status"]}, _Owner(manager, "Apply", "status"), force=True)

    async def get_scale(self, kind: Kind, namespace: str, name: str) -> Scale:
        """Read the scale subresource."""
        self._enter("get_scale", kind)
        return _scale(self._scalable(kind, Key(namespace, name)))

    async def scale(self, kind: Kind, namespace: str, name: str, to: int, *, expect: Scale, manager: str) -> Scale:
        """Write `spec.replicas`; the ownership of a field that has an owner moves when the value changes."""
        key = Key(namespace, name)
        self.writes.append(Write("scale", kind, key, manager))
        self._enter("scale", kind)
        stored = self._scalable(kind, key)
        if expect.resource_version != stored.manifest["metadata"]["resourceVersion"]:
            raise ConflictError(
                409,
                f'Operation cannot be fulfilled on {kind.plural} "{name}": the object has been modified; '
                "please apply your changes to the latest version and try again",
            )
        new = copy.deepcopy(stored.manifest)
        new["spec"]["replicas"] = to
        owned = any(_REPLICAS in paths for paths in stored.owners.values())
        # As the API server does: a count that nobody owns stays without an owner.
        self._update(kind, key, new, _Owner(manager, "Update", "scale") if owned else None)
        return _scale(stored)

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str) -> None:
        """Delete exactly the object with this uid."""
        key = Key(namespace, name)
        self.writes.append(Write("delete", kind, key))
        self._enter("delete", kind)
        stored = self._objects.get((kind, key))
        if stored is not None and stored.manifest["metadata"]["uid"] == uid:
            del self._objects[kind, key]

    async def emit_event(self, event: Manifest) -> None:
        """Remember an event in `events`."""
        self.events.append(copy.deepcopy(event))

    # What a test does in place of controllers, other people and bad luck.

    def put(self, manifest: Manifest, *, manager: str = "kubectl") -> Manifest:
        """Create or replace an object as another client would, without any validation; returns it as stored."""
        kind, key = kind_of(manifest), key_of(manifest)
        stored = self._objects.get((kind, key)) or self._new(kind, key)
        new = copy.deepcopy(manifest)
        new["metadata"] = {**stored.manifest["metadata"], **new["metadata"]}
        new["metadata"].pop("managedFields", None)
        self._objects[kind, key] = stored
        self._update(kind, key, new, _Owner(manager, "Update"))
        return _rendered(stored)

    def remove(self, kind: Kind, namespace: str, name: str) -> None:
        """Delete an object as another client would."""
        del self._objects[kind, Key(namespace, name)]

    def set_status(self, kind: Kind, namespace: str, name: str, status: dict[str, Any], *, manager: str) -> Manifest:
        """Replace the status as the controller named `manager` would."""
        stored = self._found(kind, Key(namespace, name))
        new = stored.manifest | {"status": copy.deepcopy(status)}
        self._update(kind, Key(namespace, name), new, _Owner(manager, "Update", "status"))
        return _rendered(stored)

    def set_ready(self, namespace: str, name: str, ready: int | None = None, *, updated: int | None = None) -> Manifest:
        """Report on a Deployment as its controller would: `ready` pods (default: all), `updated` of them new."""
        stored = self._found(DEPLOYMENT, Key(namespace, name))
        replicas = stored.manifest["spec"]["replicas"]
        ready = replicas if ready is None else ready
        available = str(ready >= replicas)
        status = {
            "observedGeneration": stored.manifest["metadata"]["generation"],
            "replicas": replicas,
            "updatedReplicas": replicas if updated is None else updated,
            "readyReplicas": ready,
            "availableReplicas": ready,
            "unavailableReplicas": max(0, replicas - ready),
            "conditions": [
                {"type": "Available", "status": available, "lastUpdateTime": _EPOCH, "lastTransitionTime": _EPOCH}
            ],
        }
        return self.set_status(DEPLOYMENT, namespace, name, status, manager="kube-controller-manager")

    def fail(self, verb: str, *errors: ClusterError) -> None:
        """Let the next calls of a verb fail, one error per call."""
        self._faults.setdefault(verb, []).extend(errors)

    # How it works.

    def _enter(self, verb: str, kind: Kind) -> None:
        if self._faults.get(verb):
            raise self._faults[verb].pop(0)
        if kind in self.absent or kind not in KNOWN.values():
            raise NotFoundError(404, "the server could not find the requested resource")

    def _found(self, kind: Kind, key: Key) -> _Object:
        stored = self._objects.get((kind, key))
        if stored is None:
            raise NotFoundError(404, f'{kind.plural} "{key.name}" not found')
        return stored

    def _scalable(self, kind: Kind, key: Key) -> _Object:
        if kind != DEPLOYMENT:
            raise NotFoundError(404, "the server could not find the requested resource")
        return self._found(kind, key)

    def _new(self, kind: Kind, key: Key) -> _Object:
        metadata = {
            "name": key.name,
            "namespace": key.namespace,
            "uid": str(uuid.UUID(int=next(self._uids))),
            "creationTimestamp": _EPOCH,
        }
        return _Object({"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata})

    def _apply(self, kind: Kind, key: Key, config: Manifest, owner: _Owner, *, force: bool) -> Manifest:
        stored = self._objects.get((kind, key)) or self._new(kind, key)
        applied = frozenset(fields.fields_of(config)) - {()}  # nothing but its name: it owns nothing
        conflicts = list(_conflicts(stored, config, applied, owner))
        if conflicts and not force:
            names = "; ".join(
                f"conflict with {other} using {kind.api_version}: {', '.join(map(fields.dotted, paths))}"
                for other, paths in conflicts
            )
            raise ConflictError(
                409, f"Apply failed with {sum(len(paths) for _, paths in conflicts)} conflict(s): {names}"
            )
        owners = dict(stored.owners)
        for other, paths in conflicts:
            owners[other] -= frozenset(paths)
        given_up = owners.get(owner, frozenset()) - applied
        owners[owner] = applied
        owners = {name: owned for name, owned in owners.items() if owned}
        kept = frozenset().union(*owners.values())
        new: Any = stored.manifest
        # A list item goes first, as a whole, if nobody else owns anything in it: without its key nobody would find it.
        for path in sorted(given_up, key=len):
            if not any(other[: len(path)] == path for other in kept):
                new = fields.remove(new, path)
        new = _defaulted(kind, copy.deepcopy(fields.merge(new, config)))
        _refuse_invalid(kind, key, new, stored.manifest)
        self._commit(kind, key, stored, new, owners)
        return _rendered(stored)

    def _update(self, kind: Kind, key: Key, new: Manifest, owner: _Owner | None) -> None:
        stored = self._objects[kind, key]
        new = _defaulted(kind, new)
        changed = fields.changed_fields(_configuration(stored.manifest), _configuration(new))
        kept = {f"f:{name}" for name, part in new.items() if stored.manifest.get(name) == part}
        owners = {
            name: frozenset(
                path for path in owned - changed if path[0] in kept or fields.get(new, path) is not fields.MISSING
            )
            for name, owned in stored.owners.items()
        }
        if owner is not None:
            owners[owner] = owners.get(owner, frozenset()) | changed
        self._commit(kind, key, stored, new, {name: owned for name, owned in owners.items() if owned})

    def _commit(
        self, kind: Kind, key: Key, stored: _Object, new: Manifest, owners: dict[_Owner, fields.Fields]
    ) -> None:
        old = stored.manifest
        if "resourceVersion" in old["metadata"] and new == old and owners == stored.owners:
            return
        new = new | {"metadata": new["metadata"] | {"resourceVersion": str(next(self._versions))}}
        if kind in _COUNT_GENERATIONS:
            same = _generated(old) == _generated(new)
            new["metadata"]["generation"] = old["metadata"].get("generation", 0) + (0 if same else 1)
        stored.manifest, stored.owners, stored.answer = new, owners, ""
        self._objects[kind, key] = stored


def _conflicts(
    stored: _Object, config: Manifest, applied: fields.Fields, owner: _Owner
) -> Iterator[tuple[_Owner, list[fields.Path]]]:
    """Fields that others own with another value than the one applied."""
    for other, owned in stored.owners.items():
        both = [] if other == owner else sorted(owned & applied)
        differing = [
            path
            for path in both
            if path[-1].startswith("f:") and fields.get(stored.manifest, path) != fields.get(config, path)
        ]
        if differing:
            yield other, differing


def _rendered(stored: _Object) -> Manifest:
    """A copy for whoever asks. Unit tests ask far more often than they change something."""
    if not stored.answer:
        managed = [
            {
                "manager": owner.manager,
                "operation": owner.operation,
                "apiVersion": stored.manifest["apiVersion"],
                "time": _EPOCH,
                "fieldsType": "FieldsV1",
                "fieldsV1": fields.encode(owned),
            }
            | ({"subresource": owner.subresource} if owner.subresource else {})
            for owner, owned in stored.owners.items()
        ]
        metadata = stored.manifest["metadata"] | {"managedFields": managed}
        stored.answer = json.dumps(stored.manifest | {"metadata": metadata})
    answer: Manifest = json.loads(stored.answer)
    return answer


def _scale(stored: _Object) -> Scale:
    return Scale(stored.manifest["spec"]["replicas"], stored.manifest["metadata"]["resourceVersion"])


def _configuration(manifest: Manifest) -> Manifest:
    """What field owners own: everything but the object's identity."""
    metadata = {name: part for name, part in manifest["metadata"].items() if name in _CONFIGURED_METADATA}
    rest = {name: part for name, part in manifest.items() if name not in ("apiVersion", "kind", "metadata")}
    return rest | ({"metadata": metadata} if metadata else {})


def _generated(manifest: Manifest) -> Manifest:
    """What a generation counts changes of."""
    return {name: part for name, part in manifest.items() if name not in ("metadata", "status")}


def _defaulted(kind: Kind, manifest: Manifest) -> Manifest:
    """With the defaults that callers must reckon with; defaults have no owner."""
    count = {DEPLOYMENT: "replicas", HPA: "minReplicas"}.get(kind)
    if count is not None and count not in manifest.get("spec", {}):
        manifest["spec"] = manifest.get("spec", {}) | {count: 1}
    return manifest


def _refuse_bad_name(kind: Kind, key: Key) -> None:
    if not _NAME.fullmatch(key.name):
        raise ClusterError(
            422,
            f'{kind.kind} "{key.name}" is invalid: metadata.name: Invalid value: "{key.name}": '
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.'",
        )


def _hpa_problem(spec: Manifest) -> str:
    if "scaleTargetRef" not in spec:
        return "spec.scaleTargetRef.kind: Required value"
    if "maxReplicas" not in spec:
        return "spec.maxReplicas: Required value"
    if spec["minReplicas"] > spec["maxReplicas"]:
        return "spec.maxReplicas: Invalid value: must be greater than or equal to `minReplicas`"
    return ""


def _refuse_invalid(kind: Kind, key: Key, new: Manifest, old: Manifest) -> None:
    """Refuse what the API server refuses and our code could get wrong."""
    problem = ""
    if kind == DEPLOYMENT:
        selector = new["spec"].get("selector", {}).get("matchLabels") or {}
        labels = new["spec"].get("template", {}).get("metadata", {}).get("labels", {})
        if not selector:
            problem = "spec.selector: Required value"
        elif not selector.items() <= labels.items():
            problem = "spec.template.metadata.labels: Invalid value: `selector` does not match template `labels`"
        elif "spec" in old and old["spec"]["selector"] != new["spec"]["selector"]:
            problem = "spec.selector: Invalid value: field is immutable"
    elif kind == HPA:
        problem = _hpa_problem(new["spec"])
    elif kind == GENERATION_SERVICE and new.get("spec") != old.get("spec"):  # what does not change is not judged again
        try:
            parse(new)
        except InvalidSpecError as error:
            problem = str(error)
    if problem:
        raise ClusterError(422, f'{kind.kind} "{key.name}" is invalid: {problem}')

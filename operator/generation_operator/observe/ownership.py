"""Who else has a say in the replica count of a Deployment of ours.

Two kinds of others: objects that claim it (another HorizontalPodAutoscaler, a ScaledObject and the like), and clients
that write the count, whom `managedFields` names. A claim, or a client that keeps writing, is a conflict: two writers
without an agreement undo each other's work. One write of a person is none: it is a wish, kept for a time.

Pure: objects as last seen in, a verdict out. Nothing here decides what is done about it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from generation_operator.api import names as api_names
from generation_operator.api.kinds import DEPLOYMENT, Kind, Manifest
from generation_operator.api.resource import Key, key_of
from generation_operator.decide.types import Override, Replicas, Seconds
from generation_operator.desired import names

# Beyond the time that a write is kept: who writes again as soon as that is over has to be recognised.
MARGIN_SECONDS: Final = 900.0
# Two writes are the least that show a habit. `kubectl` is a person's hand and may come as often as it likes.
_HABIT: Final = 2
_MOST: Final = 8  # writes remembered
_PERSON: Final = "kubectl"
_OURS: Final = frozenset({api_names.MANAGER_BOOTSTRAP, api_names.MANAGER_SCALER, api_names.MANAGER_OPERATOR})
# The HPA controller. Whose HPA it obeyed is not told here: foreign ones are found by their claim.
_CONTROLLER: Final = "kube-controller-manager"


@dataclass(frozen=True, slots=True)
class Claim:
    """A foreign object that says it scales, or resizes, a Deployment."""

    kind: Kind
    key: Key
    target: str  # name of the Deployment, in the same namespace

    def __str__(self) -> str:
        return f"{self.kind.kind} {self.key.name}"


@dataclass(frozen=True, slots=True)
class Write:
    """A replica count that somebody else wrote."""

    manager: str
    replicas: int
    at: Seconds  # Unix seconds, by the API server's clock


@dataclass(frozen=True, slots=True)
class Trace:
    """What is remembered of others who wrote the count of one Deployment."""

    writes: tuple[Write, ...] = ()  # oldest first, bounded
    last: Write | None = None  # what the live object tells; None while the count is ours or the HPA's


@dataclass(frozen=True, slots=True)
class Manual:
    """A count that somebody wrote by hand, kept until a time."""

    replicas: int
    until: Seconds  # Unix seconds
    manager: str

    def override(self) -> Override:
        """The same for the decision."""
        return Override(Replicas(self.replicas), self.until, f"scaled by {self.manager}")


@dataclass(frozen=True, slots=True)
class Standing:
    """Who else has a say now."""

    rivals: tuple[str, ...] = ()  # for people; while there are any, the operator writes no count
    manual: Manual | None = None


def is_ours(manifest: Mapping[str, Any]) -> bool:
    """Whether a `GenerationService` controls the scaler, or this operator made it and it lost its owner.

    The label alone is no proof: who copies a manifest copies it too. Ours is named like the Deployment that it scales.
    """
    references = manifest["metadata"].get("ownerReferences") or ()
    controllers = [reference for reference in references if reference.get("controller")]
    if not controllers:
        return names.is_managed(manifest) and manifest["metadata"]["name"] == _target(manifest).get("name")
    return any(
        reference["kind"] == api_names.KIND and reference["apiVersion"].partition("/")[0] == api_names.GROUP
        for reference in controllers
    )


def claim_of(kind: Kind, manifest: Manifest) -> Claim | None:
    """What a foreign object claims; None when it claims no Deployment, or changes nothing.

    A VerticalPodAutoscaler in mode Off recommends only, and some clusters have one for every workload.
    """
    spec, target = manifest.get("spec") or {}, _target(manifest)
    # KEDA's default kind is the Deployment.
    if target.get("kind", DEPLOYMENT.kind) != DEPLOYMENT.kind or not target.get("name"):
        return None
    if target.get("apiVersion", DEPLOYMENT.api_version).partition("/")[0] != "apps":
        return None
    if (spec.get("updatePolicy") or {}).get("updateMode") == "Off":
        return None
    return Claim(kind, key_of(manifest), str(target["name"]))


def _target(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    spec = manifest.get("spec") or {}
    target: Mapping[str, Any] = spec.get("scaleTargetRef") or spec.get("targetRef") or {}
    return target


def owners(manifest: Mapping[str, Any], *path: str) -> set[tuple[str, str]]:
    """(manager, subresource) of everybody who owns a field, for example `"spec", "replicas"`."""
    return {(entry["manager"], entry.get("subresource", "")) for entry in _entries(manifest, path)}


def replicas_written_by(manager: str, entries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """`managedFields` of a Deployment after `manager` has written the count through the scale subresource."""
    kept = [dict(entry) | {"fieldsV1": _without_replicas(entry.get("fieldsV1") or {})} for entry in entries]
    ours = {
        "manager": manager,
        "operation": "Update",
        "subresource": "scale",
        "apiVersion": DEPLOYMENT.api_version,
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": {"f:replicas": {}}},
    }
    return [*(entry for entry in kept if entry["fieldsV1"]), ours]


def noticed(trace: Trace, deployment: Mapping[str, Any], *, keep_seconds: float, now: Seconds) -> Trace:
    """The trace after one more look at the Deployment.

    Args:
        trace: what was remembered.
        deployment: as last seen.
        keep_seconds: how long a write by hand is kept.
        now: Unix seconds.
    """
    window = keep_seconds + MARGIN_SECONDS
    writes = tuple(write for write in trace.writes if now - write.at < window)
    write = _foreign_write(deployment, now)
    if write is None:
        return Trace(writes)
    last = trace.last
    # Who owns more than the count gets a new time with each change of the rest of it.
    if last is not None and (last.manager, last.replicas) == (write.manager, write.replicas):
        return Trace(writes, last)
    if now - write.at < window:
        writes = (*writes, write)[-_MOST:]
    return Trace(writes, write)


def standing(trace: Trace, claims: tuple[Claim, ...], *, keep_seconds: float, now: Seconds) -> Standing:
    """Who has a say now, from what was noticed and who claims the Deployment."""
    rivals = [str(claim) for claim in sorted(claims, key=lambda claim: (claim.kind.kind, claim.key))]
    managers = [write.manager for write in trace.writes]
    rivals += [
        f"field manager {manager}, which keeps writing spec.replicas"
        for manager in dict.fromkeys(managers)
        if managers.count(manager) >= _HABIT and not manager.startswith(_PERSON)
    ]
    manual = None
    if trace.writes:
        newest = trace.writes[-1]
        until = Seconds(newest.at + keep_seconds)
        manual = Manual(newest.replicas, until, newest.manager) if now < until else None
    return Standing(tuple(rivals), manual)


def remembered(manual: Manual | None, *, keep_seconds: float) -> Trace:
    """The trace that a restart begins with: what the status tells of a write by hand."""
    if manual is None:
        return Trace()
    write = Write(manual.manager, manual.replicas, Seconds(manual.until - keep_seconds))
    return Trace((write,), write)


def _foreign_write(deployment: Mapping[str, Any], now: Seconds) -> Write | None:
    """The write that the count comes from; None when we or the HPA controller wrote, or agree with, it."""
    entries = list(_entries(deployment, ("spec", "replicas")))
    if not entries or any(entry["manager"] in _OURS or entry["manager"] == _CONTROLLER for entry in entries):
        return None
    newest = max(entries, key=lambda entry: str(entry.get("time", "")))
    # Never in the future: clocks differ, and a wish must end.
    at = min(now, _seconds(newest.get("time"), now))
    return Write(str(newest["manager"]), int(deployment["spec"].get("replicas", 1)), Seconds(at))


def _entries(manifest: Mapping[str, Any], path: tuple[str, ...]) -> list[Mapping[str, Any]]:
    """The entries of `managedFields` that own the field."""
    return [
        entry
        for entry in manifest["metadata"].get("managedFields") or ()
        if entry.get("manager") and _owns(entry.get("fieldsV1") or {}, path)
    ]


def _owns(fields: Mapping[str, Any], path: tuple[str, ...]) -> bool:
    for part in path:
        if f"f:{part}" not in fields:
            return False
        fields = fields[f"f:{part}"]
    return True


def _without_replicas(fields: Mapping[str, Any]) -> dict[str, Any]:
    spec = {name: owned for name, owned in (fields.get("f:spec") or {}).items() if name != "f:replicas"}
    others = {name: owned for name, owned in fields.items() if name != "f:spec"}
    return others | ({"f:spec": spec} if spec else {})


def _seconds(text: object, otherwise: float) -> float:
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return otherwise

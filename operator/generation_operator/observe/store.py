"""The cluster as last seen, in one process-local place.

Fed by watch events (`handlers.py`) and pruned by the resync loop; read by reconcile and by the autoscaler, which never
ask the API server for what is here. It holds plain manifests and what the autoscaler last decided; it does no I/O.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from generation_operator.api.kinds import DEPLOYMENT, GENERATION_SERVICE, HPA, Kind, Manifest
from generation_operator.api.resource import Key, key_of
from generation_operator.decide.floors import Floor
from generation_operator.decide.types import Decision, Observation, SignalName, SignalState, State
from generation_operator.desired import names
from generation_operator.observe.keeping import Keeper, Packer, glance
from generation_operator.observe.ownership import Claim, Standing
from generation_operator.observe.pod_index import PodIndex
from generation_operator.observe.targets import Verdict


@dataclass(frozen=True, slots=True)
class Autoscaling:
    """What the autoscaler last saw and decided for one service."""

    observation: Observation
    decision: Decision
    state: State
    write_error: str | None = None  # why the replica count could not be written, None when it could
    standing: Standing = field(default_factory=Standing)  # who else has a say
    verdicts: tuple[Verdict, ...] = ()  # on the declared targets
    floor: Floor | None = None  # the least that is kept now
    may_resize: bool = False  # whether memory requests of running pods may be moved now


class Store:
    """Objects by kind and key, and pods by service. Not thread-safe: used from one event loop."""

    def __init__(self) -> None:
        self.pods: Final = PodIndex()
        self._keeper = Keeper()
        self._packer = Packer()
        self._objects: dict[Kind, dict[Key, bytes]] = {}
        self._glances: dict[Kind, dict[Key, Manifest]] = {DEPLOYMENT: {}, HPA: {}}
        # By the uid of who controls them: to look for one service's children through all objects would make the time
        # for all services grow with their square (5,000 services: 50,000 objects, each time).
        self._controlled: dict[str, tuple[tuple[Kind, Key], ...]] = {}
        self._autoscaling: dict[Key, Autoscaling] = {}
        # Of foreign objects only what they claim is kept: a cluster may have thousands of HPAs that are not ours.
        self._claims: dict[tuple[Kind, Key], Claim] = {}
        self._claimed: dict[Key, dict[tuple[Kind, Key], Claim]] = {}  # by the Deployment that is claimed

    def put(self, kind: Kind, manifest: Manifest) -> None:
        """Remember an object, unless something newer of the same object is known already.

        An answer to a write and the watch event about an earlier write may arrive in any order.
        """
        key = key_of(manifest)
        known = self.get(kind, key)
        if known is not None and _is_older(manifest, known):
            return
        self._objects.setdefault(kind, {})[key] = self._packer.packed(kind, manifest)
        if kind in self._glances:
            before = self._glances[kind].get(key)
            self._glances[kind][key] = self._keeper.kept(kind, glance(kind, manifest), before)
        self._note_controller((kind, key), known, manifest)

    def has(self, kind: Kind, key: Key) -> bool:
        """Whether some version of the object is here."""
        return key in self._objects.get(kind, ())

    def knows(self, kind: Kind, manifest: Manifest) -> bool:
        """Whether this very version of the object is here already."""
        seen = self.get(kind, key_of(manifest))
        identity = ("uid", "resourceVersion")
        return seen is not None and all(
            seen["metadata"].get(part) == manifest["metadata"].get(part) for part in identity
        )

    def remove(self, kind: Kind, key: Key) -> None:
        """Forget an object; with a `GenerationService` also what was decided for it."""
        self._note_controller((kind, key), self.get(kind, key), None)
        self._objects.get(kind, {}).pop(key, None)
        self._glances.get(kind, {}).pop(key, None)
        if kind is GENERATION_SERVICE:
            self._autoscaling.pop(key, None)

    def get(self, kind: Kind, key: Key) -> Manifest | None:
        """The object as last seen."""
        found = self._objects.get(kind, {}).get(key)
        return None if found is None else self._packer.unpacked(kind, found)

    def version(self, kind: Kind, key: Key) -> object:
        """Something that is the same object for as long as what `get` returns is the same; None when that is None."""
        return self._objects.get(kind, {}).get(key)

    def glance(self, kind: Kind, key: Key) -> Manifest | None:
        """What the autoscaler reads of a Deployment or an HPA (`keeping.glance`); the same object until it changes."""
        return self._glances[kind].get(key)

    def keys(self, kind: Kind) -> frozenset[Key]:
        """Keys of all objects of a kind."""
        return frozenset(self._objects.get(kind, ()))

    def controlled(self, uid: str) -> list[tuple[Kind, Manifest]]:
        """What is controlled by the object with this uid, in no particular order."""
        found = ((kind, self.get(kind, key)) for kind, key in self._controlled.get(uid, ()))
        return [(kind, manifest) for kind, manifest in found if manifest is not None]

    def put_claim(self, kind: Kind, key: Key, claim: Claim | None) -> None:
        """Remember what a foreign object claims; None: nothing, or it is gone."""
        before = self._claims.pop((kind, key), None)
        if before is not None:
            target = Key(before.key.namespace, before.target)
            del self._claimed[target][kind, key]
            if not self._claimed[target]:
                del self._claimed[target]
        if claim is not None:
            self._claims[kind, key] = claim
            self._claimed.setdefault(Key(key.namespace, claim.target), {})[kind, key] = claim

    def claims_on(self, deployment: Key) -> tuple[Claim, ...]:
        """What foreign objects claim this Deployment."""
        return tuple(self._claimed.get(deployment, {}).values())

    def claimants(self, kind: Kind) -> frozenset[Key]:
        """Keys of the foreign objects of a kind that claim a Deployment."""
        return frozenset(key for of_kind, key in self._claims if of_kind == kind)

    def autoscaling(self, key: Key) -> Autoscaling | None:
        """What the autoscaler last decided, None before its first tick."""
        return self._autoscaling.get(key)

    def signal_states(self) -> Counter[tuple[SignalName, SignalState]]:
        """How many services have each signal in each state."""
        decisions = (autoscaling.decision for autoscaling in self._autoscaling.values())
        return Counter((signal.name, signal.state) for decision in decisions for signal in decision.signals)

    def put_autoscaling(self, key: Key, value: Autoscaling) -> None:
        """Remember what the autoscaler decided; ignored for a service that is gone."""
        if self.has(GENERATION_SERVICE, key):
            self._autoscaling[key] = value

    def _note_controller(self, child: tuple[Kind, Key], before: Manifest | None, after: Manifest | None) -> None:
        was, now = (None if manifest is None else names.controller_uid(manifest) for manifest in (before, after))
        if was == now:
            return
        if was is not None:
            left = tuple(other for other in self._controlled.pop(was) if other != child)
            if left:
                self._controlled[was] = left
        if now is not None:
            self._controlled[now] = (*self._controlled.get(now, ()), child)


def _is_older(manifest: Manifest, known: Manifest) -> bool:
    """Whether both are the same object and the first is an earlier version of it.

    Resource versions are compared as numbers: Kubernetes promises that since 1.35, and it was true before. One that is
    no number counts as new.
    """
    new, old = manifest["metadata"], known["metadata"]
    if new.get("uid") != old.get("uid"):
        return False
    versions = str(new.get("resourceVersion")), str(old.get("resourceVersion"))
    return all(version.isdecimal() for version in versions) and int(versions[0]) < int(versions[1])

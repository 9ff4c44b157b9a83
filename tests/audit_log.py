"""What was written to an API server, read from its audit log: nothing between two looks can be missed."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from api_fixtures import Api, Object

_WRITES: Final = frozenset({"create", "update", "patch"})


@dataclass(frozen=True, slots=True)
class Move:
    """One write of the replica count."""

    at: float
    by_hpa: bool
    before: int
    after: int

    @property
    def lowers(self) -> bool:
        """Whether it is a scale-down."""
        return self.after < self.before


@dataclass(frozen=True, slots=True)
class Told:
    """A condition of a resource, as it was written."""

    at: float
    status: str
    reason: str
    message: str

    @property
    def explanation(self) -> str:
        """The word that the cause is called by, behind the lists of signals; empty without one."""
        found = re.search("(?:^|; )([A-Z][A-Za-z]+): ", self.message)
        return found[1] if found else ""


def written(api: Api) -> list[Object]:
    """Every request in the namespace that changed something, in order."""
    # Most lines are of other namespaces, and to understand one takes ten times as long as to search it.
    mark = f'"namespace":"{api.namespace}"'
    with (api.cluster.plan.logs / "audit.log").open() as lines:
        entries = [json.loads(line) for line in lines if mark in line]
    return [
        entry
        for entry in entries
        if entry["verb"] in _WRITES
        and entry.get("objectRef", {}).get("namespace") == api.namespace
        and entry["responseStatus"]["code"] in (200, 201)
    ]


def moves(entries: Iterable[Object], name: str, first: int) -> list[Move]:
    """Each count that was written to the scale subresource of a Deployment, in order.

    Args:
        entries: as `written` returns them.
        name: of the Deployment.
        first: its replicas at first.
    """
    found, count = [], first
    for entry, body in _of(entries, name, "deployments", "scale"):
        replicas = body.get("spec", {}).get("replicas")
        if replicas is None:
            continue
        by_hpa = entry["user"]["username"].endswith(":horizontal-pod-autoscaler")
        found.append(Move(_at(entry), by_hpa, count, replicas))
        count = replicas
    return found


def conditions(entries: Iterable[Object], name: str, kind: str) -> list[Told]:
    """What the operator said in a condition of a GenerationService, each time that it said something else."""
    found: list[Told] = []
    for entry, body in _of(entries, name, "generationservices", "status"):
        for condition in body.get("status", {}).get("conditions", ()):
            if condition["type"] == kind:
                told = Told(_at(entry), condition["status"], condition["reason"], condition["message"])
                if not found or told.status != found[-1].status or told.message != found[-1].message:
                    found.append(told)
    return found


def ready_replicas(entries: Iterable[Object], name: str) -> list[tuple[float, int]]:
    """When the Deployment controller said how many replicas are ready."""
    return [
        (_at(entry), body["status"].get("readyReplicas", 0))
        for entry, body in _of(entries, name, "deployments", "status")
        if "status" in body
    ]


def _of(entries: Iterable[Object], name: str, resource: str, subresource: str) -> Iterator[tuple[Object, Object]]:
    for entry in entries:
        what = entry["objectRef"]
        if (what.get("name"), what["resource"], what.get("subresource")) == (name, resource, subresource):
            yield entry, entry.get("requestObject") or {}


def _at(entry: Object) -> float:
    return datetime.fromisoformat(entry["stageTimestamp"]).timestamp()

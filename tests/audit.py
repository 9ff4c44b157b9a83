"""Who wrote what and when, as the API server's audit log tells: nothing between two looks of a test can be missed."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from api_fixtures import Api, Object

_VERBS: Final = frozenset({"create", "update", "patch", "delete"})


@dataclass(frozen=True, slots=True)
class Move:
    """One write of the replica count."""

    at: float  # Unix seconds, by the API server's clock
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


def writes(api: Api) -> list[Object]:
    """Every request that was to change something in the namespace, in the order in which they were answered."""
    return [
        entry
        for file in _files(api)
        for entry in _of_namespace(file, api.namespace)
        if entry["verb"] in _VERBS and entry.get("objectRef", {}).get("namespace") == api.namespace
    ]


def _files(api: Api) -> list[Path]:
    """The API server begins a new file at 100 MB, whatever its flags say of a size; a session writes some 70."""
    logs = api.cluster.plan.logs
    return [*sorted(logs.glob("audit-*.log")), logs / "audit.log"]


def _of_namespace(file: Path, namespace: str) -> Iterator[Object]:
    with file.open() as lines:
        for line in lines:
            # Most lines are about other namespaces, and to parse all of a long session's takes seconds.
            if f'"namespace":"{namespace}"' in line:
                yield json.loads(line)


def answered_at(entry: Object) -> float:
    """When the request had been carried out, in Unix seconds by the API server's clock."""
    return datetime.fromisoformat(entry["stageTimestamp"]).timestamp()


def accepted(entry: Object) -> bool:
    """Whether the API server did it."""
    return int(entry["responseStatus"]["code"]) in {200, 201}


def concerns(entry: Object, resource: str, name: str, subresource: str | None = None) -> bool:
    """Whether it is about this object; `resource` is the plural."""
    what = entry["objectRef"]
    return (what["resource"], what.get("name"), what.get("subresource")) == (resource, name, subresource)


def moves(entries: Iterable[Object], name: str, first: int) -> list[Move]:
    """Each count that was written to the scale subresource of a Deployment, in order.

    Args:
        entries: as `writes` returns them.
        name: of the Deployment.
        first: its replicas at first.
    """
    found, count = [], first
    for entry, body in _of(entries, name, "deployments", "scale"):
        replicas = body.get("spec", {}).get("replicas")
        if replicas is None:
            continue
        by_hpa = entry["user"]["username"].endswith(":horizontal-pod-autoscaler")
        found.append(Move(answered_at(entry), by_hpa, count, replicas))
        count = replicas
    return found


def conditions(entries: Iterable[Object], name: str, kind: str) -> list[Told]:
    """What the operator said in a condition of a GenerationService, each time that it said something else."""
    found: list[Told] = []
    for entry, body in _of(entries, name, "generationservices", "status"):
        for condition in body.get("status", {}).get("conditions", ()):
            if condition["type"] == kind:
                told = Told(answered_at(entry), condition["status"], condition["reason"], condition["message"])
                if not found or told.status != found[-1].status or told.message != found[-1].message:
                    found.append(told)
    return found


def ready_replicas(entries: Iterable[Object], name: str) -> list[tuple[float, int]]:
    """When the Deployment controller said how many replicas are ready."""
    return [
        (answered_at(entry), body["status"].get("readyReplicas", 0))
        for entry, body in _of(entries, name, "deployments", "status")
        if "status" in body
    ]


def _of(entries: Iterable[Object], name: str, resource: str, subresource: str) -> Iterator[tuple[Object, Object]]:
    for entry in entries:
        if concerns(entry, resource, name, subresource) and accepted(entry):
            yield entry, entry.get("requestObject") or {}

"""Who wrote what and when, as the API server's audit log tells: nothing between two looks of a test can be missed."""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from api_fixtures import Api, Object

_VERBS = {"create", "update", "patch", "delete"}


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

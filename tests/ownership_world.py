"""What tests of ownership on a real API server share."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import audit
from api_fixtures import Api, Object

T = TypeVar("T")

FAST: dict[str, Any] = {"score": {"cooldownSeconds": 2}}


def deployment_replicas(api: Api, name: str) -> int:
    """`spec.replicas`, -1 while there is no Deployment."""
    found = api.find("deployment", name)
    return -1 if found is None else int(found["spec"]["replicas"])


def ready(api: Api, name: str) -> bool:
    """Whether the resource says so."""
    return api.condition(name, "Ready").get("status") == "True"


def owners(manifest: Object, *path: str) -> set[tuple[str, str]]:
    """(manager, subresource) of everybody who owns a field."""
    found = set()
    for entry in manifest["metadata"]["managedFields"]:
        fields: Any = entry["fieldsV1"]
        for part in path:
            fields = None if fields is None else fields.get(f"f:{part}")
        if fields is not None:
            found.add((entry["manager"], entry.get("subresource", "")))
    return found


def by(manifest: Object, *path: str) -> set[str]:
    """The managers of a field."""
    return {manager for manager, _ in owners(manifest, *path)}


def token_kubeconfig(api: Api, account: str, folder: Path) -> Path:
    """The administrator's kubeconfig with a ServiceAccount's token instead of a certificate."""
    config = json.loads(api.cluster.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": api.kubectl("create", "token", account).strip()}
    path = folder / "kubeconfig"
    path.write_text(json.dumps(config))
    return path


def operator_writes(api: Api) -> list[Object]:
    """Every request of the operator that changed something in the namespace, from the API server's audit log."""
    return [
        entry
        for entry in audit.writes(api)
        if entry.get("userAgent", "") == "generation-operator" and entry["objectRef"].get("resource") != "events"
    ]


def stays(probe: Callable[[], T], value: T, *, seconds: float) -> None:
    """Look again and again for a while; whatever goes wrong has to have gone wrong by then."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert probe() == value
        time.sleep(0.2)

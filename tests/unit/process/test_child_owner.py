"""Which resource is looked at when a child changes, also when somebody took the child's owner away."""

from typing import Any

import kopf
import pytest

from builders import UID
from generation_operator import handlers
from generation_operator.api.kinds import CONFIG_MAP, DEPLOYMENT, HPA, SERVICE, Kind, Manifest
from generation_operator.api.names import API_VERSION, KIND
from generation_operator.api.resource import Key
from generation_operator.observe.store import Store

OURS = {"app.kubernetes.io/managed-by": "generation-operator", "app.kubernetes.io/instance": "chat"}
OWNER = {"apiVersion": API_VERSION, "kind": KIND, "name": "other", "uid": UID, "controller": True}
REPLICA_SET = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "x", "uid": UID, "controller": True}
NODE = {"apiVersion": "v1", "kind": "Node", "name": "x", "uid": UID}


async def queued(kind: Kind, event: str, **metadata: Any) -> list[Key]:
    """The resources that are looked at after one watch event."""
    registry, keys = kopf.OperatorRegistry(), list[Key]()
    handlers.register(registry, Store(), keys.append)
    target = {"scaleTargetRef": {"kind": "Deployment", "name": "chat"}}
    head = {"apiVersion": kind.api_version, "kind": kind.kind, "spec": target}
    manifest: Manifest = head | {"metadata": {"name": "chat", "namespace": "n", **metadata}}
    for handler in registry._watching.get_all_handlers():
        if handler.selector is not None and handler.selector.any_name == kind.plural:
            call: Any = handler.fn
            await call(event={"type": event, "object": manifest}, logger=None, body=manifest)
    return keys


@pytest.mark.parametrize("event", ["MODIFIED", "DELETED"])
@pytest.mark.parametrize("kind", [DEPLOYMENT, SERVICE, CONFIG_MAP, HPA])
async def test_child_that_lost_its_owner_is_looked_at_by_its_labels(kind: Kind, event: str) -> None:
    assert await queued(kind, event, labels=OURS) == [Key("n", "chat")]
    assert await queued(kind, event, labels=OURS, ownerReferences=[NODE]) == [Key("n", "chat")]


async def test_the_owner_counts_before_the_labels() -> None:
    assert await queued(DEPLOYMENT, "MODIFIED", labels=OURS, ownerReferences=[OWNER]) == [Key("n", "other")]


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"labels": None},
        {"labels": OURS | {"app.kubernetes.io/managed-by": "Helm"}},
        {"labels": {"app.kubernetes.io/managed-by": "generation-operator"}},
        {"labels": OURS, "ownerReferences": [REPLICA_SET]},
    ],
    ids=["nothing", "no labels", "another manager", "no instance", "another controller"],
)
async def test_what_is_not_ours_is_nobodys(metadata: dict[str, Any]) -> None:
    assert await queued(DEPLOYMENT, "MODIFIED", **metadata) == []

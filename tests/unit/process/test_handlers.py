"""What reaches the store and the queue from watch events, and what kopf is told."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import kopf
import pytest
from kopf._cogs.structs import references as kopf_references

from builders import UID, make_service
from generation_operator import handlers
from generation_operator.api.kinds import (
    CONFIG_MAP,
    DEPLOYMENT,
    GENERATION_SERVICE,
    HPA,
    PDB,
    POD,
    POD_MONITOR,
    RIVALS,
    SERVICE,
    SERVICE_ACCOUNT,
    VPA,
    Kind,
    Manifest,
)
from generation_operator.api.names import API_VERSION, KIND, LABEL_INSTANCE, LABEL_MANAGED_BY, OPERATOR
from generation_operator.api.resource import Key
from generation_operator.observe.store import Store

CHILDREN = [DEPLOYMENT, SERVICE, SERVICE_ACCOUNT, CONFIG_MAP, PDB, HPA, VPA, POD_MONITOR]
OWNER = {"apiVersion": API_VERSION, "kind": KIND, "name": "chat", "uid": UID, "controller": True}


@dataclass
class World:
    registry: kopf.OperatorRegistry = field(default_factory=kopf.OperatorRegistry)
    store: Store = field(default_factory=Store)
    queued: list[Key] = field(default_factory=list)

    def __post_init__(self) -> None:
        handlers.register(self.registry, self.store, self.queued.append)

    async def see(self, kind: Kind, manifest: Manifest, event: str | None = "MODIFIED") -> None:
        """Hand a watch event to the handler that kopf would call."""
        group, _, version = kind.api_version.rpartition("/")
        (handler,) = [
            handler
            for handler in self.registry._watching.get_all_handlers()
            if handler.selector is not None
            and (handler.selector.group, handler.selector.version, handler.selector.any_name)
            == (group, version, kind.plural)
        ]
        call: Callable[..., Any] = handler.fn
        # Anything but None would be written to the resource's status.
        assert inspect.iscoroutinefunction(call), "kopf would call it in a thread"
        assert await call(event={"type": event, "object": manifest}, logger=None, body=manifest) is None


def child(kind: Kind, *owners: dict[str, Any]) -> Manifest:
    metadata = {"name": "chat-x", "namespace": "n", "ownerReferences": list(owners)}
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}


@pytest.mark.parametrize("event", [None, "ADDED", "MODIFIED"])
async def test_resource_is_stored_and_queued(event: str | None) -> None:
    world = World()
    manifest = make_service("chat", "n").manifest()
    await world.see(GENERATION_SERVICE, manifest, event)
    assert world.store.get(GENERATION_SERVICE, Key("n", "chat")) == manifest
    assert world.queued == [Key("n", "chat")]


async def test_deleted_resource_is_forgotten_and_queued() -> None:
    world = World()
    manifest = make_service("chat", "n").manifest()
    await world.see(GENERATION_SERVICE, manifest)
    await world.see(GENERATION_SERVICE, manifest, "DELETED")
    assert world.store.keys(GENERATION_SERVICE) == frozenset()
    assert world.queued == [Key("n", "chat")] * 2


@pytest.mark.parametrize("kind", CHILDREN)
async def test_child_is_stored_and_its_owner_queued(kind: Kind) -> None:
    world = World()
    await world.see(kind, child(kind, OWNER))
    assert world.store.get(kind, Key("n", "chat-x")) == child(kind, OWNER)
    await world.see(kind, child(kind, OWNER), "DELETED")
    assert world.store.keys(kind) == frozenset()
    assert world.queued == [Key("n", "chat")] * 2


def versioned(kind: Kind, version: int, **parts: Any) -> Manifest:
    manifest = child(kind, OWNER)
    entry = {"manager": "kube-controller-manager", "operation": "Update", "time": f"2026-01-01T00:00:{version:02}Z"}
    status = entry | {"subresource": "status", "fieldsV1": {"f:status": {f"f:part{version}": {}}}}
    manifest["metadata"] |= {"uid": "u", "resourceVersion": str(version), "managedFields": [status]}
    return manifest | parts


@pytest.mark.parametrize("kind", [*CHILDREN, GENERATION_SERVICE])
@pytest.mark.parametrize(
    ("parts", "news"),
    [
        ({}, False),
        ({"spec": {"a": 1}}, False),
        ({"spec": {"a": 2}}, True),
        ({"spec": {"a": 1}, "data": {"x": "y"}}, True),
        ({"spec": {"a": 1}, "status": {"replicas": 1}}, None),  # for some
    ],
)
async def test_owner_is_queued_when_there_is_something_new_to_look_at(
    kind: Kind, parts: dict[str, Any], news: bool | None
) -> None:
    if news is None:
        news = kind in (DEPLOYMENT, GENERATION_SERVICE)
    world = World()
    await world.see(kind, versioned(kind, 1, **({"spec": {"a": 1}} if parts else {})))
    world.queued.clear()
    await world.see(kind, versioned(kind, 2, **parts))
    assert bool(world.queued) is news
    seen = world.store.get(kind, Key("n", "chat-x"))
    assert seen is not None
    assert seen["metadata"]["resourceVersion"] == "2"


async def test_owner_is_queued_when_metadata_or_the_owner_of_a_field_changes() -> None:
    world = World()
    await world.see(DEPLOYMENT, versioned(DEPLOYMENT, 1))
    owns = {"manager": "kubectl", "fieldsV1": {"f:spec": {"f:replicas": {}}}}
    changes: list[dict[str, Any]] = [{"labels": {"a": "b"}}, {"managedFields": [owns]}, {"ownerReferences": []}]
    for version, change in enumerate(changes, 2):
        world.queued.clear()
        newer = versioned(DEPLOYMENT, version)
        newer["metadata"] |= {"labels": {LABEL_MANAGED_BY: OPERATOR, LABEL_INSTANCE: "chat"}} | change
        await world.see(DEPLOYMENT, newer)
        assert world.queued == [Key("n", "chat")], change


async def test_older_version_that_comes_late_queues_nothing() -> None:
    world = World()
    await world.see(SERVICE, versioned(SERVICE, 2, spec={"a": 1}))
    await world.see(SERVICE, versioned(SERVICE, 1, spec={"a": 2}))
    assert world.queued == [Key("n", "chat")]


async def test_pods_are_known_by_the_service_they_serve_and_queue_nothing() -> None:
    world = World()
    labels = {"app.kubernetes.io/instance": "chat", "app.kubernetes.io/component": "service"}
    pod = {
        "metadata": {"name": "chat-1", "namespace": "n", "uid": "u", "labels": labels},
        "status": {"podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]},
    }
    await world.see(POD, pod)
    assert [known.ip for known in world.store.pods.ready(Key("n", "chat"))] == ["10.0.0.1"]
    await world.see(POD, pod, "DELETED")
    assert list(world.store.pods.ready(Key("n", "chat"))) == []
    assert world.queued == []


@pytest.mark.parametrize(
    "owners",
    [
        (),
        ({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "chat", "uid": UID},),
        ({"apiVersion": "other.dev/v1", "kind": KIND, "name": "chat", "uid": UID},),
    ],
)
async def test_child_of_nobody_we_know_queues_nothing(owners: tuple[dict[str, Any], ...]) -> None:
    world = World()
    await world.see(DEPLOYMENT, child(DEPLOYMENT, *owners))
    assert world.queued == []


async def test_owner_is_found_among_others() -> None:
    world = World()
    await world.see(DEPLOYMENT, child(DEPLOYMENT, {"apiVersion": "v1", "kind": "Node", "name": "x", "uid": "u"}, OWNER))
    assert world.queued == [Key("n", "chat")]


async def test_object_that_does_not_name_its_kind_is_stored_with_it() -> None:
    world = World()
    bare = {"metadata": {"name": "chat-x", "namespace": "n"}}
    await world.see(DEPLOYMENT, bare)
    assert world.store.get(DEPLOYMENT, Key("n", "chat-x")) == {"apiVersion": "apps/v1", "kind": "Deployment"} | bare


async def test_kopf_remembers_no_object() -> None:
    memories = handlers.NoMemories()
    body: Any = {"metadata": {"uid": "u"}}
    await memories.recall(body, noticed_by_listing=True)
    assert list(memories.iter_all_memories()) == []
    await memories.forget(body)


def test_only_event_handlers_are_registered_so_nothing_is_written_to_objects() -> None:
    registry = World().registry
    for part in (registry._changing, registry._spawning, registry._indexing, registry._webhooks):
        assert not part.get_all_handlers()
    assert len(registry._watching.get_all_handlers()) == len({GENERATION_SERVICE, POD, *CHILDREN, *RIVALS})


def test_what_cannot_claim_a_deployment_of_ours_is_filtered_by_the_api_server() -> None:
    settings = kopf.OperatorSettings()
    handlers.configure(settings, namespaced=False)
    selectors = settings.watching.label_selectors
    assert set(selectors.values()) == {"app.kubernetes.io/managed-by=generation-operator"}
    assert set(selectors) == {
        kopf_references.Selector(kind.api_version.rpartition("/")[0], kind.api_version.rpartition("/")[2], kind.plural)
        for kind in {*CHILDREN, POD} - set(RIVALS)
    }


def rival(kind: Kind, target: str, **metadata: Any) -> Manifest:
    field = "targetRef" if kind == VPA else "scaleTargetRef"
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": target}
    head = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": "x", "namespace": "n"} | metadata}
    return head | {"spec": {field: reference}}


@pytest.mark.parametrize("kind", RIVALS)
async def test_foreign_object_is_kept_as_its_claim_only(kind: Kind) -> None:
    world = World()
    await world.see(kind, rival(kind, "chat"), "ADDED")
    assert [str(claim) for claim in world.store.claims_on(Key("n", "chat"))] == [f"{kind.kind} x"]
    assert world.store.keys(kind) == frozenset()
    await world.see(kind, rival(kind, "other"))
    assert world.store.claims_on(Key("n", "chat")) == ()
    assert len(world.store.claims_on(Key("n", "other"))) == 1
    await world.see(kind, rival(kind, "other"), "DELETED")
    assert world.store.claims_on(Key("n", "other")) == ()


async def test_own_hpa_is_no_claim_and_becomes_one_when_somebody_takes_it() -> None:
    world = World()
    await world.see(HPA, rival(HPA, "chat", ownerReferences=[OWNER]))
    assert world.store.claims_on(Key("n", "chat")) == ()
    assert world.store.keys(HPA) == {Key("n", "x")}
    await world.see(HPA, rival(HPA, "chat"))
    assert len(world.store.claims_on(Key("n", "chat"))) == 1
    assert world.store.keys(HPA) == frozenset()


@pytest.mark.parametrize("namespaced", [True, False])
def test_only_an_operator_of_the_whole_cluster_scans_it(namespaced: bool) -> None:
    settings = kopf.OperatorSettings()
    handlers.configure(settings, namespaced=namespaced)
    assert settings.scanning.disabled is namespaced


async def test_login_asks_for_fresh_credentials_each_time() -> None:
    registry, tokens = kopf.OperatorRegistry(), iter("ab")

    async def login() -> kopf.ConnectionInfo:
        return kopf.ConnectionInfo(server="https://x", token=next(tokens))

    handlers.register_login(registry, login)
    (handler,) = registry._activities.get_all_handlers()
    call: Callable[..., Any] = handler.fn
    sessions = [await call(logger=None) for _ in range(2)]
    assert [session.aiohttp_session.headers["Authorization"] for session in sessions] == ["Bearer a", "Bearer b"]
    assert sessions[0] != sessions[1]
    for session in sessions:
        await session.aiohttp_session.close()


async def test_login_with_the_same_credentials_is_known_again() -> None:
    """Else kopf would try credentials that were refused for ever."""
    registry = kopf.OperatorRegistry()

    async def login() -> kopf.ConnectionInfo:
        return kopf.ConnectionInfo(server="https://x", token="a")

    handlers.register_login(registry, login)
    (handler,) = registry._activities.get_all_handlers()
    call: Callable[..., Any] = handler.fn
    one, other = await call(logger=None), await call(logger=None)
    assert one == other
    for session in (one, other):
        await session.aiohttp_session.close()

"""Everything that the operator reacts to, on one page. The only module, besides `__main__`, that knows kopf.

A handler puts what it saw into the store and a key into the queue. It decides nothing, waits for nothing and returns
`None`: kopf would write any other value into the status. It is a coroutine all the same: kopf runs plain functions in
threads, and neither the store nor the queue is made for threads. Only event handlers are used, so kopf writes nothing
to any object, needs no finalizer, and deletion works while the operator is down.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import kopf

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
from generation_operator.api.names import GROUP, KIND, LABEL_MANAGED_BY, OPERATOR
from generation_operator.api.resource import Key, key_of
from generation_operator.observe.ownership import claim_of, is_ours
from generation_operator.observe.store import Store

_log = logging.getLogger(__name__)

Enqueue = Callable[[Key], None]

_CHILDREN: Final = (DEPLOYMENT, SERVICE, SERVICE_ACCOUNT, CONFIG_MAP, PDB, HPA, VPA, POD_MONITOR)


def register(registry: kopf.OperatorRegistry, store: Store, enqueue: Enqueue) -> None:
    """Watch resources, their children and their pods."""
    kopf.on.event(*_selector(GENERATION_SERVICE), registry=registry, id="resource")(_resource_handler(store, enqueue))
    for kind in _CHILDREN:
        handler = _child_handler(kind, store, enqueue)
        kopf.on.event(*_selector(kind), registry=registry, id=f"child-{kind.plural}")(handler)
    kopf.on.event(*_selector(POD), registry=registry, id="pod")(_pod_handler(store))
    for kind in RIVALS:
        if kind not in _CHILDREN:
            handler = _child_handler(kind, store, enqueue)
            kopf.on.event(*_selector(kind), registry=registry, id=f"rival-{kind.plural}")(handler)


def configure(settings: kopf.OperatorSettings, *, namespaced: bool) -> None:
    """Settings of kopf, with the reason for each. Times in seconds.

    Args:
        settings: changed in place.
        namespaced: whether the operator watches named namespaces only, so that it may lack the right to list CRDs.
    """
    for kind in {*_CHILDREN, POD} - set(RIVALS):
        # Filtered by the API server: the Deployments of a whole cluster would fill our memory. What may claim one of
        # our Deployments cannot be filtered so; of a foreign object only its claim is kept.
        settings.watching.label_selectors[_selector(kind)] = f"{LABEL_MANAGED_BY}={OPERATOR}"
    settings.watching.connect_timeout = 10
    settings.watching.inactivity_timeout = 70  # bookmarks come once a minute; a silent watch is a dead one
    # The default, 0.1, is some 150 requests a second together while something between us and the API server lets
    # watches start and cuts them at once. A watch that ends as usual, every few minutes, costs at most this much delay.
    settings.watching.reconnect_backoff = 1
    settings.networking.connect_timeout = 10
    settings.networking.request_timeout = 30
    settings.queueing.error_delays = (1, 1, 2, 3, 5, 8, 13, 21, 34, 60)  # the default ends with ten minutes
    settings.posting.enabled = False  # Events are ours to write, on transitions only
    # Never written by event handlers. Ours all the same, so that a mistake would not look like another operator's.
    settings.persistence.finalizer = f"{GROUP}/finalizer"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=GROUP, v1=False)
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=GROUP)
    settings.process.ultimate_exiting_timeout = 25  # below a pod's default grace period of 30
    # Without the right to list CRDs cluster-wide, kopf must not try; the CRD is there, because resync has listed it.
    settings.scanning.disabled = namespaced


def register_login(registry: kopf.OperatorRegistry, login: Callable[[], Awaitable[kopf.ConnectionInfo]]) -> None:
    """Log in with what `login` returns, at start and whenever the API server refuses a token; guess nothing."""

    async def log_in(**_: object) -> kopf.ConnectionInfo:
        return await login()

    kopf.on.login(registry=registry, id="login")(log_in)


def _selector(kind: Kind) -> tuple[str, str, str]:
    group, _, version = kind.api_version.rpartition("/")
    return group, version, kind.plural


def _resource_handler(store: Store, enqueue: Enqueue) -> Callable[..., Awaitable[None]]:
    async def on_resource(event: Mapping[str, Any], **_: object) -> None:
        enqueue(key_of(_seen(GENERATION_SERVICE, event, store)))

    return on_resource


def _child_handler(kind: Kind, store: Store, enqueue: Enqueue) -> Callable[..., Awaitable[None]]:
    async def on_child(event: Mapping[str, Any], **_: object) -> None:
        manifest = _seen(kind, event, store)
        owner = _owner(manifest)
        if owner is not None:
            enqueue(owner)

    return on_child


def _pod_handler(store: Store) -> Callable[..., Awaitable[None]]:
    async def on_pod(event: Mapping[str, Any], **_: object) -> None:
        if event["type"] == "DELETED":
            store.pods.remove(event["object"])
        else:
            store.pods.put(event["object"])

    return on_pod


def _seen(kind: Kind, event: Mapping[str, Any], store: Store) -> Manifest:
    # In a watch event the object names its kind, in a list it may not.
    manifest: Manifest = {"apiVersion": kind.api_version, "kind": kind.kind} | event["object"]
    _log.debug("%s %s: %s", kind.kind, key_of(manifest), event["type"] or "listed")
    if kind in RIVALS:
        foreign = event["type"] != "DELETED" and not is_ours(manifest)
        store.put_claim(kind, key_of(manifest), claim_of(kind, manifest) if foreign else None)
        if foreign:
            store.remove(kind, key_of(manifest))  # it was ours until somebody took it
            return manifest
    if event["type"] == "DELETED":
        store.remove(kind, key_of(manifest))
    else:
        store.put(kind, manifest)
    return manifest


def _owner(manifest: Manifest) -> Key | None:
    """The resource that a child belongs to."""
    metadata = manifest["metadata"]
    for reference in metadata.get("ownerReferences") or ():
        if reference["kind"] == KIND and reference["apiVersion"].partition("/")[0] == GROUP:
            return Key(metadata["namespace"], reference["name"])
    return None

"""Everything that the operator reacts to, on one page. The only module, besides `__main__`, that knows kopf.

A handler puts what it saw into the store and a key into the queue. It decides nothing, waits for nothing and returns
`None`: kopf would write any other value into the status. It is a coroutine all the same: kopf runs plain functions in
threads, and neither the store nor the queue is made for threads. Only event handlers are used, so kopf writes nothing
to any object, needs no finalizer, and deletion works while the operator is down.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
import kopf
from kopf._core.reactor.inventory import ResourceMemories, ResourceMemory  # of a public argument

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
from generation_operator.api.names import GROUP, KIND, LABEL_INSTANCE, LABEL_MANAGED_BY, OPERATOR
from generation_operator.api.resource import Key, key_of
from generation_operator.cluster.pace import Pace, paced_session
from generation_operator.observe.keeping import content
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
    # Before what was lost, or has expired, is listed again. For a watch that was cut see cluster.pace.
    settings.watching.reconnect_backoff = 1
    settings.networking.connect_timeout = 10
    settings.networking.request_timeout = 30
    # A list and its objects take far more room than what is kept of them, so few of them are on their way at a time.
    settings.watching.chunk_size = 100
    # A worker holds the last event of its object for as long as it waits for another one.
    settings.queueing.idle_timeout = 0.2
    settings.queueing.error_delays = (1, 1, 2, 3, 5, 8, 13, 21, 34, 60)  # the default ends with ten minutes
    settings.posting.enabled = False  # Events are ours to write, on transitions only
    # Never written by event handlers. Ours all the same, so that a mistake would not look like another operator's.
    settings.persistence.finalizer = f"{GROUP}/finalizer"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=GROUP, v1=False)
    settings.persistence.diffbase_storage = NoDiffBase()
    settings.process.ultimate_exiting_timeout = 25  # below a pod's default grace period of 30
    # Without the right to list CRDs cluster-wide, kopf must not try; the CRD is there, because resync has listed it.
    settings.scanning.disabled = namespaced


class NoDiffBase(kopf.DiffBaseStorage):
    """What kopf compares an object with to see what has changed: nothing.

    It copies each object whole for that, a fifth of what an event costs, and only handlers of changes would be told.
    """

    def build(self, *, body: kopf.Body, extra_fields: object = None) -> kopf.BodyEssence:
        """What would be remembered of the object."""
        return kopf.BodyEssence()

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        """What is remembered of it."""
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Remember nothing."""


class NoMemories(ResourceMemories):
    """What kopf remembers of each object: nothing.

    A memory takes a kilobyte, a service has eight objects, and only timers, daemons and handlers of changes use it.
    """

    async def recall(
        self,
        raw_body: kopf.RawBody,
        *,
        memobase: object = None,
        noticed_by_listing: bool = False,
        ephemeral: bool = True,
    ) -> ResourceMemory:
        """A new memory, for this one event."""
        return await super().recall(raw_body, memobase=None, noticed_by_listing=noticed_by_listing, ephemeral=True)


@dataclass(frozen=True, kw_only=True)
class PacedSession(kopf.AiohttpSession):
    """A session that is equal to another when the credentials are.

    kopf tells by that which credentials were refused already, and does not try them for ever.
    """

    credentials: kopf.ConnectionInfo
    aiohttp_session: aiohttp.ClientSession = field(compare=False)


def register_login(registry: kopf.OperatorRegistry, login: Callable[[], Awaitable[kopf.ConnectionInfo]]) -> None:
    """Log in with what `login` returns, at start and whenever the API server refuses a token; guess nothing."""
    pace = Pace()

    async def log_in(**_: object) -> PacedSession:
        info = await login()
        session = paced_session(info.as_ssl_context(), info.as_http_headers(), pace)
        return PacedSession(server=info.server, credentials=info, aiohttp_session=session)

    kopf.on.login(registry=registry, id="login")(log_in)


def _selector(kind: Kind) -> tuple[str, str, str]:
    group, _, version = kind.api_version.rpartition("/")
    return group, version, kind.plural


def _resource_handler(store: Store, enqueue: Enqueue) -> Callable[..., Awaitable[None]]:
    async def on_resource(event: Mapping[str, Any], **_: object) -> None:
        manifest, changed = _seen(GENERATION_SERVICE, event, store)
        if changed:
            enqueue(key_of(manifest))

    return on_resource


def _child_handler(kind: Kind, store: Store, enqueue: Enqueue) -> Callable[..., Awaitable[None]]:
    async def on_child(event: Mapping[str, Any], **_: object) -> None:
        manifest, changed = _seen(kind, event, store)
        owner = _owner(manifest)
        if owner is not None and changed:
            enqueue(owner)

    return on_child


def _pod_handler(store: Store) -> Callable[..., Awaitable[None]]:
    async def on_pod(event: Mapping[str, Any], **_: object) -> None:
        if event["type"] == "DELETED":
            store.pods.remove(event["object"])
        else:
            store.pods.put(event["object"])

    return on_pod


def _seen(kind: Kind, event: Mapping[str, Any], store: Store) -> tuple[Manifest, bool]:
    """The object, and whether the event told anything that reconciling it would look at.

    Most events do not: they report our own writes, whose answers are in the store, or what the HPA controller saw,
    every 15 s. To reconcile takes a few milliseconds, thousands of times.
    """
    # In a watch event the object names its kind, in a list it may not.
    manifest: Manifest = {"apiVersion": kind.api_version, "kind": kind.kind} | event["object"]
    key = key_of(manifest)
    _log.debug("%s %s: %s", kind.kind, key, event["type"] or "listed")
    before, deleted = store.get(kind, key), event["type"] == "DELETED"
    _take(kind, manifest, deleted=deleted, store=store)
    after = store.get(kind, key)
    if deleted or before is None or after is None:
        return manifest, deleted or before is not after
    return manifest, content(kind, before) != content(kind, after)


def _take(kind: Kind, manifest: Manifest, *, deleted: bool, store: Store) -> None:
    if kind in RIVALS:
        foreign = not deleted and not is_ours(manifest)
        store.put_claim(kind, key_of(manifest), claim_of(kind, manifest) if foreign else None)
        if foreign:
            store.remove(kind, key_of(manifest))  # it was ours until somebody took it
            return
    if deleted:
        store.remove(kind, key_of(manifest))
    else:
        store.put(kind, manifest)


def _owner(manifest: Manifest) -> Key | None:
    """The resource that a child belongs to; of one that somebody took the owner from, the one that its labels name.

    Else nobody would look at such a child until the next resync, even when it is deleted.
    """
    metadata = manifest["metadata"]
    references = metadata.get("ownerReferences") or ()
    for reference in references:
        if reference["kind"] == KIND and reference["apiVersion"].partition("/")[0] == GROUP:
            return Key(metadata["namespace"], reference["name"])
    labels = metadata.get("labels") or {}
    if labels.get(LABEL_MANAGED_BY) != OPERATOR or LABEL_INSTANCE not in labels:
        return None
    if any(reference.get("controller") for reference in references):
        return None  # copied labels: a ReplicaSet has those of its Deployment
    return Key(metadata["namespace"], labels[LABEL_INSTANCE])

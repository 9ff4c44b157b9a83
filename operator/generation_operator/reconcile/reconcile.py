"""Bring one resource and its children to what the spec says; write nothing when they are there already.

Level-based: it looks at what is, never at what happened, so it can be called at any time and as often as you like. One
child that cannot be written does not keep the others from being written, and a spec that is not understood changes no
child.
"""

from collections.abc import Callable
from typing import Any, Final

from generation_operator.api import names as api_names
from generation_operator.api.kinds import (
    CONFIG_MAP,
    DEPLOYMENT,
    GENERATION_SERVICE,
    HPA,
    PDB,
    POD_MONITOR,
    SERVICE,
    SERVICE_ACCOUNT,
    VPA,
    Kind,
    Manifest,
    kind_of,
)
from generation_operator.api.resource import GenerationService, InvalidSpecError, Key, key_of, parse
from generation_operator.api.spec import Engine
from generation_operator.cluster.ports import ClusterApi, ClusterError, ConflictError, NotFoundError
from generation_operator.desired import names
from generation_operator.desired.available import Available
from generation_operator.desired.children import children
from generation_operator.observe.store import Store
from generation_operator.reconcile import bootstrap, handover, status
from generation_operator.reconcile.diff import covers
from generation_operator.reconcile.status import Failure

# In the order in which what should not exist any more is deleted: whoever scales first, what pods mount last.
_CHILD_KINDS: Final = (HPA, VPA, POD_MONITOR, PDB, DEPLOYMENT, SERVICE, CONFIG_MAP, SERVICE_ACCOUNT)
_OPTIONAL_KINDS: Final = (VPA, POD_MONITOR)


class _GoingError(Exception):
    """The resource is deleted, and its watch event has not arrived yet."""


class Reconciler:
    """Reconciles resources by key.

    Args:
        cluster: where children and status are written.
        store: where everything is read; what was written is put there at once, because watch events come later.
        cluster_domain: DNS domain of the cluster, usually `cluster.local`.
        clock: Unix time in seconds, for transition times of conditions.
        available: which optional APIs the API server serves now.
    """

    def __init__(
        self,
        cluster: ClusterApi,
        store: Store,
        *,
        cluster_domain: str,
        clock: Callable[[], float],
        available: Callable[[], Available],
    ) -> None:
        self._cluster = cluster
        self._store = store
        self._cluster_domain = cluster_domain
        self._clock = clock
        self._available = available

    async def reconcile(self, key: Key) -> None:
        """Reconcile one resource; a resource that is gone or going needs nothing.

        Raises:
            ClusterError: a child or the status could not be written. Everything else was; try again later.
        """
        resource = self._store.get(GENERATION_SERVICE, key)
        if resource is None or _is_going(resource):
            return
        try:
            service = parse(resource)
        except InvalidSpecError as error:
            await self._publish(resource, status.of_invalid(resource, error, now=self._clock()))
            return
        try:
            failures = await self._converge(service)
        except _GoingError:
            return
        await self._publish(resource, self._status(service, resource, failures))
        if failures:
            raise failures[0].error

    async def _converge(self, service: GenerationService) -> list[Failure]:
        autoscaling = self._store.autoscaling(service.key)
        wanted = children(
            service,
            cluster_domain=self._cluster_domain,
            available=self._available(),
            may_resize=autoscaling is not None and autoscaling.may_resize,
        )
        failures: list[Failure] = []
        for manifest in wanted:
            try:
                await self._ensure(service, manifest)
            except ClusterError as error:
                # The API was removed since it was last looked for: no reason to be unready.
                if not (isinstance(error, NotFoundError) and kind_of(manifest) in _OPTIONAL_KINDS):
                    failures.append(Failure(_label(manifest), error))
        for leftover in self._leftovers(service, wanted, settled=not failures):
            try:
                await self._delete(leftover)
            except ClusterError as error:
                failures.append(Failure(_label(leftover), error))
        return failures

    async def _ensure(self, service: GenerationService, manifest: Manifest) -> None:
        """Write one child unless it is as it should be."""
        kind = kind_of(manifest)
        live = await self._live(kind, key_of(manifest))
        if live is not None and not _is_ours(live, service):
            raise ConflictError(
                409, f"exists and belongs to somebody else: remove it, or give {service.key.name} another name"
            )
        if live is not None and names.controller_uid(live) is None:
            await self._expect_here(service)
        # The one child whose replica count is not ours.
        scaled = kind == DEPLOYMENT and "replicas" not in manifest["spec"]
        if live is None and scaled:
            live = await bootstrap.create(self._cluster, manifest, service.spec.scaling.min_replicas)
        elif live is not None and scaled and bootstrap.narrowing_due(live):
            live = await bootstrap.hand_over(self._cluster, manifest)
        elif kind == HPA and service.spec.scaling.engine is Engine.FLOOR and handover.to_floor_due(live, manifest):
            replicas = await self._replicas(service)
            live = await handover.to_floor(self._cluster, service, manifest, create=live is None, replicas=replicas)
        elif live is None or not covers(live, manifest):
            live = await self._cluster.apply(manifest, manager=api_names.MANAGER_OPERATOR)
        if kind == HPA and service.spec.scaling.engine is Engine.DIRECT and handover.floor_holds_any(live):
            live = await handover.let_go(self._cluster, manifest)
        self._store.put(kind, live)

    async def _expect_here(self, service: GenerationService) -> None:
        """Ask the API server itself whether the resource is there to stay, before it adopts a child.

        `kubectl delete --cascade=orphan` takes the owner from each child, after it has marked the resource. The watch
        of the children may be ahead of the one of resources; to give a child its owner back in between would have it
        collected with that owner. Controllers of Kubernetes ask the same before they adopt.

        Raises:
            _GoingError: it is gone or going, or another one has its name.
        """
        try:
            resource = await self._cluster.get(GENERATION_SERVICE, service.key.namespace, service.key.name)
        except NotFoundError as error:
            raise _GoingError from error
        if _is_going(resource) or resource["metadata"]["uid"] != service.uid:
            raise _GoingError

    async def _replicas(self, service: GenerationService) -> int:
        """The count as it is at this moment: bounds that are made for an older one would move it."""
        key = Key(service.key.namespace, names.deployment(service.key.name))
        return (await self._cluster.get_scale(DEPLOYMENT, key.namespace, key.name)).replicas

    async def _live(self, kind: Kind, key: Key) -> Manifest | None:
        """The object as last seen; what was never seen is asked for, because the store may lag or not watch it."""
        seen = self._store.get(kind, key)
        if seen is not None:
            return seen
        try:
            return await self._cluster.get(kind, key.namespace, key.name)
        except NotFoundError:
            return None

    def _leftovers(self, service: GenerationService, wanted: tuple[Manifest, ...], *, settled: bool) -> list[Manifest]:
        """Children of this resource that should not exist any more."""
        keep = {(kind_of(manifest), key_of(manifest)) for manifest in wanted}
        found = [
            live
            for kind, live in self._store.controlled(service.uid)
            if kind in _CHILD_KINDS
            and (kind, key_of(live)) not in keep
            and names.is_managed(live)
            and not _is_going(live)
        ]
        found.sort(key=lambda live: (_CHILD_KINDS.index(kind_of(live)), key_of(live)))
        if settled and self._proxy_rolled_out(service):
            return found
        # Pods of the proxy that are not replaced yet, and a rollback, still mount the old configuration.
        return [live for live in found if kind_of(live) != CONFIG_MAP]

    def _proxy_rolled_out(self, service: GenerationService) -> bool:
        proxy = self._store.get(DEPLOYMENT, names.proxy_key(service.key))
        return proxy is None or not service.spec.proxy.enabled or status.rolled_out(proxy)

    async def _delete(self, live: Manifest) -> None:
        kind, key = kind_of(live), key_of(live)
        await self._cluster.delete(kind, key.namespace, key.name, uid=live["metadata"]["uid"])
        self._store.remove(kind, key)

    def _status(self, service: GenerationService, resource: Manifest, failures: list[Failure]) -> dict[str, Any]:
        deployment = Key(service.key.namespace, names.deployment(service.key.name))
        return status.build(
            service,
            previous=resource.get("status") or {},
            deployment=self._store.get(DEPLOYMENT, deployment),
            autoscaling=self._store.autoscaling(service.key),
            failures=failures,
            now=self._clock(),
            available=self._available(),
        )

    async def _publish(self, resource: Manifest, new: dict[str, Any]) -> None:
        """Write the status if it says anything new."""
        if new == resource.get("status"):
            return
        metadata = {field: resource["metadata"][field] for field in ("name", "namespace")}
        manifest = {"apiVersion": api_names.API_VERSION, "kind": api_names.KIND, "metadata": metadata, "status": new}
        try:
            written = await self._cluster.apply_status(manifest, manager=api_names.MANAGER_OPERATOR)
        except NotFoundError:
            return  # deleted meanwhile: nobody is left to read it
        # Deleted while the answer was under way, it must not come back: its children would be made again.
        seen = self._store.get(GENERATION_SERVICE, key_of(written))
        if seen is not None and seen["metadata"]["uid"] == written["metadata"]["uid"]:
            self._store.put(GENERATION_SERVICE, written)


def _is_ours(live: Manifest, service: GenerationService) -> bool:
    """Controlled by this resource, or made by this operator and orphaned since (`kubectl delete --cascade=orphan`)."""
    controller = names.controller_uid(live)
    return controller == service.uid or (controller is None and names.is_managed(live))


def _is_going(manifest: Manifest) -> bool:
    return "deletionTimestamp" in manifest["metadata"]


def _label(manifest: Manifest) -> str:
    return f"{manifest['kind']} {manifest['metadata']['name']}"

"""Compare what we believe with what is: list everything, forget what is gone, have every resource looked at again.

Watch events are quick but not complete: an object deleted while a watch was interrupted is never reported. This loop
bounds how long such a gap lasts, and notices when an optional API comes or goes. A list that fails takes nothing away:
not knowing is not the same as being gone.

Of kinds that may scale a Deployment of ours it lists everybody's objects, and keeps of foreign ones what they claim.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from generation_operator.api.kinds import (
    CONFIG_MAP,
    CUSTOM_METRICS_GROUP,
    DEPLOYMENT,
    GENERATION_SERVICE,
    HPA,
    PDB,
    POD,
    POD_AUTOSCALER,
    POD_MONITOR,
    RIVALS,
    SCALED_OBJECT,
    SERVICE,
    SERVICE_ACCOUNT,
    VPA,
    Kind,
    Manifest,
)
from generation_operator.api.names import GROUP, LABEL_MANAGED_BY, OPERATOR, PLURAL
from generation_operator.api.resource import Key, key_of
from generation_operator.cluster.ports import ClusterApi, ClusterError, NotFoundError
from generation_operator.desired.available import Available
from generation_operator.observe.ownership import claim_of, is_ours
from generation_operator.observe.pod_index import PodIndex
from generation_operator.observe.store import Store

_log = logging.getLogger(__name__)

_OURS: Final = f"{LABEL_MANAGED_BY}={OPERATOR}"
_CHILDREN: Final = (DEPLOYMENT, SERVICE, SERVICE_ACCOUNT, CONFIG_MAP, PDB, HPA)
# Resources that are looked at per second after a round that is not the first: thousands at once would take a core for
# many seconds, and what has really changed would wait behind them.
_PER_SECOND: Final = 150
_AT_ONCE: Final = 30
# What a list is to keep of an object that was taken out of it.
_TAKEN: Final[Manifest] = {}


class Resync:
    """Fills the store from lists.

    Args:
        cluster: where to list.
        store: what is brought up to date.
        enqueue: called with the key of every `GenerationService` that is or was.
        namespaces: where to look; empty means everywhere.
        seconds: time between two rounds.
    """

    def __init__(
        self,
        cluster: ClusterApi,
        store: Store,
        enqueue: Callable[[Key], None],
        *,
        namespaces: Sequence[str],
        seconds: float,
    ) -> None:
        self._cluster = cluster
        self._store = store
        self._enqueue = enqueue
        self._namespaces: Sequence[str | None] = namespaces or (None,)
        self._seconds = seconds
        self._available = Available()

    def available(self) -> Available:
        """Which optional APIs were served to us in the last round."""
        return self._available

    async def run(self) -> None:
        """One round every `seconds`, the first after `seconds`; a failed round is logged, the next one tries again.

        Unlike `once` it has few resources looked at at a time.
        """
        while True:
            await asyncio.sleep(self._seconds)
            try:
                keys = await self._compare()
            except ClusterError as error:
                _log.warning("resync: %s; next round in %.0f s", error, self._seconds)
                continue
            for number, key in enumerate(keys, 1):
                self._enqueue(key)
                if number % _AT_ONCE == 0:
                    await asyncio.sleep(_AT_ONCE / _PER_SECOND)

    async def once(self) -> None:
        """One round, and every resource looked at as soon as can be.

        Raises:
            ClusterError: a list failed; kinds that were listed before it are up to date.
        """
        for key in await self._compare():
            self._enqueue(key)

    async def _compare(self) -> list[Key]:
        """Bring the store up to date; returns the resources that are or were.

        Children come first, so that nobody sees a resource whose existing children seem to be missing.
        """
        before = self._store.keys(GENERATION_SERVICE)
        for kind in _CHILDREN:
            await self._refresh(kind, "" if kind in RIVALS else _OURS)
        await self._refresh_available()
        await self._refresh_pods()
        for kind in (SCALED_OBJECT, POD_AUTOSCALER):
            await self._refresh_optional(kind, "")
        try:
            await self._refresh(GENERATION_SERVICE, "")
        except NotFoundError as error:
            raise NotFoundError(
                error.status, f"the API server does not know {PLURAL}.{GROUP}: apply the CRD, then start again"
            ) from error
        return sorted(before | self._store.keys(GENERATION_SERVICE))

    async def _refresh_pods(self) -> None:
        found = PodIndex()

        def take(manifest: Manifest) -> Manifest:
            found.put(manifest)
            return _TAKEN

        await self._list(POD, _OURS, take)
        self._store.pods.replace(found)

    async def _refresh_available(self) -> None:
        available = Available(
            vertical_pod_autoscaler=await self._refresh_optional(VPA, ""),
            pod_monitor=await self._refresh_optional(POD_MONITOR, _OURS),
            custom_metrics=await self._cluster.serves(CUSTOM_METRICS_GROUP),
        )
        if available != self._available:
            _log.info("optional APIs: %s", available)
        self._available = available

    async def _refresh_optional(self, kind: Kind, selector: str) -> bool:
        """Whether there are such objects: an API that is not there, or may not be seen, has none."""
        try:
            await self._refresh(kind, selector)
        except ClusterError as error:
            if error.status not in (403, 404):
                raise
            for key in self._store.keys(kind):
                self._store.remove(kind, key)
            for key in self._store.claimants(kind):
                self._store.put_claim(kind, key, None)
            return False
        return True

    async def _refresh(self, kind: Kind, selector: str) -> None:
        before, claimants = self._store.keys(kind), self._store.claimants(kind)
        ours: set[Key] = set()
        foreign: set[Key] = set()

        def take(manifest: Manifest) -> Manifest:
            key = key_of(manifest)
            if kind in RIVALS and not is_ours(manifest):
                # A watch event that came meanwhile may be newer. The next one, or the next round, mends that.
                self._store.put_claim(kind, key, claim_of(kind, manifest))
                foreign.add(key)
                return _TAKEN
            ours.add(key)
            # Watch events go on arriving while the list is under way: what they took away is not put back. Nearly all
            # objects are as they were, and keeping one takes longer than finding that out.
            gone = key in before and not self._store.has(kind, key)
            if not gone and not self._store.knows(kind, manifest):
                self._store.put(kind, manifest)
            return _TAKEN

        await self._list(kind, selector, take)
        for key in (claimants & self._store.claimants(kind)) - foreign:
            self._store.put_claim(kind, key, None)
        # What watch events brought meanwhile was not there before.
        for key in (before & self._store.keys(kind)) - ours:
            _log.info("%s %s is gone", kind.kind, key)
            self._store.remove(kind, key)

    async def _list(self, kind: Kind, selector: str, take: Callable[[Manifest], Manifest]) -> None:
        """Have each object taken as soon as it was read: thousands at once take hundreds of megabytes."""
        for namespace in self._namespaces:
            await self._cluster.list(kind, namespace, label_selector=selector, transform=take)

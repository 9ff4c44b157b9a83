"""Compare what we believe with what is: list everything, forget what is gone, have every resource looked at again.

Watch events are quick but not complete: an object deleted while a watch was interrupted is never reported. This loop
bounds how long such a gap lasts, and notices when an optional API comes or goes. A list that fails
changes nothing: not knowing is not the same as being gone.

Of kinds that may scale a Deployment of ours it lists everybody's objects, and keeps of foreign ones what they claim.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
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
from generation_operator.observe.store import Store

_log = logging.getLogger(__name__)

_OURS: Final = f"{LABEL_MANAGED_BY}={OPERATOR}"
_CHILDREN: Final = (DEPLOYMENT, SERVICE, SERVICE_ACCOUNT, CONFIG_MAP, PDB, HPA)


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
        """One round every `seconds`, the first after `seconds`; a failed round is logged, the next one tries again."""
        while True:
            await asyncio.sleep(self._seconds)
            try:
                await self.once()
            except ClusterError as error:
                _log.warning("resync: %s; next round in %.0f s", error, self._seconds)

    async def once(self) -> None:
        """One round. Children come first, so that nobody sees a resource whose existing children seem to be missing.

        Raises:
            ClusterError: a list failed; kinds that were listed before it are up to date.
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
        for key in sorted(before | self._store.keys(GENERATION_SERVICE)):
            self._enqueue(key)

    async def _refresh_pods(self) -> None:
        lean = partial(self._store.lean, POD)
        listed = [
            await self._cluster.list(POD, namespace, label_selector=_OURS, transform=lean)
            for namespace in self._namespaces
        ]
        self._store.pods.replace(pod for pods in listed for pod in pods)

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
        listed: dict[Key, Manifest] = {}
        foreign: dict[Key, Manifest] = {}
        for namespace in self._namespaces:
            lean = partial(self._store.lean, kind)
            for manifest in await self._cluster.list(kind, namespace, label_selector=selector, transform=lean):
                ours = kind not in RIVALS or is_ours(manifest)
                (listed if ours else foreign)[key_of(manifest)] = manifest
        for key in (claimants & self._store.claimants(kind)) | foreign.keys():
            # A watch event that came meanwhile may be newer. The next one, or the next round, mends that.
            self._store.put_claim(kind, key, claim_of(kind, foreign[key]) if key in foreign else None)
        # Watch events went on arriving while the list was under way. What they brought is not pruned, and what they
        # took away is not put back.
        now = self._store.keys(kind)
        for key in (before & now) - listed.keys():
            _log.info("%s %s is gone", kind.kind, key)
            self._store.remove(kind, key)
        for key, manifest in listed.items():
            # Nearly all of them are as they were, and keeping one takes longer than finding that out.
            if (key in now or key not in before) and not self._store.knows(kind, manifest):
                self._store.put(kind, manifest)

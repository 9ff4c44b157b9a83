"""Remind the autoscaler of the past after a start, or when it comes to know a resource that is older.

In the background: decisions are made meanwhile, on what is known. A past that cannot be had is asked for again later;
without it forecasts of the season wait until they have seen one.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final, Protocol

from generation_operator.api.kinds import GENERATION_SERVICE
from generation_operator.api.model import Switch
from generation_operator.api.resource import GenerationService, Key
from generation_operator.api.spec import MetricSignal, Policy
from generation_operator.decide.forecast import SLOT_SECONDS
from generation_operator.decide.history import slots_before
from generation_operator.decide.types import Seconds
from generation_operator.loops.services import Services
from generation_operator.observe.history import ArrivalHistory, HistoryError
from generation_operator.observe.store import Store

_log: Final = logging.getLogger(__name__)

ROUND_SECONDS: Final = 60.0
_AGAIN_SECONDS: Final = 600.0  # after a failure: it matters tomorrow, not now


class Reminded(Protocol):
    """Who is told."""

    def remind(self, service: GenerationService, rates: Mapping[int, float]) -> None:
        """Take note of arrivals per second by slot."""


class Recall:
    """Asks once for the past of each resource.

    Args:
        store: where resources are.
        services: the same, parsed.
        history: who knows the past.
        reminded: who is told of it.
        clock: Unix time in seconds.
        prometheus_default_url: for resources that name no Prometheus.
    """

    def __init__(
        self,
        store: Store,
        services: Services,
        history: ArrivalHistory,
        reminded: Reminded,
        *,
        clock: Callable[[], float],
        prometheus_default_url: str | None,
    ) -> None:
        self._store = store
        self._services = services
        self._history = history
        self._reminded = reminded
        self._clock = clock
        self._prometheus_default_url = prometheus_default_url
        self._done: dict[Key, str] = {}  # with the uid
        self._not_before: dict[str, float] = {}  # by URL

    async def run(self) -> None:
        """Look for resources without a past every minute, until cancelled."""
        while True:
            await self.once()
            await asyncio.sleep(ROUND_SECONDS)

    async def once(self) -> None:
        """Ask for the past of all resources that lack it."""
        now = self._clock()
        by_url: dict[str, list[GenerationService]] = defaultdict(list)
        known = [entry.service for entry in self._services.all()]
        for gone in self._done.keys() - {service.key for service in known}:
            del self._done[gone]
        for service in known:
            url = service.spec.metrics.prometheus_url or self._prometheus_default_url
            if url and self._done.get(service.key) != service.uid and self._has_a_past(service, now):
                by_url[url].append(service)
        for url, services in by_url.items():
            if now >= self._not_before.get(url, now):
                await self._ask(url, services, Seconds(now))

    async def _ask(self, url: str, services: list[GenerationService], now: Seconds) -> None:
        try:
            found = await self._history.read(url, slots_before(now), services=len(services), own=_own(services))
        except HistoryError as error:
            self._not_before[url] = now + _AGAIN_SECONDS
            _log.warning("the past of %d services is not known (%s); asking again later", len(services), error)
            return
        for service in services:
            self._done[service.key] = service.uid
            if rates := found.get(service.key):
                self._reminded.remind(service, rates)
        _log.info("the past of %d of %d services is known", len(found.keys() & self._done.keys()), len(services))

    def _has_a_past(self, service: GenerationService, now: float) -> bool:
        """Whether there can be something to remember that forecasts read and that was not seen by ourselves."""
        scaling = service.spec.scaling
        if scaling.policy is not Policy.TARGETS or scaling.targets.forecast is not Switch.ENABLED:
            return False
        resource = self._store.get(GENERATION_SERVICE, service.key) or {"metadata": {}}
        try:
            made = datetime.fromisoformat(str(resource["metadata"].get("creationTimestamp"))).timestamp()
        except ValueError:
            return True
        return now - made > SLOT_SECONDS


def _own(services: list[GenerationService]) -> dict[Key, str]:
    """The queries of those that say themselves where their arrivals come from."""
    return {
        service.key: entry.query
        for service in services
        for entry in service.spec.metrics.queries
        if entry.signal is MetricSignal.WORKFLOW_ARRIVALS
    }

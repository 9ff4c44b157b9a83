"""Remember, for each service, who else has written its replica count, from tick to tick and over a restart.

It looks at what the store has and asks nobody. What it finds is for the decision (a count by hand is an override), the
actuator (nothing is written against a rival), the status and the Events.
"""

import dataclasses
from collections.abc import Callable, Collection, Mapping
from typing import Any

from generation_operator.api.kinds import Manifest
from generation_operator.api.resource import GenerationService, Key, key_of
from generation_operator.api.spec import Mode
from generation_operator.decide.types import Seconds
from generation_operator.observe.ownership import Standing, Trace, noticed, remembered, standing
from generation_operator.observe.store import Store
from generation_operator.reconcile.scaling import conflicted_before, manual_from_status


class Standings:
    """Who else has a say, by service.

    Args:
        store: where foreign claims are read.
        keep_seconds: how long a count that somebody wrote by hand is kept.
    """

    def __init__(self, store: Store, *, keep_seconds: float) -> None:
        self._store = store
        self._keep_seconds = keep_seconds
        # With the uid: a new resource starts anew. With the Deployment as it was at the last look.
        self._traces: dict[Key, tuple[str, Manifest, Trace, Standing]] = {}

    def look(
        self, service: GenerationService, told: Callable[[], Mapping[str, Any]], deployment: Manifest, now: Seconds
    ) -> tuple[Standing, Standing]:
        """What was known at the last look, and what is known now.

        Args:
            service: the parsed resource.
            told: gives the status that it tells; asked at the first look since the start.
            deployment: its Deployment as last seen.
            now: Unix seconds.
        """
        uid, looked_at, trace, before = self._traces.get(service.key, ("", {}, Trace(), Standing()))
        first = uid != service.uid
        status = told() if first else {}
        if first:
            manual = manual_from_status(status)
            looked_at = {}
            trace, before = remembered(manual, keep_seconds=self._keep_seconds), Standing(manual=manual)
        if service.mode is Mode.RECOMMEND:
            # Nothing of ours writes, so whoever does is in nobody's way.
            looked_at, trace, found = {}, Trace(), Standing()
        else:
            # The same object again, and nothing noticed that time would make forgotten: there is nothing new to notice.
            if deployment is not looked_at or trace.writes:
                looked_at, trace = deployment, noticed(trace, deployment, keep_seconds=self._keep_seconds, now=now)
            claims = self._store.claims_on(key_of(deployment))
            found = standing(trace, claims, keep_seconds=self._keep_seconds, now=now)
        if first and conflicted_before(status):
            before = dataclasses.replace(before, rivals=found.rivals)  # told before the restart
        self._traces[service.key] = service.uid, looked_at, trace, found
        return before, found

    def forget_all_but(self, keys: Collection[Key]) -> None:
        """Forget services that are gone."""
        for key in self._traces.keys() - set(keys):
            del self._traces[key]

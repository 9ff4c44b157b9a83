"""Remember for a minute what the HPA was seen to need.

CPU use is a mean over the recent past: right after a scale-down each of the remaining pods still shows the share that
it had before, and the need that follows from it is too small by just the pods that went. (Seen on a real HPA: three
pods at the 42 % that five had shared, a need of two, and 70 % half a minute later.) Whoever lowered by that would see
the HPA raise again. So the greatest need of the last minute counts, as in the HPA's own window for scaling down. It is
in the status, so that a process that has just started knows it too.
"""

import dataclasses
from collections.abc import Callable, Collection
from typing import Final

from generation_operator.api.resource import GenerationService, Key
from generation_operator.decide.types import Guard, Replicas, Seconds

# Up to 15 s until the kubelet samples, 15 s until the HPA looks, and the mean of a sampling interval in between.
WINDOW_SECONDS: Final = 60.0

_Seen = tuple[tuple[Seconds, Replicas], ...]  # oldest first, needs falling: what a greater one followed never counts


class Needs:
    """What the HPA of each service was seen to need."""

    def __init__(self) -> None:
        self._seen: dict[Key, tuple[str, _Seen]] = {}  # with the uid: a new resource starts anew

    def held(
        self,
        service: GenerationService,
        guard: Guard,
        now: Seconds,
        *,
        told: Callable[[], Replicas | None] = lambda: None,
    ) -> Guard:
        """The greatest need of the last minute; what the HPA needs now is unknown while it has no metrics.

        Args:
            service: whose HPA it is.
            guard: what its HPA needs now.
            now: on the caller's clock.
            told: what the status says was held; asked at the first look since the start. How old it is nobody knows
                then, so it counts for a minute.
        """
        uid, seen = self._seen.get(service.key, ("", ()))
        if uid != service.uid:
            replicas = told()
            seen = () if replicas is None else ((now, replicas),)
        seen = tuple(entry for entry in seen if now - entry[0] < WINDOW_SECONDS)
        if guard.replicas is not None:
            need = guard.replicas
            seen = (*(entry for entry in seen if entry[1] > need), (now, need))
        self._seen[service.key] = service.uid, seen
        return dataclasses.replace(guard, replicas=seen[0][1]) if seen else guard

    def forget_all_but(self, keys: Collection[Key]) -> None:
        """Forget services that are gone."""
        for key in self._seen.keys() - set(keys):
            del self._seen[key]

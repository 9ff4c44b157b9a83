"""What the pods of one service say about their load, added up. Pure: no clock, no network.

A pod tells how much it works on, how much waits, and how much has arrived since it started. One that does not answer is
not idle: what the others say is scaled up for it. A counter that falls is a pod that began anew.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

_IN_FLIGHT: Final = b"generation_service_load_in_flight"
_QUEUED: Final = b"generation_service_load_queued"
_ARRIVED: Final = b"generation_service_load_arrived_total"
# Nobody works on a billion workflows; what says so is no pod of ours.
_LARGEST: Final = 1e15
# Two samples of one pod that are closer together give a rate of little more than chance.
_LEAST_SECONDS: Final = 0.5
# A pod that was last seen longer ago says nothing about the rate now.
_LONGEST_SECONDS: Final = 60.0


class PodLoad(NamedTuple):
    """What one pod said."""

    in_flight: float
    queued: float
    arrived: float  # since the pod's process started


@dataclass(frozen=True, slots=True)
class Load:
    """What all ready pods of a service do, estimated from those that answered.

    `arrivals` is in workflows per second, None until two samples of a pod can be compared.
    """

    in_flight: float
    queued: float
    arrivals: float | None
    at: float  # when the first of them answered, seconds on the sampler's clock
    expected: int  # pods that should have answered
    answered: int


def parse_load(answer: bytes) -> PodLoad | None:
    """The three numbers of Prometheus text without labels; None when one is absent or can be no count."""
    found: dict[bytes, float] = {}
    for line in answer.splitlines():
        name, _, value = line.partition(b" ")
        if name in (_IN_FLIGHT, _QUEUED, _ARRIVED):
            try:
                number = float(value)
            except ValueError:
                return None
            if not 0 <= number <= _LARGEST:  # refuses NaN too
                return None
            found[name] = number
    if len(found) < len(PodLoad._fields):
        return None
    return PodLoad(found[_IN_FLIGHT], found[_QUEUED], found[_ARRIVED])


class Answer(NamedTuple):
    """What a pod said, and when."""

    load: PodLoad
    at: float  # seconds on a monotonic clock


class Fleet:
    """The last samples of one service's pods."""

    def __init__(self) -> None:
        self._seen: dict[str, Answer] = {}

    def add_up(self, answers: Mapping[str, Answer], ready: Collection[str], expected: int, now: float) -> Load:
        """Take in one round of samples.

        Args:
            answers: by the uid of each pod that answered.
            ready: uids of all ready pods; the others are forgotten.
            expected: pods that should have answered.
            now: seconds on the clock of the answers.
        """
        rates = []
        for uid, answer in answers.items():
            rate = self._rate(uid, answer)
            if rate is not None:
                rates.append(rate)
            if uid not in self._seen or answer.at - self._seen[uid].at >= _LEAST_SECONDS:
                self._seen[uid] = answer
        for gone in self._seen.keys() - set(ready):
            del self._seen[gone]
        share = len(ready) / len(answers) if answers else 0.0
        return Load(
            in_flight=math.fsum(answer.load.in_flight for answer in answers.values()) * share,
            queued=math.fsum(answer.load.queued for answer in answers.values()) * share,
            arrivals=math.fsum(rates) / len(rates) * len(ready) if rates else None,
            at=min((answer.at for answer in answers.values()), default=now),
            expected=expected,
            answered=len(answers),
        )

    def busy(self) -> dict[str, float]:
        """Work in flight and waiting by uid, as last sampled."""
        return {uid: seen.load.in_flight + seen.load.queued for uid, seen in self._seen.items()}

    def _rate(self, uid: str, answer: Answer) -> float | None:
        before = self._seen.get(uid)
        if before is None or not _LEAST_SECONDS <= answer.at - before.at <= _LONGEST_SECONDS:
            return None
        grown = answer.load.arrived - before.load.arrived
        # A counter that fell began again at zero, so all it shows has come since.
        return (grown if grown >= 0 else answer.load.arrived) / (answer.at - before.at)

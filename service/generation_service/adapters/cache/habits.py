"""What tends to be asked for: which key after which, and how often, with older times counting less.

Every table is bounded, every operation is constant time (on average), and only differences of the clock are used.
"""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from heapq import nlargest
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


@dataclass(slots=True)
class _Weight:
    value: float
    at: float


class Decaying(Generic[Key]):
    """Counts that lose half of their weight every half-life.

    Args:
        limit: keys that are kept; when there are a tenth more, the lightest go.
        half_life_seconds: shorter: follows changes sooner, knows less.
    """

    def __init__(self, limit: int, half_life_seconds: float) -> None:
        self._limit = limit
        self._half_life = half_life_seconds
        self._weights: dict[Key, _Weight] = {}

    def __len__(self) -> int:
        return len(self._weights)

    def add(self, key: Key, now: float) -> None:
        """Count one."""
        weight = self._weights.get(key)
        if weight is None:
            self._weights[key] = _Weight(1.0, now)
            if len(self._weights) > self._limit + max(1, self._limit // 10):
                self._thin(now)
        else:
            weight.value = self._decayed(weight, now) + 1.0
            weight.at = now

    def weight(self, key: Key, now: float) -> float:
        """What is left of the counts; 0 for a key that is not known."""
        weight = self._weights.get(key)
        return 0.0 if weight is None else self._decayed(weight, now)

    def heaviest(self, number: int, now: float) -> list[Key]:
        """Keys with the most weight, heaviest first."""
        ranked = nlargest(number, self._weights.items(), key=lambda item: self._decayed(item[1], now))
        return [key for key, _ in ranked]

    def total(self, now: float) -> float:
        """All weights together. Linear."""
        return sum(self._decayed(weight, now) for weight in self._weights.values())

    def _decayed(self, weight: _Weight, now: float) -> float:
        return float(weight.value * 0.5 ** ((now - weight.at) / self._half_life))

    def _thin(self, now: float) -> None:
        kept = self.heaviest(self._limit, now)
        self._weights = {key: self._weights[key] for key in kept}


@dataclass(slots=True)
class Successors(Generic[Key]):
    """Which key came right after which (first order).

    Attributes:
        keys: keys whose successors are kept; the one that was not asked for longest goes first.
        each: successors of one key.
        half_life_seconds: see `Decaying`.
    """

    keys: int
    each: int
    half_life_seconds: float
    _table: OrderedDict[Key, Decaying[Key]] = field(default_factory=OrderedDict)
    _last: Key | None = None

    def __len__(self) -> int:
        return len(self._table)

    def add(self, key: Key, now: float) -> None:
        """Note the next key of the sequence."""
        last, self._last = self._last, key
        if last is None or last == key:
            return
        followers = self._table.get(last)
        if followers is None:
            followers = self._table[last] = Decaying(self.each, self.half_life_seconds)
            if len(self._table) > self.keys:
                self._table.popitem(last=False)
        else:
            self._table.move_to_end(last)
        followers.add(key, now)

    def interrupt(self) -> None:
        """Forget what came last: the next key does not follow it."""
        self._last = None

    def likely(self, key: Key, now: float, *, support: float, share: float) -> list[Key]:
        """Keys that followed at least `support` times (decayed) and in this `share` of the cases, likeliest first."""
        followers = self._table.get(key)
        if followers is None:
            return []
        total = followers.total(now)
        ranked = followers.heaviest(self.each, now)
        return [
            each for each in ranked if (weight := followers.weight(each, now)) >= support and weight >= share * total
        ]

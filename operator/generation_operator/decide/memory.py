"""What the policy `Targets` remembers from one decision to the next. Bounded in size, plain values only.

Tuples and not dataclasses: each decision replaces some of them a dozen times, and `dataclasses.replace` takes five
times as long as `_replace`. The two long series are packed: as objects they take 120 kB per service, packed 8.
"""

import math
import struct
from array import array
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

MAX_BINS: Final = 400
MAX_RAISES: Final = 32
MAX_STARTING: Final = 32
MAX_PENDING: Final = 16
_PAIR: Final = struct.Struct("=2f")  # a count of some minutes needs no more than seven digits
_LARGEST: Final = 3e38  # that 32 bits can hold
_RATE: Final = struct.Struct("=e")
_PIECE: Final = 288  # slots: a day of them
_NOTHING_SEEN: Final = _RATE.pack(math.nan) * _PIECE
_LARGEST_RATE: Final = 65504.0  # that 16 bits can hold; 20,000 replicas could not keep up with it


class Bin(NamedTuple):
    """Workflows that arrived within some seconds."""

    seconds: float
    arrived: float


class Bins:
    """The newest `MAX_BINS` intervals, oldest first; a value, like a tuple of `Bin`."""

    __slots__ = ("_packed",)

    def __init__(self, bins: Iterable[Bin] = (), *, packed: bytes = b"") -> None:
        added = b"".join(_PAIR.pack(min(seconds, _LARGEST), min(arrived, _LARGEST)) for seconds, arrived in bins)
        self._packed = (packed + added)[-MAX_BINS * _PAIR.size :]

    def followed_by(self, newest: Bin) -> "Bins":
        """These and one more."""
        return Bins((newest,), packed=self._packed)

    def newest(self, count: int) -> tuple["array[float]", "array[float]"]:
        """Seconds, and arrivals, of up to `count` intervals, newest first."""
        flat = array("f", self._packed[-count * _PAIR.size :])
        return flat[-2::-2], flat[::-2]

    def __iter__(self) -> Iterator[Bin]:
        return (Bin(*pair) for pair in _PAIR.iter_unpack(self._packed))

    def __len__(self) -> int:
        return len(self._packed) // _PAIR.size

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Bins) and self._packed == other._packed

    def __hash__(self) -> int:
        return hash(self._packed)

    def __repr__(self) -> str:
        return f"Bins({list(self)})"


class Raise(NamedTuple):
    """A count that was asked for, and when."""

    at: float
    replicas: int


class Starting(NamedTuple):
    """Replicas that were first seen starting at about the same time."""

    since: float
    replicas: int


class Pending(NamedTuple):
    """Arrival rates that were forecast for one moment, to be compared when it has come."""

    due: float
    persistence: float
    trend: float
    season: float | None


class Backtest(NamedTuple):
    """How wrong each forecast has been of late: decaying means of the quantile loss, workflows per second."""

    compared: int = 0  # counted up to forecast.ENOUGH
    persistence: float = 0.0
    trend: float = 0.0
    seasons: int = 0  # comparisons of the season, counted up to forecast.ENOUGH
    persistence_beside_season: float = 0.0
    season: float = 0.0
    pending: tuple[Pending, ...] = ()


class Rates:
    """One arrival rate, or None, for each of a fixed number of slots; a value, like a tuple.

    Kept in 16 bits, to 0.05 %: less than chance alone moves the mean of five minutes at 10,000 per second (0.06 %). In
    pieces, so that what was never seen takes no room, and a new rate does not cost a copy of all others.
    """

    __slots__ = ("_pieces",)

    def __init__(self, rates: Iterable[float | None] = (), *, pieces: tuple[bytes, ...] = ()) -> None:
        packed = b"".join(_RATE.pack(_storable(rate)) for rate in rates)
        starts = range(0, len(packed), _PIECE * _RATE.size)
        self._pieces = pieces + tuple(_shared(packed[start : start + starts.step]) for start in starts)

    def having(self, changes: Iterable[tuple[int, float | None]]) -> "Rates":
        """These with other rates in some slots."""
        changed: dict[int, bytearray] = {}
        for slot, rate in changes:
            number, place = divmod(slot, _PIECE)
            piece = changed.setdefault(number, bytearray(self._pieces[number]))
            _RATE.pack_into(piece, place * _RATE.size, _storable(rate))
        return Rates(
            pieces=tuple(
                _shared(bytes(changed[number])) if number in changed else piece
                for number, piece in enumerate(self._pieces)
            )
        )

    def __getitem__(self, slot: int) -> float | None:
        number, place = divmod(slot, _PIECE)
        (rate,) = _RATE.unpack_from(self._pieces[number], place * _RATE.size)
        return None if math.isnan(rate) else rate

    def __iter__(self) -> Iterator[float | None]:
        return (self[slot] for slot in range(len(self)))

    def __len__(self) -> int:
        return sum(map(len, self._pieces)) // _RATE.size

    def __bool__(self) -> bool:
        return bool(self._pieces)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rates) and self._pieces == other._pieces

    def __hash__(self) -> int:
        return hash(self._pieces)

    def __repr__(self) -> str:
        return f"Rates({list(self)})"


def _shared(piece: bytes) -> bytes:
    return _NOTHING_SEEN if piece == _NOTHING_SEEN else piece


def _storable(rate: float | None) -> float:
    return math.nan if rate is None else min(rate, _LARGEST_RATE)


class Profile(NamedTuple):
    """Mean arrival rates of the last eight days in slots of five minutes, by slot number modulo `len(rates)`.

    `slot` counts five-minute slots since the epoch; a rate is None where nothing was seen.
    """

    rates: Rates = Rates()
    slot: int = 0
    seconds: float = 0.0  # observed so far in the current slot
    arrived: float = 0.0  # so far in the current slot


class Memory(NamedTuple):
    """Empty after a start.

    Attributes:
        bins: recent arrivals, newest last.
        sampled_at: when the newest sample was taken, seconds on the caller's clock; None before the first.
        in_system: workflows in a slot or waiting at that time.
        service_seconds: last measured mean time in a slot.
        guessed_service: what workflows in flight and arrivals tell of it, until it is measured.
        starting: replicas on their way, oldest first.
        ready: replicas that were ready at the last decision.
        learnt_startup: mean time from first being seen to being ready, in seconds; None before the first one.
        raises: recent counts above the one at the time, their replicas falling from the oldest to the newest.
        lowered_at: when replicas were last removed and the removal has not been judged yet.
        hold_scale: how much longer (or shorter) than the base hold a scale-down waits; learnt.
        startup_seconds: start-up time of the last decision.
        hindsight: replicas that the recent past would have needed, of the last decision.
    """

    bins: Bins = Bins()
    sampled_at: float | None = None
    in_system: float | None = None
    service_seconds: float | None = None
    guessed_service: float | None = None
    starting: tuple[Starting, ...] = ()
    ready: int = 0
    learnt_startup: float | None = None
    raises: tuple[Raise, ...] = ()
    lowered_at: float | None = None
    hold_scale: float = 1.0
    startup_seconds: float = 0.0
    hindsight: int = 0
    backtest: Backtest = Backtest()
    profile: Profile = Profile()

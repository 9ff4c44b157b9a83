"""What the policy `Targets` remembers from one decision to the next. Bounded in size, plain values only."""

from dataclasses import dataclass, field
from typing import Final, NamedTuple

MAX_BINS: Final = 400
MAX_RAISES: Final = 32
MAX_STARTING: Final = 32
MAX_PENDING: Final = 16


class Bin(NamedTuple):
    """Workflows that arrived within some seconds."""

    seconds: float
    arrived: float


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


@dataclass(frozen=True, slots=True)
class Backtest:
    """How wrong each forecast has been of late: decaying means of the quantile loss, workflows per second."""

    compared: int = 0  # counted up to forecast.ENOUGH
    persistence: float = 0.0
    trend: float = 0.0
    seasons: int = 0  # comparisons of the season, counted up to forecast.ENOUGH
    persistence_beside_season: float = 0.0
    season: float = 0.0
    pending: tuple[Pending, ...] = ()


@dataclass(frozen=True, slots=True)
class Profile:
    """Mean arrival rates of the last eight days in slots of five minutes, by slot number modulo `len(rates)`.

    `slot` counts five-minute slots since the epoch; a rate is None where nothing was seen.
    """

    rates: tuple[float | None, ...] = ()
    slot: int = 0
    seconds: float = 0.0  # observed so far in the current slot
    arrived: float = 0.0  # so far in the current slot


@dataclass(frozen=True, slots=True)
class Memory:
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

    bins: tuple[Bin, ...] = ()
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
    backtest: Backtest = field(default_factory=Backtest)
    profile: Profile = field(default_factory=Profile)

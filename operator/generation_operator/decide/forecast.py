"""What the arrival rate will be by the time a new replica is ready, and whether such forecasts have been any good.

There are three: it stays as it is (persistence), it goes on growing as it certainly does (trend), it does what it did
at this time yesterday or a week ago (season). The other two may act only while their own recent forecasts lost less
than persistence by the quantile loss at 90 %, which charges a shortfall nine times as much as an excess. And they may
only raise: no forecast is a reason to remove a replica.
"""

from typing import Final, NamedTuple

from generation_operator.decide.arrivals import Estimate
from generation_operator.decide.memory import MAX_PENDING, Backtest, Memory, Pending, Profile, Rates

ENOUGH: Final = 4  # comparisons before a forecast may act
_QUANTILE: Final = 0.9
_DECAY: Final = 0.1  # weight of the newest comparison
# Forecasts are compared over at most this time: a trend shows within it whether it is one, and a flash crowd is over
# before a comparison at 60 s could count.
_HORIZON_SECONDS: Final = 20.0
SLOT_SECONDS: Final = 300.0
SLOTS: Final = 8 * 288  # eight days
_DAY: Final = 288
_WEEK: Final = 7 * 288
UNSEEN: Final = Rates([None] * SLOTS)


class Forecast(NamedTuple):
    """What may be reckoned with beyond persistence."""

    growth: float  # workflows per second, per second; 0 unless the trend is trusted
    lasts: float  # seconds that it goes on
    season: float | None  # workflows per second; None unless the season is trusted
    text: str


def forecast(memory: Memory, now: Estimate, at: float, startup_seconds: float) -> tuple[Forecast, Memory]:
    """Compare what is due, forecast anew, and say what may be used.

    Args:
        memory: what is remembered, today's arrivals in its profile included.
        now: the arrival rate and its growth.
        at: seconds on the caller's clock, Unix time for the season to mean anything.
        startup_seconds: of a new replica.
    """
    season = _season(memory.profile, at, startup_seconds)
    horizon = min(startup_seconds, _HORIZON_SECONDS)
    backtest = _compared(memory.backtest, now.rate, at)
    last_due = backtest.pending[-1].due if backtest.pending else 0.0
    # Four per horizon: more would say the same again, fewer would be late.
    if at + horizon - last_due >= horizon / 4 and len(backtest.pending) < MAX_PENDING:
        new = Pending(at + horizon, now.rate, now.rate + now.growth * min(horizon, now.lasts), season)
        backtest = backtest._replace(pending=(*backtest.pending, new))
    trend_wins = backtest.compared >= ENOUGH and backtest.trend < backtest.persistence
    season_wins = backtest.seasons >= ENOUGH and backtest.season < backtest.persistence_beside_season
    told = [
        f"trend {now.growth:+.3g}/s per s {'trusted' if trend_wins else 'not trusted'}",
        "no season yet" if season is None else f"season {season:.3g}/s {'trusted' if season_wins else 'not trusted'}",
    ]
    used = Forecast(now.growth if trend_wins else 0.0, now.lasts, season if season_wins else None, ", ".join(told))
    return used, memory._replace(backtest=backtest)


def profiled(profile: Profile, seconds: float, arrived: float, at: float) -> Profile:
    """The profile with what has just arrived.

    Args:
        profile: the one so far.
        seconds: how long was observed.
        arrived: workflows in that time.
        at: the end of that time.
    """
    slot = int(at // SLOT_SECONDS)
    if slot == profile.slot and profile.rates:
        return profile._replace(seconds=profile.seconds + seconds, arrived=profile.arrived + arrived)
    changes: list[tuple[int, float | None]] = []
    if profile.seconds > 0:
        changes.append((profile.slot % SLOTS, profile.arrived / profile.seconds))
    changes += [(passed % SLOTS, None) for passed in range(profile.slot + 1, min(slot, profile.slot + SLOTS) + 1)]
    rates = profile.rates or UNSEEN
    return Profile(rates.having(changes), slot, seconds, arrived)


def _season(profile: Profile, at: float, startup_seconds: float) -> float | None:
    """The highest rate of yesterday's and last week's slots from now until a new replica is ready."""
    if not profile.rates:
        return None
    first, last = int(at // SLOT_SECONDS), int((at + startup_seconds) // SLOT_SECONDS)
    slots = range(first, min(last, first + _DAY) + 1)
    seen = [profile.rates[(slot - back) % SLOTS] for back in (_DAY, _WEEK) for slot in slots]
    return max((rate for rate in seen if rate is not None), default=None)


def _compared(backtest: Backtest, actual: float, at: float) -> Backtest:
    """The back-test after comparing the forecasts that are due."""
    due = 0
    while due < len(backtest.pending) and backtest.pending[due].due <= at:
        entry = backtest.pending[due]
        persistence = _loss(entry.persistence, actual)
        backtest = backtest._replace(
            compared=min(backtest.compared + 1, ENOUGH),
            persistence=_decayed(backtest.persistence, persistence),
            trend=_decayed(backtest.trend, _loss(entry.trend, actual)),
        )
        if entry.season is not None:
            backtest = backtest._replace(
                seasons=min(backtest.seasons + 1, ENOUGH),
                persistence_beside_season=_decayed(backtest.persistence_beside_season, persistence),
                season=_decayed(backtest.season, _loss(entry.season, actual)),
            )
        due += 1
    return backtest._replace(pending=backtest.pending[due:]) if due else backtest


def _decayed(mean: float, newest: float) -> float:
    return mean + _DECAY * (newest - mean)


def _loss(predicted: float, actual: float) -> float:
    """Quantile loss: what a forecast of the 90 % quantile is charged."""
    short = actual - predicted
    return _QUANTILE * short if short > 0 else (_QUANTILE - 1) * short

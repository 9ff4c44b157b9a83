"""Counts what the cache does. A ratio without a sample is None, never 0."""

from dataclasses import dataclass


@dataclass(slots=True)
class Counts:
    """Events since the start; the differences of two moments are the figures of the time between."""

    l1_hits: int = 0
    l1_misses: int = 0  # level asked, no answer; a level that was passed over counts nothing
    l2_hits: int = 0
    l2_misses: int = 0
    lookups: int = 0
    loads: int = 0
    load_failures: int = 0
    bypassed: int = 0
    refreshed: int = 0  # asked for by clients
    early_refreshes: int = 0
    early_refresh_failures: int = 0
    waited_for_replica: int = 0  # loads that were not needed: another replica did them meanwhile


@dataclass(frozen=True, slots=True)
class LevelOneStatistics:
    """The level in this process."""

    hits: int
    misses: int
    hit_ratio: float | None
    entries: int
    bytes: int
    max_entries: int
    max_bytes: int
    evictions: int
    expirations: int
    skipped: int
    trusted: bool  # False: notices of other replicas' changes do not come, so it is used only if Redis is away


@dataclass(frozen=True, slots=True)
class LevelTwoStatistics:
    """Redis."""

    hits: int
    misses: int
    hit_ratio: float | None
    errors: int
    available: bool  # the breaker is closed
    opened: int  # times the breaker gave it up
    tracking_losses: int
    waiting_revocations: int


@dataclass(frozen=True, slots=True)
class CacheStatistics:
    """The whole cache, since the start."""

    hit_ratio: float | None
    lookups: int
    hits: int
    loads: int
    load_failures: int
    coalesced: int  # callers who shared a load of this process
    waited_for_replica: int
    bypassed: int
    refreshed: int
    early_refreshes: int
    early_refresh_failures: int
    ttl_factor: float
    l1: LevelOneStatistics
    l2: LevelTwoStatistics | None  # None: there is no second level


def ratio(part: int, whole: int) -> float | None:
    """Share of `part`; None without a sample."""
    return part / whole if whole else None

"""What can be chosen about the cache; every number says its unit and what it trades."""

import re
from dataclasses import dataclass

PREFIX = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """Settings of one cache. Raises `ValueError` that names the field."""

    prefix: str = "generation"  # of every key in Redis; replicas that share answers share it
    schema: int = 1  # raise it when the meaning of kept bytes changes: old answers become misses
    ttl_seconds: float = 3600.0  # longer: more hits, older answers
    negative_ttl_seconds: float = 10.0  # at most, of answers that say there is none
    l1_ttl_seconds: float = 300.0  # at most, in this process: bounds how stale an answer is served while Redis is away
    ttl_jitter: float = 0.1  # up to this share is taken off each TTL, so that answers made together do not end together
    early_refresh: float = 1.0  # 0: never before the end; higher: sooner, fewer requests that wait, more loads
    max_refreshes: int = 8  # early refreshes at one time
    l1_entries: int = 20_000
    l1_bytes: int = 64 * 1024 * 1024  # payload, key and bookkeeping together
    max_value_bytes: int = 1024 * 1024  # larger answers are not kept at all
    timeout_seconds: float = 0.1  # of one call to Redis; also what a hanging Redis can add to a request
    connections: int = 8  # to Redis, tracking excluded
    batch_size: int = 128  # keys in one MGET
    probe_seconds: float = 1.0  # how often Redis is asked for its time; how soon it is used again after an outage
    lock_ttl_seconds: float = 5.0  # a load whose replica died blocks the others for this long
    lock_wait_seconds: float = 60.0  # the longest wait for the load of another replica that lives

    def __post_init__(self) -> None:
        if not PREFIX.fullmatch(self.prefix):
            raise ValueError(f"prefix: {self.prefix!r} is not 1 to 64 of a-z, 0-9, '_', '.', '-'; choose such a name.")
        for name in (
            "ttl_seconds",
            "negative_ttl_seconds",
            "l1_ttl_seconds",
            "max_refreshes",
            "l1_entries",
            "l1_bytes",
            "max_value_bytes",
            "timeout_seconds",
            "connections",
            "batch_size",
            "probe_seconds",
            "lock_ttl_seconds",
            "lock_wait_seconds",
        ):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: {getattr(self, name)} is not above 0; give a positive number.")
        if not 0 <= self.ttl_jitter < 1:
            raise ValueError(f"ttl_jitter: {self.ttl_jitter} is not from 0 to below 1; it is a share of the TTL.")
        if self.early_refresh < 0:
            raise ValueError(f"early_refresh: {self.early_refresh} is below 0; 0 switches it off.")

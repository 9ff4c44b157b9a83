"""What the optimizer can do. Every action does something real, has a bound, and can be undone step by step.

None ever flushes a cache, goes below a minimum, or raises anything above what was configured. An action that cannot
help now says why instead of doing something for the sake of it.
"""

import asyncio
import ctypes
import gc
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from generation_service.performance.rules import ActionName
from generation_service.performance.snapshot import MEGABYTE, Snapshot

SHRINK_TO: Final = 0.5  # of L1's configured bound
DECREASE: Final = 0.7  # multiplicative, as TCP backs off; additive recovery: one place per healthy sample
LEAST_SHARE: Final = 0.4  # of the configured places: with fewer, waiting costs more than the CPU that is saved
LARGEST_TTL_FACTOR: Final = 4.0
WARM_LIMIT: Final = 20  # requests; at about 1 s each and low concurrency this fits well into the cooldown
_OURS: Final = 0.5  # share of the used CPU that must be our process tree's


class AdaptableCache(Protocol):
    """What the actions need of the cache. Fractions and factors are of what was configured: repeating is harmless."""

    def shrink(self, fraction: float) -> object:
        """Lower the bound of L1 to this share of the configured one, and evict down to it."""

    def restore(self) -> None:
        """Set the bound of L1 back to the configured one."""

    def purge_expired(self) -> int:
        """Drop what nobody can be given any more; returns how many."""

    def set_ttl_factor(self, factor: float) -> object:
        """Keep answers this many times as long, and refresh them early; 1 is normal."""


class Resizable(Protocol):
    """What the actions need of a pool."""

    @property
    def size(self) -> int:
        """Places now."""

    @property
    def configured(self) -> int:
        """Places as configured."""

    def resize(self, size: int) -> None:
        """Change the number of places."""


class WarmsNow(Protocol):
    """What the actions need of the warmer."""

    async def warm_now(self, limit: int) -> int:
        """Start to load at most `limit` answers that are likely to be asked for; returns how many."""


class Action(Protocol):
    """Something that the optimizer can do and undo."""

    @property
    def name(self) -> ActionName:
        """Which one."""

    def refusal(self, recent: Sequence[Snapshot]) -> str | None:
        """Why it would not help now, or None."""

    async def apply(self) -> str:
        """Do it; returns what was done. May raise."""

    def relax(self) -> bool:
        """Undo a step, if anything is left to undo; True when thereby all of it was undone."""


def freeze_start_up() -> None:
    """Put everything that start-up made out of the garbage collector's sight. Call once, when the service is ready.

    Measured: with 600,000 live objects a full collection stops the loop for 117 ms; after freezing, for 0.01 ms.
    """
    gc.collect()
    gc.freeze()
    # A request makes some hundred objects that die with it; at 700 the collector runs every few requests to find none.
    gc.set_threshold(20_000, 20, 20)


def load_malloc_trim() -> Callable[[int], int] | None:
    """The C library's `malloc_trim`, which only glibc has; ctypes releases the interpreter's lock while it runs."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return None
    trim.argtypes = [ctypes.c_size_t]
    trim.restype = ctypes.c_int

    def malloc_trim(pad: int) -> int:
        return int(trim(pad))

    return malloc_trim


class RelieveMemory:
    """Shrink L1, collect garbage, and give free memory back to the system.

    Collecting alone, as in the guide, frees objects but not memory: 392,000 collected, RSS 130 MB before and after.
    What it really brought is in the text that `apply` returns, also when that is nothing.

    Args:
        cache: whose L1 is made smaller.
        rss_bytes: resident memory of this process.
        trim: see `load_malloc_trim`.
    """

    name = ActionName.GC_COLLECT

    def __init__(
        self, cache: AdaptableCache, rss_bytes: Callable[[], int], trim: Callable[[int], int] | None = None
    ) -> None:
        self._cache = cache
        self._rss_bytes = rss_bytes
        self._trim = trim
        self._active = False

    def refusal(self, recent: Sequence[Snapshot]) -> str | None:
        """Never: at worst it brings nothing."""
        return None

    async def apply(self) -> str:
        """Relieve."""
        before = self._rss_bytes()
        self._active = True
        self._cache.shrink(SHRINK_TO)
        # On the loop: it would hold the interpreter's lock in a thread as well. Short after `freeze_start_up`.
        collected = gc.collect()
        if self._trim is not None:
            await asyncio.to_thread(self._trim, 0)
        after = self._rss_bytes()
        return (
            f"shrank L1 to {SHRINK_TO:.0%} of its bound, collected {collected} objects, "
            f"{'trimmed the heap' if self._trim is not None else 'could not trim the heap (no glibc)'}; this process: "
            f"{before / MEGABYTE:.1f} -> {after / MEGABYTE:.1f} MB ({(after - before) / MEGABYTE:+.1f})"
        )

    def relax(self) -> bool:
        """Give L1 its bound back."""
        if not self._active:
            return False
        self._cache.restore()
        self._active = False
        return True


class ReduceWorkers:
    """Fewer places at once while the CPU is short: multiplicative decrease, additive increase, within bounds.

    Args:
        pools: by name; looked at anew each time.
    """

    name = ActionName.REDUCE_WORKERS

    def __init__(self, pools: Mapping[str, Resizable]) -> None:
        self._pools = pools
        self._reduced: set[str] = set()  # by us; what somebody else resized is not ours to restore

    def refusal(self, recent: Sequence[Snapshot]) -> str | None:
        """Fewer places help only when it is our work that uses the CPU.

        | queue grows | CPU is ours | reduce                                                     |
        |-------------|-------------|------------------------------------------------------------|
        | no          | any         | yes                                                        |
        | yes         | yes         | yes: switching between more tasks than cores helps nobody  |
        | yes         | no          | no: we would slow down work that waits for something else  |
        """
        if all(self._next(pool) >= pool.size for pool in self._pools.values()):
            return "all pools are at their minimum"
        if recent and recent[-1].queue_length > recent[0].queue_length and not _cpu_is_ours(recent[-1]):
            return "the queue grows and the CPU is used by others"
        return None

    async def apply(self) -> str:
        """Decrease all pools."""
        changes = []
        for name, pool in self._pools.items():
            before, after = pool.size, self._next(pool)
            if after < before:
                pool.resize(after)
                self._reduced.add(name)
                changes.append(f"{name} {before} -> {after}")
        return f"reduced places: {', '.join(changes)}"

    def relax(self) -> bool:
        """One place more in each pool that was reduced."""
        if not self._reduced:
            return False
        for name in sorted(self._reduced):
            pool = self._pools[name]
            if pool.size < pool.configured:
                pool.resize(pool.size + 1)
            if pool.size >= pool.configured:
                self._reduced.discard(name)
        return not self._reduced

    @staticmethod
    def _next(pool: Resizable) -> int:
        least = max(1, math.ceil(LEAST_SHARE * pool.configured))
        return max(least, math.floor(DECREASE * pool.size))


class KeepLonger:
    """`clear_cache` without clearing: slow answers are not helped by throwing away the quick ones.

    What has expired is dropped; what is there is kept longer and refreshed early, so that fewer requests must wait for
    the generator.

    Args:
        cache: that keeps longer.
    """

    name = ActionName.CLEAR_CACHE

    def __init__(self, cache: AdaptableCache) -> None:
        self._cache = cache
        self._factor = 1.0

    def refusal(self, recent: Sequence[Snapshot]) -> str | None:
        """When more would keep answers for too long."""
        return "answers are kept as long as allowed already" if self._factor >= LARGEST_TTL_FACTOR else None

    async def apply(self) -> str:
        """Purge and double the time."""
        factor = min(LARGEST_TTL_FACTOR, 2 * self._factor)
        purged = self._cache.purge_expired()
        self._cache.set_ttl_factor(factor)
        self._factor = factor
        return f"dropped {purged} expired answers, keep new ones {factor:g} times as long"

    def relax(self) -> bool:
        """Back to the configured time."""
        if self._factor == 1.0:
            return False
        self._cache.set_ttl_factor(1.0)
        self._factor = 1.0
        return True


class Warm:
    """Load what is likely to be asked for. Nothing to undo: what nobody asks for is evicted by itself.

    Args:
        warmer: knows what that is, and bounds how much is loaded at a time.
    """

    name = ActionName.WARM_CACHE

    def __init__(self, warmer: WarmsNow) -> None:
        self._warmer = warmer

    def refusal(self, recent: Sequence[Snapshot]) -> str | None:
        """Never: the warmer itself stops when it is of no use."""
        return None

    async def apply(self) -> str:
        """Warm."""
        return f"asked for {await self._warmer.warm_now(WARM_LIMIT)} answers ahead of time"

    def relax(self) -> bool:
        """Nothing."""
        return False


def _cpu_is_ours(snapshot: Snapshot) -> bool:
    if snapshot.cpu_percent is None or snapshot.tree_cpu_percent is None:
        return False
    return snapshot.tree_cpu_percent >= _OURS * snapshot.cpu_percent

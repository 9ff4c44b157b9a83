"""Load what will probably be asked for before it is, as long as that proves useful.

Warming costs money at the generator, so it is bounded five times: in concurrency, in tokens per minute, by a pause
while the generator is busy, by one replica per key, and by its own record: warmed answers that nobody asked for stop
it. Nothing here is ever waited for by a request.
"""

import asyncio
import logging
import math
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from generation_service.adapters.cache.habits import Decaying, Successors
from generation_service.adapters.cache.statistics import ratio
from generation_service.ports import Clock

_log = logging.getLogger(__name__)


class WarmedCache(Protocol):
    """What is needed of the cache."""

    async def remaining(self, namespace: str, key: str) -> float | None:
        """Seconds for which the answer is kept still; None: there is none."""

    async def claim(self, namespace: str, key: str, seconds: float) -> bool:
        """Whether no other replica claimed this key within so many seconds."""


Loader = Callable[[bytes], Awaitable[None]]
Target = tuple[str, str]  # namespace, key


@dataclass(frozen=True, slots=True)
class WarmingSettings:
    """Bounds of the warming; each trades money for hits."""

    concurrency: int = 2  # loads at one time
    tokens_per_minute: int = 20_000  # estimated, of all loads; a minute's worth can be spent at once
    near_end_seconds: float = 30.0  # an answer that ends within this time counts as missing
    every_seconds: float = 15.0  # how often the frequent keys are looked at
    frequent: int = 20  # of them at one time
    support: float = 2.0  # a successor was seen at least so often (decayed)
    share: float = 0.3  # and in this share of the cases
    half_life_seconds: float = 600.0  # of everything that is learned
    keys: int = 2_000  # that are remembered, with their requests
    learned_per_second: int = 2_000  # requests that are learned from, about 4 us each; of the others only use is noted
    request_bytes: int = 16 * 1024  # larger requests are not remembered
    requests_bytes: int = 16 * 1024 * 1024  # of all remembered requests
    useful_ratio: float = 0.2  # of warmed answers must be asked for; below it the warming stops
    judged: int = 20  # warmed answers that are looked at for that, the latest ones
    verdict_seconds: float = 600.0  # a warmed answer that nobody asked for in this time was useless
    rest_seconds: float = 900.0  # pause of a warming that is not useful
    sample: int = 5  # loads after that pause, to see whether it is useful now


@dataclass(frozen=True, slots=True)
class WarmingStatistics:
    """Since the start, except for the ratio."""

    warmed: int
    used: int
    useless: int
    failures: int
    skipped_budget: int
    skipped_saturated: int
    skipped_other_replica: int
    useful_ratio: float | None  # of the latest ones; None: too few to say
    resting: bool
    keys: int
    tokens_left: float


class SmartWarmer:
    """`ports.Warmer`.

    Args:
        cache: is asked for what is missing; never for the answers.
        loader: loads the answer to a request anew and keeps it (as `CacheUse.REFRESH`); must not `record` it.
        clock: monotonic.
        settings: see there.
        estimate: tokens that a request will cost.
        saturated: whether the generator has no room to spare now.
    """

    def __init__(
        self,
        cache: WarmedCache,
        loader: Loader,
        clock: Clock,
        *,
        settings: WarmingSettings,
        estimate: Callable[[bytes], int],
        saturated: Callable[[], bool],
    ) -> None:
        self._cache = cache
        self._loader = loader
        self._clock = clock
        self._settings = settings
        self._estimate = estimate
        self._saturated = saturated
        self._frequent: Decaying[Target] = Decaying(settings.keys, settings.half_life_seconds)
        self._successors: Successors[Target] = Successors(settings.keys, 8, settings.half_life_seconds)
        self._requests = _Requests(settings)
        self._predicted: OrderedDict[Target, None] = OrderedDict()
        self._wake = asyncio.Event()
        self._budget = _Budget(settings.tokens_per_minute, clock.now())
        self._record = _Record(settings)
        self._running: set[Target] = set()
        self._task: asyncio.Task[None] | None = None
        self._second_ends = -math.inf
        self._learned = 0  # in this second
        self._failures = 0
        self._skipped_budget = 0
        self._skipped_saturated = 0
        self._skipped_other = 0

    def record(self, namespace: str, key: str, request: bytes) -> None:
        """Note one request; never waits."""
        now = self._clock.now()
        target = (namespace, key)
        self._record.asked(target, now)
        if now >= self._second_ends:
            self._second_ends = now + 1.0
            self._learned = 0
        self._learned += 1
        if self._learned > self._settings.learned_per_second:
            self._successors.interrupt()
            return
        self._frequent.add(target, now)
        self._successors.add(target, now)
        self._requests.keep(target, request)
        settings = self._settings
        for likely in self._successors.likely(target, now, support=settings.support, share=settings.share):
            if likely in self._requests:
                self._predicted[likely] = None
                self._wake.set()
        while len(self._predicted) > settings.frequent:
            self._predicted.popitem(last=False)  # the oldest prediction is the likeliest to be too late

    async def start(self) -> None:
        """Warm in the background from now on."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Stop, loads under way included."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def warm_now(self, limit: int) -> int:
        """Warm up to `limit` of the frequent keys that are missing; says how many were loaded. All bounds hold."""
        return await self._warm(self._frequent.heaviest(limit, self._clock.now()))

    def statistics(self) -> WarmingStatistics:
        """All figures."""
        now = self._clock.now()
        self._record.judge(now)
        return WarmingStatistics(
            warmed=self._record.warmed,
            used=self._record.used,
            useless=self._record.useless,
            failures=self._failures,
            skipped_budget=self._skipped_budget,
            skipped_saturated=self._skipped_saturated,
            skipped_other_replica=self._skipped_other,
            useful_ratio=self._record.useful_ratio,
            resting=not self._record.may_warm(now),
            keys=len(self._frequent),
            tokens_left=self._budget.left(now),
        )

    async def _run(self) -> None:
        settings = self._settings
        next_look = self._clock.now() + settings.every_seconds
        while True:
            timer = self._clock.call_later(max(0.0, next_look - self._clock.now()), self._wake.set)
            try:
                await self._wake.wait()
            finally:
                timer.cancel()
            self._wake.clear()
            targets = list(self._predicted)
            self._predicted.clear()
            now = self._clock.now()
            if now >= next_look:
                next_look = now + settings.every_seconds
                targets += self._frequent.heaviest(settings.frequent, now)
            await self._warm(targets)

    async def _warm(self, targets: list[Target]) -> int:
        """Warm what is missing of these; says how many were loaded."""
        waiting = deque(dict.fromkeys(targets))
        loaded = 0

        async def work() -> None:
            nonlocal loaded
            while waiting:
                done = await self._warm_one(waiting.popleft())
                loaded += done  # not in one line: others add while this waits

        async with asyncio.TaskGroup() as group:
            for _ in range(min(self._settings.concurrency, len(waiting))):
                group.create_task(work())
        return loaded

    async def _warm_one(self, target: Target) -> bool:
        request = self._requests.get(target)
        if request is None or target in self._running:
            return False
        if not self._record.may_warm(self._clock.now(), under_way=len(self._running)):
            return False
        if self._saturated():
            self._skipped_saturated += 1
            return False
        if len(self._running) >= self._settings.concurrency:
            return False
        self._running.add(target)
        try:
            return await self._load_missing(target, request)
        except Exception as error:  # noqa: BLE001 - nobody asked for this answer, so nobody is told
            self._failures += 1
            _log.info("warming: a load failed: %s: %s", type(error).__name__, error)
            return False
        finally:
            self._running.discard(target)

    async def _load_missing(self, target: Target, request: bytes) -> bool:
        remaining = await self._cache.remaining(*target)
        if remaining is not None and remaining > self._settings.near_end_seconds:
            return False
        tokens = self._estimate(request)
        if tokens > self._budget.left(self._clock.now()):
            self._skipped_budget += 1
            return False
        if not await self._cache.claim(*target, self._settings.near_end_seconds):
            self._skipped_other += 1
            return False
        self._budget.spend(tokens, self._clock.now())
        await self._loader(request)
        self._record.loaded(target, self._clock.now())
        return True


class _Requests:
    """What it takes to load an answer again; bounded in number and bytes, the least recently asked goes first."""

    def __init__(self, settings: WarmingSettings) -> None:
        self._settings = settings
        self._requests: OrderedDict[Target, bytes] = OrderedDict()
        self._bytes = 0

    def __contains__(self, target: Target) -> bool:
        return target in self._requests

    def get(self, target: Target) -> bytes | None:
        return self._requests.get(target)

    def keep(self, target: Target, request: bytes) -> None:
        if len(request) > self._settings.request_bytes:
            return
        self._bytes += len(request) - len(self._requests.pop(target, b""))
        self._requests[target] = request
        while len(self._requests) > self._settings.keys or self._bytes > self._settings.requests_bytes:
            _, dropped = self._requests.popitem(last=False)
            self._bytes -= len(dropped)


class _Budget:
    """Tokens that flow in evenly; a minute's worth is the most that gathers."""

    def __init__(self, per_minute: int, now: float) -> None:
        self._per_minute = per_minute
        self._left = float(per_minute)
        self._at = now

    def left(self, now: float) -> float:
        return min(float(self._per_minute), self._left + (now - self._at) * self._per_minute / 60)

    def spend(self, tokens: int, now: float) -> None:
        self._left, self._at = self.left(now) - tokens, now


class _Record:
    """Whether warmed answers are asked for, and so whether to go on.

    | latest ones judged | ratio | what happens |
    | --- | --- | --- |
    | fewer than `judged` | any | warm |
    | `judged` | enough | warm |
    | `judged` | low | rest, then warm `sample` and judge by these alone |
    """

    def __init__(self, settings: WarmingSettings) -> None:
        self._settings = settings
        self._open: OrderedDict[Target, float] = OrderedDict()  # warmed, not asked for yet; oldest first
        self._verdicts: deque[bool] = deque(maxlen=settings.judged)
        self._rest_until: float | None = None
        self._needed = settings.judged
        self._sample_left: int | None = None
        self.warmed = 0
        self.used = 0
        self.useless = 0

    @property
    def useful_ratio(self) -> float | None:
        if len(self._verdicts) < self._needed:
            return None
        return ratio(sum(self._verdicts), len(self._verdicts))

    def may_warm(self, now: float, *, under_way: int = 0) -> bool:
        self.judge(now)
        if self._rest_until is not None:
            if now < self._rest_until:
                return False
            self._rest_until = None
            self._verdicts.clear()
            self._needed = self._sample_left = self._settings.sample
        return self._sample_left is None or self._sample_left > under_way

    def loaded(self, target: Target, now: float) -> None:
        self.warmed += 1
        if self._sample_left is not None:
            self._sample_left -= 1
        if self._open.pop(target, None) is not None:  # warmed twice in a row and never asked for
            self.useless += 1
            self._decide(False, now)
        self._open[target] = now
        while len(self._open) > self._settings.keys:
            self._open.popitem(last=False)

    def asked(self, target: Target, now: float) -> None:
        self.judge(now)
        if self._open.pop(target, None) is not None:
            self.used += 1
            self._decide(True, now)

    def judge(self, now: float) -> None:
        while self._open:
            target, at = next(iter(self._open.items()))
            if now - at < self._settings.verdict_seconds:
                return
            del self._open[target]
            self.useless += 1
            self._decide(False, now)

    def _decide(self, used: bool, now: float) -> None:
        self._verdicts.append(used)
        useful = self.useful_ratio
        if useful is None:
            return
        if useful < self._settings.useful_ratio:
            self._rest_until = now + self._settings.rest_seconds
            self._verdicts.clear()
        elif self._sample_left is not None:  # the sample was good: as in the beginning
            self._sample_left = None
            self._needed = self._settings.judged

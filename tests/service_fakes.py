"""Small stand-ins for the ports of the generation service, and a clock that only the test moves."""

import asyncio
import heapq
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field

import orjson

from generation_service.domain.workflow import Outcome, Status
from generation_service.ports import CacheStatus, CacheUse, Completion, Found, GeneratorError, Loaded


@dataclass
class FakeTimer:
    callback: Callable[[], None] | None

    def cancel(self) -> None:
        self.callback = None


@dataclass
class FakeClock:
    """Time stands still until `pass_time`; whatever is due meanwhile happens at its exact moment."""

    seconds: float = 0.0
    timers: list[tuple[float, int, FakeTimer]] = field(default_factory=list)
    count: int = 0

    def now(self) -> float:
        return self.seconds

    def call_later(self, seconds: float, callback: Callable[[], None]) -> FakeTimer:
        timer = FakeTimer(callback)
        self.count += 1
        heapq.heappush(self.timers, (self.seconds + seconds, self.count, timer))
        return timer

    async def sleep(self, seconds: float) -> None:
        done = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not done.done():
                done.set_result(None)

        timer = self.call_later(seconds, wake)
        try:
            await done
        finally:
            timer.cancel()

    async def pass_time(self, seconds: float) -> None:
        until = self.seconds + seconds
        await settle()
        while self.timers and self.timers[0][0] <= until:
            self.seconds = self.timers[0][0]
            while self.timers and self.timers[0][0] == self.seconds:  # as the event loop: all that is due, in one turn
                timer = heapq.heappop(self.timers)[2]
                if timer.callback is not None:
                    timer.callback()
            await settle()
        self.seconds = until


async def settle() -> None:
    for _ in range(30):  # no chain of wake-ups in the engine is longer
        await asyncio.sleep(0)


@dataclass
class FakeObserver:
    seen: list[tuple[Outcome, float]] = field(default_factory=list)
    steps: list[tuple[str, Outcome]] = field(default_factory=list)
    endings: list[Status] = field(default_factory=list)
    arrivals: int = 0
    refused: int = 0
    kept: list[float] = field(default_factory=list)

    def arrived(self) -> None:
        self.arrivals += 1

    def ran(self, seconds: float) -> None:
        self.kept.append(seconds)

    def finished(self, outcome: Outcome, seconds: float) -> None:
        self.seen.append((outcome, seconds))

    def rejected(self) -> None:
        self.refused += 1

    def workflow_ended(self, status: Status) -> None:
        self.endings.append(status)

    def step_finished(self, step_type: str, outcome: Outcome, seconds: float) -> None:
        self.steps.append((step_type, outcome))

    def counts(self) -> tuple[int, int]:
        outcomes = [outcome for outcome, _ in self.seen]
        return outcomes.count(Outcome.SUCCESS), outcomes.count(Outcome.ERROR)


@dataclass
class FakeGenerator:
    """Takes as many seconds as the prompt says (`name:2`); answers with its name in capitals.

    `fail` is an error that passes never, `busy` one that passes the second time, `cut` a stream that breaks off.
    """

    clock: FakeClock
    started: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    running: int = 0
    most_running: int = 0

    @property
    def description(self) -> str:
        return "fake"

    @property
    def breaker_state(self) -> int:
        return 0

    async def complete(self, body: bytes, timeout_seconds: float) -> Completion:
        name, text = await self._answer(body)
        usage = {"completion_tokens": len(name)}
        choice = {"message": {"role": "assistant", "content": text}}
        return Completion(orjson.dumps({"choices": [choice], "usage": usage}))

    async def stream(self, body: bytes, timeout_seconds: float) -> AsyncGenerator[bytes, None]:
        name, text = await self._answer(body)
        for letter in text:
            self.running += 1
            try:
                await self.clock.sleep(1)
            except asyncio.CancelledError:
                self.stopped.append(name)
                raise
            finally:
                self.running -= 1
            yield letter.encode()
        if name == "cut":
            raise GeneratorError("the stream broke off")

    async def healthy(self) -> bool:
        return True

    async def _answer(self, body: bytes) -> tuple[str, str]:
        name, _, seconds = orjson.loads(body)["messages"][-1]["content"].partition(":")
        self.started.append(name)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await self.clock.sleep(float(seconds or 1))
        except asyncio.CancelledError:
            self.stopped.append(name)
            raise
        finally:
            self.running -= 1
        if name == "fail":
            raise GeneratorError("the model is not loaded", status=400)
        if name == "busy" and self.started.count(name) == 1:
            raise GeneratorError("too many requests", status=429, retry_after_seconds=3)
        self.ended.append(name)
        return name, name.upper()


@dataclass
class FakeCache:
    """One level without expiry or coalescing; enough to see what is kept."""

    kept: dict[tuple[str, str], bytes] = field(default_factory=dict)

    def peek(self, namespace: str, key: str) -> Found | None:
        value = self.kept.get((namespace, key))
        return None if value is None else Found(value, CacheStatus.HIT_L1)

    async def get(self, namespace: str, key: str) -> Found | None:
        return self.peek(namespace, key)

    async def put(self, namespace: str, key: str, loaded: Loaded) -> None:
        self.kept[namespace, key] = loaded.value

    async def fetch(
        self,
        namespace: str,
        key: str,
        load: Callable[[], Awaitable[Loaded]],
        use: CacheUse = CacheUse.NORMAL,
        timeout_seconds: float | None = None,
    ) -> Found:
        if use is CacheUse.NORMAL and (found := self.peek(namespace, key)) is not None:
            return found
        async with asyncio.timeout(timeout_seconds):
            loaded = await load()
        if use is CacheUse.NONE:
            return Found(loaded.value, CacheStatus.BYPASS)
        self.kept[namespace, key] = loaded.value
        return Found(loaded.value, CacheStatus.MISS)

    async def contains(self, namespace: str, key: str) -> bool:
        return (namespace, key) in self.kept

    async def delete(self, namespace: str, key: str) -> None:
        self.kept.pop((namespace, key), None)

    async def purge(self, namespace: str) -> None:
        self.kept = {at: value for at, value in self.kept.items() if at[0] != namespace}


class NoWarmer:
    """Learns nothing."""

    def record(self, namespace: str, key: str, request: bytes) -> None:
        pass

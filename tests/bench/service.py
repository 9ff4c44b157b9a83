"""What the service costs beside the least that could do the same: `make bench-service`. For people, never a check.

Everything is measured in one run: servers on one core, load, generator and databases on the other, ours and bare in
turns. Writes `docs/results/service.md`. `BENCH_ARGS="--soak 20"` adds twenty minutes of steady load.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import asyncpg
import orjson
import psutil
import uvloop

from bench import durable
from bench.http_load import Figures, load, post
from generation_service.adapters.clock import LoopClock
from generation_service.adapters.embedded.postgres import EmbeddedPostgres
from generation_service.adapters.embedded.valkey import EmbeddedValkey
from generation_service.adapters.postgres.driver import PoolSettings
from generation_service.adapters.postgres.store import PostgresStore
from service.replicas import Program, backend, program, replica

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "results" / "service.md"
SERVER_CORE, LOAD_CORE = 0, 1
ANSWER = orjson.dumps(
    {
        "id": "chatcmpl-bench",
        "object": "chat.completion",
        "model": "bench",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "word " * 200}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 200, "total_tokens": 210},
    }
)
WIDE: dict[str, Any] = {"concurrent_workflows": 64, "ai_api_concurrency": 64, "optimizer": "false", "warming": "false"}


@dataclass
class Row:
    """One comparison; the figures of each repetition."""

    name: str
    unit: str
    goal: float
    ours: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)
    note: str = ""

    @property
    def ratio(self) -> float:
        """The median of the ratios within each repetition: both sides of one saw the same machine."""
        return statistics.median(ours / bare for ours, bare in zip(self.ours, self.bare, strict=True))

    @property
    def line(self) -> str:
        ratios = [ours / bare for ours, bare in zip(self.ours, self.bare, strict=True)]
        met = "yes" if self.ratio >= self.goal else "**no**"
        return (
            f"| {self.name} | {statistics.median(self.ours):,.0f} | {statistics.median(self.bare):,.0f} | {self.unit} "
            f"| {self.ratio:.2f} ({min(ratios):.2f}–{max(ratios):.2f}) | {self.goal} | {met} |"
        )


class Upstream(asyncio.Protocol):
    """Answers every request with the same bytes; costs next to nothing, so it is never what is measured."""

    HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(ANSWER)

    def __init__(self) -> None:
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class is no subclass

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (head := self._buffer.find(b"\r\n\r\n")) >= 0:
            lower = self._buffer[:head].lower()
            start = lower.find(b"content-length:") + 15
            length = int(lower[start:].split(b"\r\n")[0]) if start > 14 else 0
            if len(self._buffer) < head + 4 + length:
                return
            self._buffer = self._buffer[head + 4 + length :]
            assert self._transport is not None
            self._transport.write(self.HEAD + ANSWER)


@asynccontextmanager
async def upstream() -> AsyncIterator[str]:
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


def pinned(started: Program) -> Program:
    """On the core of the servers, children excluded: there are none."""
    os.sched_setaffinity(started.process.pid, {SERVER_CORE})
    return started


def chat(text: str) -> bytes:
    return orjson.dumps({"model": "bench", "messages": [{"role": "user", "content": text * 10}], "max_tokens": 200})


async def measured(url: str, requests: Sequence[bytes], seconds: float) -> Figures:
    figures = await load(url, requests, seconds)
    if set(figures.statuses) != {200}:
        raise RuntimeError(f"not all answers were good: {figures.statuses}")
    return figures


async def http_rows(redis: str, seconds: float, repetitions: int) -> list[Row]:
    """Cached answers and the way through."""
    hit = Row("cached answer, first level", "req/s", 0.8)
    second = Row("cached answer, second level, beside the first", "req/s", 0.5)
    through = Row("uncached, passed through", "req/s", 0.6)
    async with AsyncExitStack() as stack:
        generator = await stack.enter_async_context(upstream())
        file = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "answer"
        file.write_bytes(ANSWER)
        ours = pinned(await stack.enter_async_context(replica("memory:", generator, redis, **WIDE)))
        small = {**WIDE, "cache_l1_entries": 1, "name": "small"}
        level2 = pinned(await stack.enter_async_context(replica("memory:", generator, redis, **small)))
        bare = pinned(await stack.enter_async_context(program("bench.bare", "bytes", str(file))))
        forward = f"{generator}/v1/chat/completions"
        passing = pinned(await stack.enter_async_context(program("bench.bare", "forward", forward)))
        path = "/v1/chat/completions"
        one = chat("the same question ")
        many = [chat(f"question {number} ") for number in range(400)]
        await measured(level2.url, [post(level2.url + path, body) for body in many], seconds)  # fills the second level
        for _ in range(repetitions):
            first = await measured(ours.url, [post(ours.url + path, one)], seconds)
            hit.ours.append(first.rate)
            hit.bare.append((await measured(bare.url, [post(bare.url + path, one)], seconds)).rate)
            second.ours.append(
                (await measured(level2.url, [post(level2.url + path, body) for body in many], seconds)).rate
            )
            second.bare.append(first.rate)
            no_store = [post(ours.url + path, one, Cache_Control="no-store")]
            through.ours.append((await measured(ours.url, no_store, seconds)).rate)
            through.bare.append((await measured(passing.url, [post(passing.url + path, one)], seconds)).rate)
        hit.note = f"p95 {first.quantile(0.95) * 1000:.1f} ms at 32 connections"
    return [hit, second, through]


async def durable_rows(database: str, seconds: float, repetitions: int) -> list[Row]:
    """Submitting and running workflows; this process is the server then."""
    submit = Row("submit a workflow, beside one INSERT", "per s", 0.7)
    engine = Row("three-step workflow, beside five fenced statements", "per s", 0.7)
    os.sched_setaffinity(0, {SERVER_CORE})
    try:
        async with asyncpg.create_pool(database, min_size=20, max_size=20) as pool:
            await pool.execute(durable.TABLES)
            for _ in range(repetitions):
                ours, bare = await durable.runs(database, pool, seconds)
                engine.ours.append(ours)
                engine.bare.append(bare)
            store = await PostgresStore.open(database, PoolSettings(max_size=8), LoopClock())
            for _ in range(repetitions):
                ours, bare = await durable.submits(store, pool, seconds)
                submit.ours.append(ours)
                submit.bare.append(bare)
            await store.close()
    finally:
        os.sched_setaffinity(0, {LOAD_CORE})
    return [submit, engine]


async def fresh(database: str) -> str:
    """An empty database on the same server."""
    connection = await asyncpg.connect(database)
    await connection.execute("CREATE DATABASE objectives")
    await connection.close()
    return database.replace("/postgres?", "/objectives?")


async def objectives(database: str, redis: str) -> list[str]:
    """The guide's six, by the strict script, with a generator of 200 ms; and what the process needs when idle."""
    async with backend(latency_ms=200) as model, replica(database, model.url, redis) as ours:
        await asyncio.sleep(12)
        idle = psutil.Process(ours.process.pid).memory_info().rss / 2**20
        script = ROOT / "scripts" / "performance-validation.sh"
        found = await asyncio.to_thread(
            subprocess.run, [str(script), "--url", ours.url, "--json"], capture_output=True, text=True, check=False
        )
        busy = psutil.Process(ours.process.pid).memory_info().rss / 2**20
    lines = [f"- memory of the process, idle: {idle:.0f} MB (goal 150), after the objectives: {busy:.0f} MB"]
    report = json.loads(found.stdout)
    for objective in report["objectives"]:
        shown = {name: value for name, value in objective.items() if name not in {"name", "passed"}}
        lines.append(f"- {objective['name']}: {'met' if objective['passed'] else '**missed**'}, {json.dumps(shown)}")
    return lines


async def soak(minutes: float, redis: str, database: str) -> list[str]:
    """Steady load; memory must not rise."""
    async with backend(latency_ms=20) as model, replica(database, model.url, redis, **WIDE) as ours:
        pinned(ours)
        path = f"{ours.url}/v1/chat/completions"
        requests = [post(path, chat(f"question {number} ")) for number in range(20_000)]
        process = psutil.Process(ours.process.pid)
        points: list[tuple[float, float]] = []
        loop = asyncio.get_running_loop()
        started = loop.time()
        answered = 0
        while (passed := loop.time() - started) < minutes * 60:
            figures = await measured(ours.url, requests, 10)
            answered += len(figures.latencies)
            points.append((passed / 60, process.memory_info().rss / 2**20))
    settled = [point for point in points if point[0] > minutes / 3]
    slope, intercept = statistics.linear_regression(*zip(*settled, strict=True))
    rest = [memory - intercept - slope * minute for minute, memory in settled]
    center = statistics.fmean(minute for minute, _ in settled)
    spread = sum((minute - center) ** 2 for minute, _ in settled)
    error = (sum(value * value for value in rest) / (len(rest) - 2) / spread) ** 0.5
    return [
        f"- {minutes:g} minutes, {answered:,} requests over 20,000 different questions",
        f"- memory {settled[0][1]:.0f} MB after a third, {settled[-1][1]:.0f} MB at the end",
        f"- slope of the last two thirds: {slope * 60:+.1f} ± {2 * error * 60:.1f} MB per hour",
    ]


async def run(arguments: argparse.Namespace) -> None:
    os.sched_setaffinity(0, {LOAD_CORE})  # children inherit it, and servers under test are moved afterwards
    seconds, repetitions = (1.5, 2) if arguments.quick else (4.0, 5)
    with tempfile.TemporaryDirectory(prefix="generation-bench-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)  # noqa: ASYNC240 - before anything is measured
        postgres, valkey = EmbeddedPostgres(Path(name), print), EmbeddedValkey(print)
        database, redis = await postgres.start(), await valkey.start()
        try:
            print("submitting and running workflows", flush=True)
            rows = await durable_rows(database, seconds, repetitions)
            print("cached and uncached answers", flush=True)
            rows = [*await http_rows(redis, seconds, repetitions), *rows]
            for row in rows:
                print(row.line, row.note, flush=True)
            print("objectives", flush=True)
            database = await fresh(database)  # the other one is full of workflows that nobody took
            reached = await objectives(database, redis)
            print("\n".join(reached), flush=True)
            soaked = ["- not run"]
            if arguments.soak:
                print(f"soak, {arguments.soak:g} minutes", flush=True)
                soaked = await soak(arguments.soak, redis, database)
                print("\n".join(soaked), flush=True)
        finally:
            await valkey.stop()
            await postgres.stop()
    if not arguments.quick:
        RESULTS.write_text(page(rows, reached, soaked, seconds, repetitions))


def page(rows: list[Row], reached: list[str], soaked: list[str], seconds: float, repetitions: int) -> str:
    notes = [f"- {row.name}: {row.note}" for row in rows if row.note]
    return "\n".join(
        [
            "# What the service costs",
            "",
            "Written by `make bench-service`. One process of the service on one core; load, generator, Postgres and",
            f"Valkey on another. {repetitions} repetitions of {seconds:g} s, ours and bare in turns; the ratio is the",
            "median over the repetitions, the least and the greatest beside it. Absolute figures are this machine's.",
            "",
            f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}.",
            "",
            "| case | ours | bare | unit | ratio | goal | met |",
            "|---|---|---|---|---|---|---|",
            *[row.line for row in rows],
            "",
            *notes,
            "",
            "Bare is the least that could do the same: an aiohttp handler on uvloop that reads the request and returns",
            "the same bytes; one that sends the request on with aiohttp's client; one INSERT of the same payload; five",
            "fenced statements. Workflows and statements run 20 at a time, HTTP requests over 32 connections.",
            "",
            "## Objectives",
            "",
            "By `scripts/performance-validation.sh`, a generator of 200 ms, Postgres and Valkey:",
            "",
            *reached,
            "",
            "## Soak",
            "",
            *soaked,
            "",
        ]
    )


def main() -> int:
    """Measure, print and write; the result is the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.service", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a minute instead of four; writes nothing")
    parser.add_argument("--soak", type=float, default=0, metavar="MINUTES", help="steady load at the end")
    uvloop.run(run(parser.parse_args()))
    return 0


if __name__ == "__main__":
    sys.exit(main())

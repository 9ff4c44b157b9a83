"""Servers of our own, for a machine where nothing is set up: started, watched and stopped in one process tree."""

import os
from collections.abc import Callable
from pathlib import Path

Progress = Callable[[str], None]


class EmbeddedError(Exception):
    """An embedded server cannot be used; the message says why and what to do."""


class NotInstalledError(EmbeddedError):
    """The package that carries the server is missing."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what} is not installed; {remedy}")


def data_folder() -> Path:
    """Where embedded servers keep their files unless told otherwise: the user's cache folder.

    As root another one: Postgres runs as a user of its own then, who may not enter root's home.
    """
    if os.geteuid() == 0:
        return Path("/var/lib/generation-service")
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "generation-service"

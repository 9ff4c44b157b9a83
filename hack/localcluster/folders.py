"""Where things are kept: built binaries and images in the user's cache, one state folder per cluster."""

import fcntl
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from localcluster.errors import LocalClusterError

# Unix socket paths end at 108 bytes; the longest one below a cluster folder is kubelet/device-plugins/kubelet.sock.
_LONGEST_STATE_PATH = 70
# Measured: binaries 400 MB, Go's build cache 5 GB while building, image layers 600 MB.
BUILD_SPACE_GB = 9
RUN_SPACE_GB = 2
_NAME = re.compile(r"^[a-z][a-z0-9-]{0,19}$")


def cache() -> Path:
    """The user's cache folder of this project; created when absent."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = base / "generation-operator"
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LocalClusterError(
            f"cannot create {path}: {error.strerror}; set XDG_CACHE_HOME to a writable folder"
        ) from None
    return path


def clusters() -> Path:
    """The folder that holds one folder per cluster."""
    return cache() / "clusters"


def state(name: str) -> Path:
    """The state folder of one cluster (it may not exist)."""
    if not _NAME.match(name):
        raise LocalClusterError(
            f"cluster name {name!r} is not usable: use at most 20 of a-z, 0-9 and '-', a letter first"
        )
    path = clusters() / name
    if len(str(path)) > _LONGEST_STATE_PATH:
        raise LocalClusterError(f"{path} is too long for Unix sockets; set XDG_CACHE_HOME to a shorter folder")
    return path


@contextmanager
def lock(path: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Let one process at a time do something; a second one calls `waiting` and waits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def require_space(folder: Path, needed_gb: float) -> None:
    """Refuse to start what would fill the disk half way."""
    free = shutil.disk_usage(folder).free / 1e9
    if free < needed_gb:
        raise LocalClusterError(
            f"{needed_gb:g} GB are needed below {folder}, {free:.1f} GB are free: make room or set XDG_CACHE_HOME"
        )

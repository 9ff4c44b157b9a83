"""Run commands and report their failure in one sentence."""

import ctypes
import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import Final

from localcluster.errors import LocalClusterError

_PR_SET_PDEATHSIG: Final = 1
_libc = ctypes.CDLL(None)


def die_with_parent() -> None:
    """For `preexec_fn`: the kernel kills this child when its parent ends, however that happens."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def run(
    argv: Sequence[str],
    *,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 120,
) -> str:
    """Run a command and return its standard output.

    Raises:
        LocalClusterError: it cannot be started, fails or takes too long; the last lines of its output are named.
    """
    try:
        done = subprocess.run(
            list(argv), input=stdin, env=env, capture_output=True, text=True, timeout=timeout, check=False
        )
    except FileNotFoundError:
        raise LocalClusterError(f"the command {argv[0]!r} is missing on this machine") from None
    except subprocess.TimeoutExpired:
        raise LocalClusterError(f"`{' '.join(argv[:4])} …` did not end within {timeout:g} s") from None
    if done.returncode != 0:
        tail = " / ".join((done.stderr or done.stdout).strip().splitlines()[-3:])
        raise LocalClusterError(f"`{' '.join(argv[:4])} …` failed with exit code {done.returncode}: {tail}")
    return done.stdout


def succeeds(argv: Sequence[str], *, timeout: float = 20) -> bool:
    """Whether a command exists and exits with 0."""
    try:
        run(argv, timeout=timeout)
    except LocalClusterError:
        return False
    return True

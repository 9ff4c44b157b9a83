"""What the container may use and does use, as the kernel counts it; both versions of control groups.

The machine's own figures say nothing about a container: a busy neighbour would look like our load. A file that is not
there means "not known" (None), never 0: outside a container most of them are missing. Reads block; not for the loop.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

_UNLIMITED: Final = 1 << 60  # bytes; version 1 says "no limit" as a number near 2**63


@dataclass(frozen=True, slots=True)
class CgroupSample:
    """One reading; None is not known or, for limits, not set."""

    memory_bytes: int | None
    memory_limit_bytes: int | None
    cpu_seconds: float | None  # used so far
    cpu_limit: float | None  # cores per second that may be used, quota over period


class Cgroup:
    """The control group of this process.

    Args:
        mount: where control groups are mounted.
        membership: the kernel's list of the groups that this process is in.
    """

    def __init__(self, mount: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> None:
        self._mount = mount
        self._groups = _memberships(membership)

    def read(self) -> CgroupSample:
        """Read all files; those that are missing or odd give None."""
        if (self._mount / "cgroup.controllers").exists():
            return self._read_unified()
        return self._read_by_controller()

    def _read_unified(self) -> CgroupSample:
        folders = self._folders("", "")
        limits = [_number(folder / "memory.max") for folder in folders]
        quotas = [_quota(_text(folder / "cpu.max")) for folder in folders]
        usage = _keyed(_text(folders[0] / "cpu.stat")).get("usage_usec")
        return CgroupSample(
            memory_bytes=_number(folders[0] / "memory.current"),
            memory_limit_bytes=min((limit for limit in limits if limit is not None), default=None),
            cpu_seconds=usage / 1e6 if usage is not None else None,
            cpu_limit=min((quota for quota in quotas if quota is not None), default=None),
        )

    def _read_by_controller(self) -> CgroupSample:
        memory = self._folders("memory", "memory")
        limits = [_number(folder / "memory.limit_in_bytes") for folder in memory]
        usage = _number(self._folders("cpuacct", "cpuacct")[0] / "cpuacct.usage")
        quotas = [
            _quota(f"{_text(folder / 'cpu.cfs_quota_us')} {_text(folder / 'cpu.cfs_period_us')}")
            for folder in self._folders("cpu", "cpu")
        ]
        return CgroupSample(
            memory_bytes=_number(memory[0] / "memory.usage_in_bytes"),
            memory_limit_bytes=min(
                (limit for limit in limits if limit is not None and limit < _UNLIMITED), default=None
            ),
            cpu_seconds=usage / 1e9 if usage is not None else None,
            cpu_limit=min((quota for quota in quotas if quota is not None), default=None),
        )

    def _folders(self, controller: str, subfolder: str) -> list[Path]:
        """Our group and those around it, innermost first; each may set a limit.

        In a container the list of groups names paths of the host that do not exist inside; then it is the mount itself.
        """
        root = self._mount / subfolder
        own = root / self._groups.get(controller, "").lstrip("/")
        if not own.is_dir():
            return [root]
        return [own, *(parent for parent in own.parents if parent.is_relative_to(root))]


def _memberships(path: Path) -> dict[str, str]:
    """Group by controller; the unified hierarchy has the name ''. Lines read `NUMBER:CONTROLLERS:PATH`."""
    groups: dict[str, str] = {}
    for line in _text(path).splitlines():
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        groups |= dict.fromkeys(controllers.split(","), group)
    return groups


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text.isdecimal() else None  # `max` is no limit


def _keyed(text: str) -> dict[str, int]:
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}


def _quota(text: str) -> float | None:
    """Read `QUOTA PERIOD` in microseconds; `max` and -1 are no limit."""
    words = text.split()
    if len(words) != 2 or not all(word.isdecimal() for word in words) or int(words[1]) == 0:
        return None
    return int(words[0]) / int(words[1]) or None

"""How much memory and CPU this process and its children use. Blocks (it walks /proc): never on the event loop.

The guide measured the whole machine. A figure here is about us: our process tree, and our container if there is one.
"""

import os
from dataclasses import dataclass
from typing import Protocol

import psutil

from generation_service.performance.cgroup import Cgroup, CgroupSample


@dataclass(frozen=True, slots=True)
class Usage:
    """One reading."""

    tree_rss_bytes: int  # children included; pages that they share count once for each, so it is an upper bound
    process_rss_bytes: int
    process_cpu_seconds: float  # so far
    tree_cpu_seconds: dict[tuple[int, float], float]  # so far, by process (id and start time: ids come again)
    cores: float  # that we may use: the container's quota, else the processors we may run on
    cgroup: CgroupSample


class Machine(Protocol):
    """Reads what we use."""

    def read(self) -> Usage:
        """Take a reading; may block for some milliseconds and may raise."""


class ProcessTree:
    """`Machine` for this process."""

    def __init__(self, cgroup: Cgroup | None = None) -> None:
        self._process = psutil.Process()
        self._cgroup = cgroup or Cgroup()

    def read(self) -> Usage:
        """Walk the process tree: about 1 ms per 100 processes of the machine."""
        own = self._process.memory_info().rss
        times = self._process.cpu_times()
        usage = {(self._process.pid, self._process.create_time()): times.user + times.system}
        rss = own
        for child in self._process.children(recursive=True):
            try:
                with child.oneshot():
                    rss += child.memory_info().rss
                    spent = child.cpu_times()
                    usage[child.pid, child.create_time()] = spent.user + spent.system
            except psutil.Error:  # it ended meanwhile, or is not ours to look at
                continue
        cgroup = self._cgroup.read()
        return Usage(
            tree_rss_bytes=rss,
            process_rss_bytes=own,
            process_cpu_seconds=times.user + times.system,
            tree_cpu_seconds=usage,
            cores=cgroup.cpu_limit
            or float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1),
            cgroup=cgroup,
        )

    def process_rss_bytes(self) -> int:
        """Only the resident memory of this process: 13 us, cheap enough for anywhere."""
        return int(self._process.memory_info().rss)

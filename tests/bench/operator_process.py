"""What the processes of `make bench-operator` take, and what the operator tells of itself."""

import math
import os
import re
import urllib.request
from pathlib import Path
from typing import Final

from localcluster.cluster import Cluster

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_JIFFY: Final = 1 / os.sysconf("SC_CLK_TCK")

Buckets = dict[str, list[tuple[float, float]]]


def cpu_seconds(pid: int) -> float:
    """What a process has taken since its start."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _JIFFY  # utime and stime


def rss_mebibytes(pid: int) -> float:
    """What a process holds in memory now."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES / 2**20


def metrics(port: int) -> str:
    """What the operator exports."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        text: str = answer.read().decode()
    return text


def decisions(text: str) -> float:
    """How many there were since the start."""
    return sum(float(count) for count in re.findall(r"decisions_total\{[^}]*\} ([0-9.e+]+)", text))


def decided_freshly(text: str) -> float:
    """Of how many services the queue was known when they were last decided on."""
    found = re.search(r'signals\{signal="QueueLength",state="Fresh"\} ([0-9.e+]+)', text)
    return float(found[1]) if found else 0.0


def phases(text: str) -> Buckets:
    """The operator's own histogram of a tick's phases: bounds and cumulative counts."""
    found: Buckets = {}
    for bound, phase, count in re.findall(
        r'tick_duration_seconds_bucket\{le="([^"]+)",phase="(\w+)"\} ([0-9.e+]+)', text
    ):
        found.setdefault(phase, []).append((float(bound), float(count)))
    return found


def own_part(before: Buckets, after: Buckets) -> tuple[float, float]:
    """p50 and p95 of what a tick takes besides waiting for Prometheus and pods, in milliseconds.

    Sums of the phases' quantiles, which is more than the quantile of their sums.
    """
    grown = {
        phase: [(bound, count - old) for (bound, count), (_, old) in zip(after[phase], before[phase], strict=True)]
        for phase in ("decide", "actuate", "publish")
    }
    return tuple(sum(_quantile(rows, share) for rows in grown.values()) * 1000 for share in (0.5, 0.95))  # type: ignore[return-value]


def _quantile(rows: list[tuple[float, float]], share: float) -> float:
    """As PromQL's histogram_quantile: linear within a bucket."""
    wanted, low, below = share * rows[-1][1], 0.0, 0.0
    for bound, count in rows:
        if count >= wanted and count > below:
            return bound if bound == math.inf else low + (bound - low) * (wanted - below) / (count - below)
        low, below = bound, count
    return math.nan


def pid_of_prometheus(cluster: Cluster) -> int:
    """The one that has this cluster's configuration."""
    wanted = f"--config.file={cluster.plan.state}/prometheus.yaml".encode()
    return next(int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cmdline") if wanted in _read(path))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it has ended
        return b""

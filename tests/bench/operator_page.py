"""The page with what the operator costs: docs/results/operator.md."""

import math
import os
import platform
import re
import statistics
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.fleet import SCRAPE_SECONDS

# Kubernetes' own controllers search the pods, ReplicaSets and budgets of a whole namespace for each Deployment: with
# 5,000 in one the controller manager takes more than a core, and the API server what is left.
PER_NAMESPACE: Final = 20
TICK_SECONDS: Final = 5  # the default
STEADY_SECONDS: Final = 300  # one round of what the operator compares with lists
REACTIONS: Final = 5  # services whose load makes a step, one after the other
FRESH_REACTIONS: Final = 20  # more, as silent pods are tried in turns that take 40 s
PATIENCE_SECONDS: Final = 90
MOST_WITH_DEFAULT_HPA: Final = 1000
RARE_HPA_SECONDS: Final = 600
_COLUMNS: Final = (
    "resources",
    "all have a status after",
    "CPU each, until then",
    "writes each",
    "steady CPU",
    "RSS",
    "requests each per hour",
    "steady writes",
    "decided every",
    "tick p50",
    "tick p95",
    "all at once p95",
    "CPU of Prometheus",
    "restart",
    "reaction through Prometheus",
    "reaction to fresh load",
)
_HEAD: Final = f"| {' | '.join(_COLUMNS)} |"


@dataclass(frozen=True, slots=True)
class Restart:
    """What a new process needs beside children that are all there."""

    seconds: float  # from its start until all services have been decided on
    writes: int  # until then


@dataclass(frozen=True, slots=True)
class Row:
    """The figures for one number of resources."""

    resources: int
    started: float  # seconds from the start of the process until every resource has a status
    start_cpu: float  # seconds that the operator itself took per resource, until then
    writes: float  # per resource, until then
    cpu: float  # % of one core, nothing changing
    rss: float  # MiB
    requests: float  # per resource and hour, nothing changing
    idle_writes: int  # within the steady time
    decided_every: float  # seconds, nothing changing
    tick: tuple[float, float]  # p50 and p95 of our own part of a tick, nothing changing, in milliseconds
    at_once: float  # p95 of a tick in which there is something new of all services, in milliseconds
    prometheus: float  # % of one core, nothing changing
    restart: Restart
    reactions: list[float | None]  # seconds from steps of the load to the writes, through Prometheus alone
    fresh: list[float | None]  # the same with the load that pods tell, and no Prometheus

    @property
    def line(self) -> str:
        """The row of the table."""
        return (
            f"| {self.resources:,} | {self.started:.1f} s | {self.start_cpu * 1000:.0f} ms | {self.writes:.1f} "
            f"| {self.cpu:.1f} % | {self.rss:.0f} MiB | {self.requests:.2f} | {self.idle_writes} "
            f"| {self.decided_every:.1f} s | {self.tick[0]:.0f} ms | {self.tick[1]:.0f} ms "
            f"| {self.at_once:.0f} ms | {self.prometheus:.0f} % "
            f"| {self.restart.seconds:.1f} s, {self.restart.writes} writes "
            f"| {_told(self.reactions)} | {_told(self.fresh)} |"
        )


def _told(times: list[float | None]) -> str:
    """Median and worst."""
    known = sorted(math.inf if took is None else took for took in times)
    if known[-1] == math.inf:
        return f"{known.count(math.inf)} of {len(known)} not within {PATIENCE_SECONDS} s"
    return f"{statistics.median(known):.1f} s, {known[-1]:.1f} s at most"


def measured_before(page: Path) -> dict[int, str]:
    """Rows of the page as it is, by number of resources: nobody measures all of them each time."""
    text = page.read_text() if page.exists() else ""
    if _HEAD not in text:
        return {}  # other columns
    return {
        int(found[1].replace(",", "")): found[0] for found in re.finditer(r"^\| ([\d,]+) \|.*$", text, re.MULTILINE)
    }


def page(rows: dict[int, str], load: float) -> str:
    """The whole of it."""
    lines = [
        "# What the operator costs",
        "",
        _filled(_ABOUT),
        "",
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}.",
        f"Load average before the newest row began: {load:.1f}.",
        "",
        _HEAD,
        "|" + "---|" * len(_COLUMNS),
        *(line for _, line in sorted(rows.items())),
    ]
    for paragraph in (_STARTING, _TICKS, _REACTING, _GOALS):
        lines += ["", _filled(paragraph)]
    return "\n".join((*lines, ""))


def _filled(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), 120)


_ABOUT: Final = f"""
Written by `make bench-operator`; do not edit. A real API server, controller manager and Prometheus with simulated pods
share the machine with the operator, so that absolute figures are this machine's and the start-up includes what the API
server needs for the writes. Resources have no proxy and one replica, {PER_NAMESPACE} are in a namespace. All have
metrics as soon as they have a status, scraped every {SCRAPE_SECONDS} s, each at its own moment, and steady work for one
replica. Steady means
{STEADY_SECONDS} s in which nothing changes. With more than {MOST_WITH_DEFAULT_HPA:,} resources the HPA controller looks
every {RARE_HPA_SECONDS} s instead of 15: it and what it asks would take more than both cores for themselves.
"""
_STARTING: Final = """
Until all have a status both cores are full: the API server and the controllers answer and follow about 35 requests for
each resource. What is there already is scraped, read and decided on meanwhile, the more the longer it takes; and the
API server takes more for each, 0.13 s of its CPU among the first and 0.22 among the last of 5,000 (when that was looked
at; a Service with an address took it 8 ms among 500 and 22 among 5,000, one without 4). So the start of thousands takes
longer than their number tells. "CPU each" is the operator's own part, all included: without the steady work for what is
there already, half of it on average, 37, 39 and 48 ms with 100, 1,000 and 5,000. A restart is a new process beside all
that: the time until it has read everything and has decided on all services, the same machine still doing the rest. A
standby has read everything already.
"""
_TICKS: Final = f"""
CPU is of one core. Every 300 s the operator compares everything with some lists, so once in the steady time; nearly all
requests are pages of those lists, the others are watches that are opened again. A tick is what deciding, writing
and publishing take in the running process (sums of the quantiles of its own histogram); it waits for Prometheus and
pods besides. There is one every 0.5 s, for the services that were just scraped and for a part of the others, so that
each is decided on every {TICK_SECONDS} s, or less often, down to every {2 * TICK_SECONDS} s, where a read of everything
would take Prometheus more than a fifth of the time. "All at once" is a tick with something new of every service, timed
afterwards on a cluster in memory: it happens after a start.
"""
_REACTING: Final = f"""
The reaction is the time from a step of the load of one service to the write of its replica count, median and worst:
{REACTIONS} times with metrics from Prometheus alone (that service scraped every 2 s), and {FRESH_REACTIONS} times with
what the pods tell and no Prometheus. Policy Targets. Other pods are simulated and answer nobody; each is tried in vain
every 30 to 40 s. A service that has been observed for half an hour takes 3 KiB more than here, for eight days 7.
"""
_GOALS: Final = """
Goals at 5,000 resources on one core: tick p95 below 1 s, below 250 MiB, no write when nothing changes, a reaction
within 3 s with fresh load, and within a scrape and 1 s without; growth no worse than linear.
"""

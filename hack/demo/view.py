"""The terminal view: a live table on a terminal, one line every few seconds in a log file."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from demo.watch import Sample

_LOG_EVERY_SECONDS: Final = 5.0
_BARS: Final = " ▁▂▃▄▅▆▇█"
_HISTORY: Final = 60


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the load generator saw in the last seconds."""

    rate: float  # requests per second sent
    p95_seconds: float | None
    in_flight: int
    failures: int  # since the start


class View:
    """Shows one second of the story after the other."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._rates: list[float] = []
        self._replicas: list[float] = []
        self._decisions: list[str] = []
        self._last_line = -_LOG_EVERY_SECONDS
        self._last_decision = ""

    @contextlib.contextmanager
    def showing(self) -> Iterator["View"]:
        """Draw while the block runs."""
        if not self._console.is_terminal:
            yield self
            return
        with Live(console=self._console, refresh_per_second=2) as live:
            self._live = live
            yield self
            self._live = None

    def show(self, phase: str, sample: Sample, traffic: Traffic) -> None:
        """One more second."""
        self._rates.append(traffic.rate)
        self._replicas.append(sample.ready)
        if sample.decision_id != self._last_decision:
            self._last_decision = sample.decision_id
            self._decisions.append(f"{sample.at:4.0f} s  -> {sample.desired}  {sample.reason}: {sample.message}")
        if self._live:
            self._live.update(self._picture(phase, sample, traffic))
        elif sample.at - self._last_line >= _LOG_EVERY_SECONDS:
            self._last_line = sample.at
            self._console.print(_line(phase, sample, traffic), markup=False, soft_wrap=True)

    def _picture(self, phase: str, sample: Sample, traffic: Traffic) -> Group:
        table = Table(show_header=False, box=None, padding=(0, 2))
        table.add_row("phase", phase, f"{sample.at:.0f} s")
        table.add_row("requests per second", _spark(self._rates), f"{traffic.rate:.0f}")
        table.add_row("ready replicas", _spark(self._replicas), f"{sample.ready} of {sample.replicas}")
        table.add_row("p95", "", _seconds(traffic.p95_seconds))
        table.add_row("in flight", "", str(traffic.in_flight))
        table.add_row("failed", "", str(traffic.failures))
        conditions = "  ".join(f"{name}={status}" for name, status in sorted(sample.conditions.items()))
        return Group(table, Text(conditions, style="dim"), Text("\n".join(self._decisions[-6:])))


def _line(phase: str, sample: Sample, traffic: Traffic) -> str:
    return (
        f"{sample.at:4.0f} s  {phase:<10} {traffic.rate:4.0f} req/s  p95 {_seconds(traffic.p95_seconds):>7}  "
        f"ready {sample.ready}/{sample.replicas}  failed {traffic.failures}  {sample.reason}: {sample.message}"
    )


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"


def _spark(values: list[float]) -> str:
    recent = values[-_HISTORY:]
    top = max(recent, default=0) or 1
    return "".join(_BARS[round(value / top * (len(_BARS) - 1))] for value in recent)

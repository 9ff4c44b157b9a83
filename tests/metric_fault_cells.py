"""The cells of the metric-fault matrix, and what is written down of each."""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from audit import Move, Told
from exporter import Load


class Fault(StrEnum):
    """What goes wrong with the metrics."""

    EMPTY = "empty"  # no pod is scraped any more
    NAN = "nan"
    ZERO = "zero-on-outage"  # no pod is ready, and each says that it has nothing to do
    STALE = "stale"  # the last samples are still answered, and grow old
    PARTIAL = "partial-pods"  # one of three is scraped no more
    RESTART = "prometheus-restart"
    SLOW = "slow"
    ERROR = "5xx"
    LABELS = "wrong-labels"  # the pods say that they belong to another service
    SKEW = "clock-skew"


# Idle asks for fewer replicas by both policies. Busy asks for more by both: all 20 slots of a replica are taken for two
# seconds each, and what waits takes longer than the 12 s that the targets allow. Burning is idle but for its errors.
_IDLE: Final = Load(requests_per_second=2, response_seconds=0.05, cpu_cores=0.01, in_flight=0.1)
LOADS: Final = {
    "idle": _IDLE,
    "busy": Load(
        requests_per_second=10, response_seconds=3, cpu_cores=0.9, memory_bytes=480e6, queue_length=200, in_flight=20
    ),
    "burning": replace(_IDLE, error_share=0.95),
}
POLICIES: Final = ("Score", "Targets")
# With a minute, a single sample after a fault is enough for a rate, so that it is plain when metrics are well again. An
# outage is to be seen as zero, so there the window has to be shorter than the fault.
WINDOW_SECONDS: Final = 60
SHORT_WINDOW_SECONDS: Final = 10


@dataclass(frozen=True, slots=True)
class Cell:
    """One fault at one load; None as the fault is a control."""

    fault: Fault | None
    load: str
    policy: str

    @property
    def name(self) -> str:
        """Of its GenerationService."""
        return f"{self.load}-{self.fault or f'control-{self.policy.lower()}'}"

    def __str__(self) -> str:
        return f"{self.fault or 'control'}-{self.load}-{self.policy}"

    @property
    def window_seconds(self) -> int:
        """Over which rates are taken."""
        return SHORT_WINDOW_SECONDS if self.fault is Fault.ZERO else WINDOW_SECONDS


# Each fault meets both policies and each load does; all combinations of the three are played by the unit tier.
CELLS: Final = tuple(
    Cell(fault, load, POLICIES[(row + column) % 2])
    for row, fault in enumerate(Fault)
    for column, load in enumerate(LOADS)
)
CONTROLS: Final = tuple(Cell(None, load, policy) for load in ("idle", "busy") for policy in POLICIES)


@dataclass(slots=True)
class Record:
    """What happened to one service; times are Unix seconds."""

    began: float = 0.0  # the fault
    opened: float = 0.0  # the bounds
    lifted: float = 0.0  # the fault
    healthy: float = 0.0  # until here, at least, the metrics were not well
    moves: list[Move] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)  # MetricsAvailable

    def __str__(self) -> str:
        story = [(told.at, f"{told.reason} {told.explanation}".strip()) for told in self.told]
        story += [(move.at, f"{move.before} -> {move.after}{' by the HPA' * move.by_hpa}") for move in self.moves]
        story += [(self.began, "BEGAN"), (self.opened, "OPENED"), (self.lifted, "LIFTED"), (self.healthy, "HEALTHY")]
        return ", ".join(f"{at - self.began:+.1f} s {what}" for at, what in sorted(story))

    def told_at(self, moment: float) -> Told | None:
        """What was said of the metrics at this moment."""
        return next((told for told in reversed(self.told) if told.at <= moment), None)

    def told_during_the_fault(self) -> list[Told]:
        """What was said of the metrics from the opening of the bounds on, until the fault was lifted."""
        at_first = self.told_at(self.opened)
        later = [told for told in self.told if self.opened < told.at <= self.lifted]
        return [*([at_first] if at_first else []), *later]

    @property
    def recovered(self) -> float | None:
        """When the metrics were first said to be available after the fault."""
        return next((told.at for told in self.told if told.at > self.lifted and told.status == "True"), None)

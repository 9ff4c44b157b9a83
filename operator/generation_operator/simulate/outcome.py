"""The outcome of an experiment: every autoscaler at several settings of its main knob, over several seeds."""

from dataclasses import dataclass

from generation_operator.simulate.result import Run
from generation_operator.simulate.scoring import Estimate, Score, estimate


@dataclass(frozen=True, slots=True)
class Point:
    """One setting of the main knob."""

    knob: float
    scores: tuple[Score, ...]  # one per seed, in the order of the seeds

    @property
    def pod_hours(self) -> Estimate:
        """Cost."""
        return estimate([score.pod_hours for score in self.scores])

    @property
    def miss_ratio(self) -> Estimate:
        """0..1, of the requests that arrived."""
        return estimate([score.miss_ratio for score in self.scores])


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """One autoscaler.

    Attributes:
        name: as users know it: `Targets`, `HPA-CPU`, `KPA`.
        knob: what its main knob is: `target CPU (%)`.
        headline: at its usual setting.
        sweep: at all settings, the usual one included, in the order of the knob; a single point without a sweep.
        example: the first seed at the usual setting, with notes.
    """

    name: str
    knob: str
    headline: Point
    sweep: tuple[Point, ...]
    example: Run


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """Everything that a report says.

    Attributes:
        trace: the name of the traffic; may contain anything.
        notes: what was repaired in it, how it was scaled, what was assumed; sentences.
        slots: of one replica.
        wait_seconds: waiting beyond this misses.
        series: our own policies first.
    """

    trace: str
    notes: tuple[str, ...]
    slots: int
    startup: str
    wait_seconds: float
    seeds: int
    sweep_seeds: int
    series: tuple[Series, ...]

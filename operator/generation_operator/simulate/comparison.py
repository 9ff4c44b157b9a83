"""One autoscaler against another where the comparison is fair, and how sure one can be of it.

Both had the same traffic, seed by seed; so what counts is the difference within each seed. The difference between seeds
is that of the traffic and says nothing about anybody.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from generation_operator.simulate.outcome import Point, Series
from generation_operator.simulate.pareto import NEGLIGIBLE, Spot, cost_at, misses_at
from generation_operator.simulate.scoring import estimate

ATTAINMENT: Final = 0.99


@dataclass(frozen=True, slots=True)
class Comparison:
    """A rival, with as much to spend as ours spends at its usual setting.

    Attributes:
        rival: its name.
        pod_hours: what ours costs.
        ours: miss ratio of ours.
        theirs: miss ratio of the rival at that cost; None: no setting that was tried is that cheap.
        margin: half-width of the 95 % interval of `theirs - ours`, paired by seed; None: too few seeds tell.
    """

    rival: str
    pod_hours: float
    ours: float
    theirs: float | None
    margin: float | None

    @property
    def is_tie(self) -> bool:
        """Whether nobody can say who misses less: both as good as nothing, or the difference is within chance."""
        if self.theirs is None:
            return False
        if max(self.ours, self.theirs) <= NEGLIGIBLE:
            return True
        return self.margin is not None and abs(self.theirs - self.ours) <= self.margin


def at_equal_cost(ours: Series, rival: Series) -> Comparison:
    """Compare misses where both cost the same; both swept over the same seeds."""
    point = usual(ours)
    cost, misses = point.pod_hours.mean, point.miss_ratio.mean
    differences: list[float] = []
    for seed, score in enumerate(point.scores):
        theirs = misses_at(_of_seed(rival.sweep, seed), score.pod_hours)
        if theirs is not None:
            differences.append(theirs - score.miss_ratio)
    sure = len(differences) == len(point.scores) > 1
    return Comparison(
        rival=rival.name,
        pod_hours=cost,
        ours=misses,
        theirs=misses_at(spots(rival), cost),
        margin=estimate(differences).margin if sure else None,
    )


def pod_hours_at(series: Series, attainment: float = ATTAINMENT) -> float | None:
    """The least cost at which an autoscaler attains that; None when no setting that was tried does."""
    return cost_at(spots(series), 1.0 - attainment)


def usual(series: Series) -> Point:
    """The usual setting, over the seeds of the sweep."""
    return next(point for point in series.sweep if point.knob == series.headline.knob)


def spots(series: Series) -> list[Spot]:
    """Cost in pod-hours and misses of each setting, as means over the seeds of the sweep."""
    return [Spot(point.pod_hours.mean, point.miss_ratio.mean) for point in series.sweep]


def _of_seed(sweep: Sequence[Point], seed: int) -> list[Spot]:
    return [Spot(point.scores[seed].pod_hours, point.scores[seed].miss_ratio) for point in sweep]

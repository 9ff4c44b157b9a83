"""The least number of replicas that is kept now, whatever the load asks for, and why.

For people: the stages apply these floors themselves. Bounds come last there and here.
"""

from typing import NamedTuple

from generation_operator.api.spec import Scaling
from generation_operator.decide.schedules import is_active
from generation_operator.decide.types import Seconds, State


class Floor(NamedTuple):
    """A number of replicas and what keeps them."""

    replicas: int
    reason: str


def floor_in_force(scaling: Scaling, state: State, at: Seconds) -> Floor:
    """The highest floor; the resource's own minimum where nothing asks for more.

    Args:
        scaling: `spec.scaling`.
        state: what the decision at that time left behind.
        at: Unix seconds of a decision.
    """
    floors = [Floor(scaling.min_replicas, "MinReplicas")]
    minute = int(at // 60)
    floors += [
        Floor(entry.min_replicas, f"Schedule {entry.name}")
        for entry in scaling.schedules
        if is_active(entry.start, entry.end, entry.time_zone, minute)
    ]
    if state.burn is not None:
        floors.append(Floor(state.burn.floor, "ErrorBudgetBurn"))
    highest = max(floors, key=lambda floor: floor.replicas)  # of equals the first
    return highest._replace(replicas=min(highest.replicas, scaling.max_replicas))

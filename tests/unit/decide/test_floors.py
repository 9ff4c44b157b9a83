"""The least that is kept now, and why."""

from typing import Any

import pytest

from builders import make_service
from generation_operator.decide.floors import Floor, floor_in_force
from generation_operator.decide.types import Burn, Seconds, State

NOW = Seconds(1_700_000_000.0)  # Tuesday, 22:13 UTC
ALWAYS = {"name": "always", "start": "0 0 * * *", "end": "59 23 31 12 *", "minReplicas": 5}
MORNING = {"name": "morning", "start": "0 8 * * *", "end": "0 12 * * *", "minReplicas": 9}
BURNING = State(burn=Burn(3, 7, NOW, NOW))


@pytest.mark.parametrize(
    ("scaling", "state", "expected"),
    [
        ({}, State(), Floor(2, "MinReplicas")),
        ({"schedules": [ALWAYS, MORNING]}, State(), Floor(5, "Schedule always")),
        ({"schedules": [ALWAYS]}, BURNING, Floor(7, "ErrorBudgetBurn")),
        ({"minReplicas": 7}, BURNING, Floor(7, "MinReplicas")),
        ({"maxReplicas": 6}, BURNING, Floor(6, "ErrorBudgetBurn")),
    ],
)
def test_the_highest_floor_counts(scaling: dict[str, Any], state: State, expected: Floor) -> None:
    assert floor_in_force(make_service().scaling(**scaling).obj().spec.scaling, state, NOW) == expected

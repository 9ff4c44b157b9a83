"""When memory requests may be moved: never together with replicas, and never while the service struggles."""

import pytest

from builders import make_decision
from generation_operator.decide.types import Burn, Decision, Seconds, State
from generation_operator.decide.vertical import REST_SECONDS, may_resize

NOW = Seconds(1_700_000_000.0)
BURN = Burn(began_with=2, floor=4, moved_at=NOW, known_at=NOW)


@pytest.mark.parametrize(
    ("state", "decision", "expected"),
    [
        (State(), make_decision(), True),
        (State(last_step_at=Seconds(NOW - REST_SECONDS)), make_decision(), True),
        (State(last_step_at=Seconds(NOW - REST_SECONDS + 1)), make_decision(), False),
        (State(burn=BURN), make_decision(), False),
        (State(), make_decision(valid=False), False),
        (State(), make_decision(desired=3), False),
    ],
)
def test_requests_move_at_quiet_times_only(state: State, decision: Decision, expected: bool) -> None:
    assert may_resize(state, decision, NOW) is expected

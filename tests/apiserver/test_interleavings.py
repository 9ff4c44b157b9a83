"""Operator, real HPA controller, restarts and changing loads at random: they never pull in opposite directions.

The HPA's window for scaling up is a minute, so the run has to be somewhat longer than that for the guard to have its
say. With the HPA controller's own timing the same is played in test_default_hpa_timing.py.
"""

from api_fixtures import Api, Operator
from interleaving_world import Move, assert_never_opposite_directions, conflicts

SEED = 20_260_101
LONGEST = 150  # seconds until the guard raises
SYNC = 1.0


def test_operator_and_guard_never_pull_in_opposite_directions(api: Api, operator: Operator) -> None:
    assert_never_opposite_directions(api, operator, seed=SEED, sync_seconds=SYNC, longest=LONGEST)


def test_a_conflict_would_be_found() -> None:
    """The judge itself."""
    lowered, raised = Move(100.0, by_hpa=False, before=5, after=4), Move(101.0, by_hpa=True, before=4, after=5)
    assert len(conflicts([lowered, raised], news=[], sync_seconds=SYNC)) == 1
    assert conflicts([lowered, raised], news=[90.0], sync_seconds=SYNC) == []
    assert conflicts([raised, lowered], news=[], sync_seconds=SYNC) == []
    assert len(conflicts([Move(1.0, by_hpa=True, before=5, after=4)], news=[], sync_seconds=SYNC)) == 1

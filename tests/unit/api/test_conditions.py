"""Conditions over time."""

import re
from pathlib import Path

import pytest

from generation_operator.api import conditions as module
from generation_operator.api.conditions import Condition, ConditionReason, ConditionStatus, ConditionType, merge


def ready(status: ConditionStatus, message: str = "m", generation: int = 1) -> Condition:
    return Condition(ConditionType.READY, status, ConditionReason.ALL_READY, message, generation)


@pytest.mark.parametrize(
    ("status", "since"),
    [(ConditionStatus.TRUE, "2026-01-01T00:00:00Z"), (ConditionStatus.FALSE, "2026-01-02T00:00:00Z")],
)
def test_transition_time_moves_only_when_the_status_flips(status: ConditionStatus, since: str) -> None:
    before = merge([], [ready(ConditionStatus.TRUE)], "2026-01-01T00:00:00Z")
    [after] = merge(before, [ready(status, "other", 2)], "2026-01-02T00:00:00Z")
    assert after["lastTransitionTime"] == since
    assert after["message"] == "other"
    assert after["observedGeneration"] == 2


def test_same_conditions_give_the_same_list() -> None:
    once = merge([], [ready(ConditionStatus.UNKNOWN)], "2026-01-01T00:00:00Z")
    assert merge(once, [ready(ConditionStatus.UNKNOWN)], "2026-01-09T00:00:00Z") == once


def test_every_type_and_reason_says_what_it_means() -> None:
    source = Path(module.__file__).read_text()
    members = re.findall(r'^    [A-Z_]+ = "[A-Za-z]+"(.*)$', source, re.MULTILINE)
    plain = [line for line in members if not line.strip().startswith("# means that")]
    assert [line for line in plain if line] == []
    assert len(members) > 15

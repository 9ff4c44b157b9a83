"""Schedules: when they are active, around changes of the clock too, and what their floors do."""

from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import make_observation, make_policy
from generation_operator.api.timed import Schedule
from generation_operator.decide.draft import Draft
from generation_operator.decide.schedules import is_active, scheduled
from generation_operator.decide.step import step
from generation_operator.decide.types import Reason, Replicas, Seconds, Stage, State

NIGHT = ("30 2 * * *", "30 4 * * *")
WORK = ("0 8 * * MON-FRI", "0 18 * * MON-FRI")


def minute(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() // 60)


@pytest.mark.parametrize(
    ("cron", "zone", "at", "expected"),
    [
        (WORK, "UTC", "2026-07-01T07:59Z", False),
        (WORK, "UTC", "2026-07-01T08:00Z", True),
        (WORK, "UTC", "2026-07-01T17:59Z", True),
        (WORK, "UTC", "2026-07-01T18:00Z", False),
        (WORK, "UTC", "2026-07-04T12:00Z", False),  # a Saturday
        (WORK, "Europe/Berlin", "2026-07-01T06:00Z", True),
        (WORK, "Europe/Berlin", "2026-01-07T06:00Z", False),
        (WORK, "Europe/Berlin", "2026-01-07T07:00Z", True),
        (("0 22 * * *", "0 6 * * *"), "UTC", "2026-07-01T23:00Z", True),  # over midnight
        (("0 22 * * *", "0 6 * * *"), "UTC", "2026-07-02T05:59Z", True),
        (("0 22 * * *", "0 6 * * *"), "UTC", "2026-07-02T06:00Z", False),
        # Forward at 2026-03-29T02:00 in Berlin: 02:30 is skipped and comes at 03:00.
        (NIGHT, "Europe/Berlin", "2026-03-29T02:59+02:00", False),  # = 01:59 of winter
        (NIGHT, "Europe/Berlin", "2026-03-29T03:00+02:00", True),
        (NIGHT, "Europe/Berlin", "2026-03-29T03:10+02:00", True),
        (NIGHT, "Europe/Berlin", "2026-03-29T04:29+02:00", True),
        (NIGHT, "Europe/Berlin", "2026-03-29T04:30+02:00", False),
        # Back at 2026-10-25T03:00 in Berlin: 02:30 comes twice, and counts the first time.
        (NIGHT, "Europe/Berlin", "2026-10-25T02:29+02:00", False),
        (NIGHT, "Europe/Berlin", "2026-10-25T02:30+02:00", True),
        (NIGHT, "Europe/Berlin", "2026-10-25T02:15+01:00", True),
        (NIGHT, "Europe/Berlin", "2026-10-25T04:29+01:00", True),
        (NIGHT, "Europe/Berlin", "2026-10-25T04:30+01:00", False),
        (("0 0 29 2 *", "0 0 1 3 *"), "UTC", "2028-02-29T12:00Z", True),
        (("0 0 29 2 *", "0 0 1 3 *"), "UTC", "2027-06-01T12:00Z", False),
        (("0 0 1 1 *", "0 0 29 2 *"), "UTC", "1970-01-01T00:00Z", True),
    ],
)
def test_active_from_each_start_to_the_next_end(cron: tuple[str, str], zone: str, at: str, *, expected: bool) -> None:
    assert is_active(*cron, zone, minute(at)) is expected


NEVER = "0 0 */40 * MON#5"  # the first of a month, and its fifth Monday


@pytest.mark.parametrize(
    ("start", "end", "expected"), [(NEVER, WORK[1], False), (WORK[0], NEVER, True), (NEVER, NEVER, False)]
)
def test_what_never_came_is_no_start_and_no_end(start: str, end: str, *, expected: bool) -> None:
    assert is_active(start, end, "UTC", minute("2026-07-01T12:00Z")) is expected


@given(st.integers(0, 500_000_000))
@settings(deadline=None, max_examples=50)
def test_a_pair_of_schedules_that_complement_each_other_is_active_by_turns(at: int) -> None:
    assert is_active(*WORK, "America/New_York", at) is not is_active(*WORK[::-1], "America/New_York", at)


def draft(desired: int, current: int) -> Draft:
    return Draft(Replicas(current), Replicas(desired), True, Stage.DEMAND, None, Reason.LOW_LOAD, "asked")


DAY = Schedule(name="day", start=WORK[0], end=WORK[1], min_replicas=6)
LUNCH = Schedule(name="lunch", start="0 12 * * *", end="0 13 * * *", min_replicas=9)
NOON, EVENING = (datetime.fromisoformat(text).timestamp() for text in ("2026-07-01T12:30Z", "2026-07-01T20:00Z"))


@pytest.mark.parametrize(
    ("schedules", "now", "asked", "desired", "reason", "limited"),
    [
        ([], NOON, (3, 4), 3, Reason.LOW_LOAD, None),
        ([DAY], EVENING, (3, 4), 3, Reason.LOW_LOAD, None),
        ([DAY], NOON, (3, 4), 6, Reason.SCHEDULE, None),
        ([DAY], NOON, (3, 8), 6, Reason.SCHEDULE, Stage.SCHEDULES),
        ([DAY], NOON, (7, 8), 7, Reason.LOW_LOAD, None),
        ([DAY, LUNCH], NOON, (3, 4), 9, Reason.SCHEDULE, None),
        ([DAY], float("nan"), (3, 4), 3, Reason.LOW_LOAD, None),
        ([DAY], -1.0, (3, 4), 3, Reason.LOW_LOAD, None),
        ([DAY], 1e300, (3, 4), 3, Reason.LOW_LOAD, None),
    ],
)
def test_the_highest_active_floor_counts(
    schedules: list[Schedule],
    now: float,
    asked: tuple[int, int],
    *,
    desired: int,
    reason: Reason,
    limited: Stage | None,
) -> None:
    after = scheduled(draft(*asked), schedules, Seconds(now))
    assert (after.desired, after.reason, after.limited_by) == (desired, reason, limited)
    assert len(after.lines) == 1


def scheduled_policy(policy: str) -> Any:
    schedule = {"name": "day", "start": WORK[0], "end": WORK[1], "minReplicas": 6}
    return make_policy(policy=policy, schedules=[schedule])


@pytest.mark.parametrize("policy", ["Score", "Targets"])
def test_neither_a_cooldown_nor_missing_metrics_hold_a_schedule_back(policy: str) -> None:
    state = State(Seconds(NOON - 1), 2)
    after, decision = step(scheduled_policy(policy), state, make_observation({}, current=3), Seconds(NOON))
    assert (decision.desired, decision.reason, decision.binder) == (6, Reason.SCHEDULE, Stage.SCHEDULES)
    assert after.last_step_at == state.last_step_at, "a schedule's step is none of the policy"

"""The greatest need of the last minute."""

from builders import make_service
from generation_operator.decide.types import Guard, Replicas, Seconds
from generation_operator.loops.needs import WINDOW_SECONDS, Needs

A, B = make_service("a").obj(), make_service("b").obj()
UNKNOWN = Guard(None, "NoMetrics")


def need(replicas: int) -> Guard:
    return Guard(Replicas(replicas), "CpuUtilization")


def held(needs: Needs, replicas: int, at: float) -> int | None:
    return needs.held(A, need(replicas), Seconds(at)).replicas


def test_the_greatest_need_counts_until_it_is_a_minute_old() -> None:
    needs = Needs()
    seen = [held(needs, replicas, at) for at, replicas in enumerate([4, 6, 3, 2, 5])]
    assert seen == [4, 6, 6, 6, 6]
    assert held(needs, 1, 1 + WINDOW_SECONDS - 0.1) == 6
    assert held(needs, 1, 1 + WINDOW_SECONDS) == 5
    assert held(needs, 1, 4 + WINDOW_SECONDS) == 1


def test_a_greater_need_counts_at_once() -> None:
    needs = Needs()
    assert [held(needs, 2, 0), held(needs, 9, 1)] == [2, 9]


def test_a_need_that_cannot_be_seen_any_more_still_counts_for_its_minute() -> None:
    needs = Needs()
    assert needs.held(A, UNKNOWN, Seconds(0)) == UNKNOWN
    held(needs, 3, 1)
    assert needs.held(A, UNKNOWN, Seconds(2)).replicas == 3
    assert needs.held(A, UNKNOWN, Seconds(1 + WINDOW_SECONDS)) == UNKNOWN


def test_what_the_status_tells_counts_for_a_minute_from_the_start() -> None:
    needs = Needs()
    assert needs.held(A, need(2), Seconds(0), told=lambda: Replicas(3)).replicas == 3
    assert needs.held(A, need(2), Seconds(WINDOW_SECONDS - 0.1), told=lambda: Replicas(3)).replicas == 3
    assert needs.held(A, need(2), Seconds(WINDOW_SECONDS), told=lambda: Replicas(3)).replicas == 2


def test_what_the_status_tells_counts_at_the_first_look_only() -> None:
    needs = Needs()
    held(needs, 2, 0)
    assert needs.held(A, need(2), Seconds(1), told=lambda: Replicas(9)).replicas == 2


def test_services_do_not_share_needs_and_those_that_are_gone_are_forgotten() -> None:
    needs = Needs()
    held(needs, 7, 0)
    assert needs.held(B, need(2), Seconds(0)).replicas == 2
    assert needs.held(make_service("a").uid("new").obj(), need(2), Seconds(1)).replicas == 2
    needs.forget_all_but([B.key])
    assert held(needs, 1, 2) == 1

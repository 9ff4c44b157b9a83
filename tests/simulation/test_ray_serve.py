import numpy as np
import pytest

from fake_service import FakeService, steps
from generation_operator.rivals.ray_serve import Policy, Settings
from generation_operator.simulate.baselines.ray_serve import RayServe

NONE_YET = 0


def make_policy(**settings: float) -> Policy:
    return Policy(Settings(1, 20, 10.0, **settings))


def ray_serve(**settings: float) -> RayServe:
    return RayServe(14.0, min_replicas=1, max_replicas=20, **settings)


def jump(before: int, after: int, replicas: int) -> FakeService:
    """The load changes at 100 s."""
    return FakeService(lambda at: before if at < 100 else after).with_replicas(replicas)


def test_more_replicas_come_when_they_were_wanted_for_the_whole_delay() -> None:
    policy = make_policy()
    assert [policy.decide(50.0, 2, 2, now) for now in (0.0, 10.0, 29.9, 30.0)] == [2, 2, 2, 5]


def test_the_last_need_is_what_is_gone_to() -> None:
    policy = make_policy()
    assert policy.decide(200.0, 2, 2, 0.0) == 2
    assert policy.decide(31.0, 2, 2, 30.0) == 4


@pytest.mark.parametrize("between", [20.0, 5.0], ids=["nothing", "fewer"])
def test_one_look_that_wants_something_else_starts_the_delay_anew(between: float) -> None:
    policy = make_policy()
    assert policy.decide(50.0, 2, 2, 0.0) == 2
    assert policy.decide(between, 2, 2, 20.0) == 2
    assert policy.decide(50.0, 2, 2, 30.0) == 2
    assert policy.decide(50.0, 2, 2, 59.0) == 2
    assert policy.decide(50.0, 2, 2, 60.0) == 5


def test_after_a_change_the_delay_begins_again() -> None:
    policy = make_policy()
    policy.decide(50.0, 2, 2, 0.0)
    assert policy.decide(50.0, 2, 2, 30.0) == 5
    assert policy.decide(90.0, 5, 5, 31.0) == 5
    assert policy.decide(90.0, 5, 5, 60.0) == 5
    assert policy.decide(90.0, 5, 5, 61.0) == 9


def test_fewer_replicas_come_after_ten_minutes() -> None:
    policy = make_policy()
    assert [policy.decide(5.0, 4, 4, now) for now in (0.0, 300.0, 599.0, 600.0)] == [4, 4, 4, 1]


def test_a_delay_that_is_over_but_for_rounding_is_over() -> None:
    policy = make_policy(upscale_delay=0.3)
    policy.decide(50.0, 2, 2, 0.0)
    assert policy.decide(50.0, 2, 2, 0.1 + 0.1 + 0.1 - 1e-9) == 5


@pytest.mark.parametrize(
    ("requests", "running", "factors", "want"),
    [
        (100.0, 4, {}, 10),
        (100.0, 4, {"upscaling_factor": 0.5}, 7),
        (1000.0, 4, {}, 20),  # the maximum
        (10.0, 8, {}, 1),
        (10.0, 8, {"downscaling_factor": 0.5}, 5),
        (70.0, 8, {"downscaling_factor": 0.1}, 7),  # at least one step
        (71.0, 8, {"downscaling_factor": 0.1}, 8),  # 7.1 needs eight
        (0.0, 8, {}, 1),  # the minimum
    ],
)
def test_how_far_it_goes(requests: float, running: int, factors: dict[str, float], want: int) -> None:
    policy = make_policy(upscale_delay=0.0, downscale_delay=0.0, **factors)
    assert policy.decide(requests, running, running, 0.0) == want


@pytest.mark.parametrize(("requests", "target", "want"), [(0.0, 0, 0), (1.0, 0, 1), (500.0, 3, 3), (0.0, 3, 3)])
def test_while_nobody_serves_only_a_first_replica_is_asked_for(requests: float, target: int, want: int) -> None:
    assert Policy(Settings(0, 20, 10.0)).decide(requests, NONE_YET, target, 0.0) == want


def test_the_way_to_none_leads_over_one_and_has_a_delay_of_its_own() -> None:
    policy = Policy(Settings(0, 20, 10.0, downscale_delay=10.0, downscale_to_zero_delay=100.0))
    policy.decide(0.0, 3, 3, 0.0)
    assert policy.decide(0.0, 3, 3, 10.0) == 1
    assert policy.decide(0.0, 1, 1, 11.0) == 1
    assert policy.decide(0.0, 1, 1, 110.0) == 1
    assert policy.decide(0.0, 1, 1, 111.0) == 0


def test_a_jump_is_answered_once_after_report_and_delay() -> None:
    """Reports come every 10 s and average over 30 s: by the end of the delay all of the average is new."""
    assert steps(jump(10, 140, 1), ray_serve(), 300) == [(137.84375, 10)]


@pytest.mark.parametrize(("look_back", "want"), [(30.0, 4), (10.0, 9), (5.0, 10)])
def test_a_report_is_the_mean_over_the_look_back(look_back: float, want: int) -> None:
    """The first one after the jump comes 8 s later: 8 of so many seconds are at 140 requests, the others at 10."""
    at, count = steps(jump(10, 140, 1), ray_serve(upscale_delay=0.0, look_back=look_back), 300)[0]
    assert (at, count) == (107.84375, want)


def test_a_drop_is_answered_ten_minutes_later() -> None:
    assert steps(jump(140, 14, 10), ray_serve(), 1000) == [(707.84375, 1)]


def test_bursts_shorter_than_the_delay_are_never_answered() -> None:
    bursts = FakeService(lambda at: 140 if at > 100 and at % 40 < 25 else 10).with_replicas(1)
    assert steps(bursts, ray_serve(look_back=1.0, metrics_interval=1.0), 400) == []


def test_before_the_first_report_nothing_is_known() -> None:
    service = FakeService(lambda _: 200).with_replicas(1)
    scaler = ray_serve(upscale_delay=0.0)
    at = scaler.begin(service, np.random.default_rng(0))
    service.second(0.0)
    assert scaler.act(service, at) == (None, at + 1.0)


def test_what_a_draining_replica_works_on_does_not_count() -> None:
    """Two of three replicas are removed by somebody else; their load goes with them, whatever was reported before."""
    service = FakeService(lambda _: 42).with_replicas(3)
    scaler = ray_serve(upscale_delay=0.0, metrics_interval=60.0)
    assert steps(service, scaler, 70) == []
    service.scale(1, 70.0)
    wanted, _ = scaler.act(service, 69.9)
    assert wanted is None  # one is left with 14 requests, and 14 is the target

"""The guide's scorer: on the guide's metrics, around every threshold, and against a reference on random metrics."""

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import make_observation, make_policy
from generation_operator.decide.policy import Policy
from generation_operator.decide.step import step
from generation_operator.decide.types import Decision, Reason, Seconds, SignalName, State

NOW = Seconds(1_700_000_000.0)
WARM = State(None, usable_observations=2)
EXACT = {"guards": "Disabled"}
WIDE = make_policy(policy="Score", minReplicas=1, maxReplicas=100, score=EXACT)


class Metrics(NamedTuple):
    """Plain numbers in the guide's units: seconds, requests per second, %, %, requests."""

    latency: float
    rate: float
    cpu: float
    memory: float
    queue: float


MIDDLE = Metrics(latency=0.5, rate=150, cpu=65, memory=70, queue=25)  # the guide's own example


def reference(metrics: Metrics) -> tuple[int, int, int]:
    """The guide's answer: points up, points down, replicas to add."""
    up = sum(
        points
        for exceeded, points in (
            (metrics.latency > 1.0, 30),
            (metrics.cpu > 80, 25),
            (metrics.memory > 85, 25),
            (metrics.queue > 50, 20),
        )
        if exceeded
    )
    down = sum(
        points
        for undercut, points in (
            (metrics.latency < 0.2, 20),
            (metrics.cpu < 30, 25),
            (metrics.memory < 40, 25),
            (metrics.rate < 50, 30),
        )
        if undercut
    )
    return up, down, 2 if up > 50 else -1 if down > 60 else 0


def decide(metrics: Metrics, policy: Policy = WIDE, *, current: int = 10) -> Decision:
    values = {
        SignalName.RESPONSE_TIME: metrics.latency,
        SignalName.REQUEST_RATE: metrics.rate,
        SignalName.CPU: metrics.cpu,
        SignalName.MEMORY: metrics.memory,
        SignalName.QUEUE_LENGTH: metrics.queue,
    }
    return step(policy, WARM, make_observation(values, current=current), NOW)[1]


def test_the_guides_example_metrics_are_within_range() -> None:
    decision = decide(MIDDLE)
    assert (decision.desired, decision.reason, decision.valid) == (10, Reason.WITHIN_RANGE, True)
    assert decision.message == (
        "Metrics within acceptable range (up score: 0, acts above 50; down score: 0, acts above 60)"
    )


# (what differs from the example, step)
ROWS: list[tuple[dict[str, float], int]] = [
    # one signal alone never moves anything, however extreme
    ({"latency": 60}, 0),
    ({"cpu": 100}, 0),
    ({"memory": 100}, 0),
    ({"queue": 5000}, 0),
    ({"latency": 0.0}, 0),
    ({"rate": 0}, 0),
    ({"cpu": 0}, 0),
    ({"memory": 0}, 0),
    # pairs: only response time with CPU or memory goes over 50
    ({"latency": 30, "queue": 5000}, 0),
    ({"cpu": 100, "memory": 99}, 0),
    ({"cpu": 100, "queue": 5000}, 0),
    ({"memory": 100, "queue": 5000}, 0),
    ({"latency": 1.01, "cpu": 81}, 2),
    ({"latency": 1.01, "memory": 86}, 2),
    # up thresholds: equal, just above, just below
    ({"latency": 1.0, "cpu": 100}, 0),
    ({"latency": 1.0000001, "cpu": 100}, 2),
    ({"latency": 0.9999999, "cpu": 100}, 0),
    ({"latency": 5, "cpu": 80}, 0),
    ({"latency": 5, "cpu": 80.0001}, 2),
    ({"latency": 5, "cpu": 79.9999}, 0),
    ({"latency": 5, "memory": 85}, 0),
    ({"latency": 5, "memory": 85.0001}, 2),
    ({"latency": 5, "memory": 84.9999}, 0),
    ({"cpu": 90, "memory": 90, "queue": 50}, 0),
    ({"cpu": 90, "memory": 90, "queue": 50.0001}, 2),
    ({"cpu": 90, "memory": 90, "queue": 49.9999}, 0),
    # down: any three of four, in every combination
    ({"latency": 0.1, "cpu": 10, "memory": 10}, -1),
    ({"latency": 0.1, "cpu": 10, "rate": 10}, -1),
    ({"latency": 0.1, "memory": 10, "rate": 10}, -1),
    ({"cpu": 10, "memory": 10, "rate": 10}, -1),
    ({"cpu": 10, "rate": 10}, 0),
    ({"memory": 10, "rate": 10}, 0),
    # down thresholds: equal, just below, just above
    ({"latency": 0.2, "cpu": 10, "memory": 10}, 0),
    ({"latency": 0.1999999, "cpu": 10, "memory": 10}, -1),
    ({"latency": 0.2000001, "cpu": 10, "memory": 10}, 0),
    ({"cpu": 30, "latency": 0.1, "rate": 10}, 0),
    ({"cpu": 29.9999, "latency": 0.1, "rate": 10}, -1),
    ({"cpu": 30.0001, "latency": 0.1, "rate": 10}, 0),
    ({"memory": 40, "latency": 0.1, "rate": 10}, 0),
    ({"memory": 39.9999, "latency": 0.1, "rate": 10}, -1),
    ({"memory": 40.0001, "latency": 0.1, "rate": 10}, 0),
    ({"rate": 50, "cpu": 10, "memory": 10}, 0),
    ({"rate": 49.9999, "cpu": 10, "memory": 10}, -1),
    ({"rate": 50.0001, "cpu": 10, "memory": 10}, 0),
    # both at once: more replicas come first
    ({"latency": 5, "cpu": 10, "memory": 90, "rate": 10, "queue": 100}, 2),
    # the known flaw, which the guards remove: a long queue does not stop an idle-looking service from being lowered
    ({"latency": 0.15, "cpu": 10, "memory": 30, "rate": 5, "queue": 5000}, -1),
]


@pytest.mark.parametrize(("changes", "expected"), ROWS, ids=str)
def test_every_threshold_is_strict(changes: dict[str, float], expected: int) -> None:
    metrics = MIDDLE._replace(**changes)
    assert decide(metrics).desired - 10 == expected
    assert reference(metrics)[2] == expected


def test_the_message_tells_the_score_and_what_it_consists_of() -> None:
    up = decide(MIDDLE._replace(latency=1.25, cpu=91))
    assert up.reason is Reason.HIGH_LOAD
    assert up.message == "High load detected (score: 55): ResponseTime 1.25 s > 1 s (30), Cpu 91 % > 80 % (25)"
    down = decide(MIDDLE._replace(cpu=12.5, memory=20, rate=3))
    assert down.reason is Reason.LOW_LOAD
    assert down.message == (
        "Low load detected (score: 80): Cpu 12.5 % < 30 % (25), Memory 20 % < 40 % (25), RequestRate 3/s < 50/s (30)"
    )


def test_every_number_comes_from_the_resource() -> None:
    score = {
        "up": {
            "thresholds": {"responseTimeMilliseconds": 300, "queueLength": 4},
            "weights": {"responseTime": 7, "queueLength": 6},
            "scoreAbove": 12,
            "stepReplicas": 5,
        },
        "down": {
            "thresholds": {"requestsPerSecond": 200},
            "weights": {"requestsPerSecond": 9},
            "scoreAbove": 8,
            "stepReplicas": 3,
        },
    }
    policy = make_policy(policy="Score", minReplicas=1, maxReplicas=100, score=score | EXACT)
    assert decide(MIDDLE._replace(latency=0.31, queue=5), policy).desired == 15
    assert decide(MIDDLE._replace(latency=0.29, queue=5, rate=199), policy).desired == 7
    assert decide(MIDDLE._replace(latency=0.29, queue=5, rate=200), policy).desired == 10


def _around(*thresholds: float) -> st.SearchStrategy[float]:
    """Anything, with the thresholds and their neighbours far more often than chance would have them."""
    near = [step for value in thresholds for step in (value, value - 1e-9, value + 1e-9)]
    return st.one_of(st.sampled_from(near), st.floats(min_value=0, max_value=1e6))


@given(
    st.builds(
        Metrics,
        latency=_around(0.2, 1.0),
        rate=_around(50),
        cpu=_around(30, 80),
        memory=_around(40, 85),
        queue=_around(50),
    )
)
def test_random_metrics_give_the_guides_answer(metrics: Metrics) -> None:
    up, down, expected = reference(metrics)
    decision = decide(metrics)
    assert decision.desired - 10 == expected
    if expected:
        assert f"(score: {up if expected > 0 else down})" in decision.message
    else:
        assert f"(up score: {up}, acts above 50; down score: {down}, acts above 60)" in decision.message

"""The bounds of engine Floor, row by row and as invariants."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import WITH_VPA, make_service
from generation_operator.desired.children import children
from generation_operator.desired.floor import Bounds, follow, frozen, has_metrics, manifest
from generation_operator.desired.hpa import hpa

OWN = Bounds(2, 20)


@pytest.mark.parametrize(
    ("live", "replicas", "desired", "step_waits", "metrics", "expected"),
    [
        (Bounds(5, 20), 5, 7, False, True, Bounds(7, 20)),
        (Bounds(5, 20), 5, 7, False, False, Bounds(7, 20)),
        (Bounds(5, 20), 5, 4, False, True, Bounds(4, 20)),
        (Bounds(5, 20), 5, 4, False, False, Bounds(4, 4)),
        (Bounds(4, 4), 4, 4, False, False, Bounds(4, 20)),  # it is there: somebody must be able to raise
        (Bounds(4, 4), 5, 4, True, False, Bounds(4, 4)),  # the HPA is still on its way
        (Bounds(4, 20), 5, 5, True, True, Bounds(4, 20)),  # a step waits: the last one is not taken back
        (Bounds(4, 20), 5, 5, False, True, Bounds(5, 20)),  # held, or right as it is: the HPA may not lower
        (Bounds(4, 20), 25, 20, False, True, Bounds(20, 20)),
        (Bounds(1, 30), 1, 2, False, True, Bounds(2, 20)),
        (Bounds(9, 20), 5, 5, True, True, Bounds(5, 20)),
    ],
)
def test_bounds_lead_to_what_was_decided(
    live: Bounds, replicas: int, desired: int, *, step_waits: bool, metrics: bool, expected: Bounds
) -> None:
    assert follow(live, OWN, replicas=replicas, desired=desired, step_waits=step_waits, metrics=metrics) == expected


counts = st.integers(1, 50)
bounds = st.tuples(counts, counts).map(lambda pair: Bounds(min(pair), max(pair)))


@given(
    live=bounds,
    own=bounds,
    replicas=st.integers(0, 60),
    desired=st.integers(0, 60),
    step_waits=st.booleans(),
    metrics=st.booleans(),
)
def test_bounds_are_always_in_order_and_within_the_resources_own(
    live: Bounds, own: Bounds, *, replicas: int, desired: int, step_waits: bool, metrics: bool
) -> None:
    found = follow(live, own, replicas=replicas, desired=desired, step_waits=step_waits, metrics=metrics)
    assert 1 <= own.minimum <= found.minimum <= found.maximum <= own.maximum
    # What the HPA does by itself within them never goes below the decision, unless a step waits.
    assert step_waits or found.minimum == own.clamp(desired)
    assert found.maximum == own.maximum or (desired < replicas and not metrics)


@given(bounds, bounds, st.integers(0, 60), st.booleans())
def test_frozen_bounds_hold_the_count_where_it_is(live: Bounds, own: Bounds, replicas: int, lowers: bool) -> None:
    found = frozen(live, own, replicas=replicas, lowers=lowers)
    assert 1 <= found.minimum <= found.maximum
    assert found.clamp(replicas) == max(1, replicas)
    assert not lowers or found.minimum == min(live.minimum, max(1, replicas)), "the floor is all that holds the count"


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ([], True),
        ([{"type": "ScalingActive", "status": "True"}], True),
        ([{"type": "ScalingActive", "status": "False"}], False),
        ([{"type": "AbleToScale", "status": "False"}], True),
    ],
)
def test_an_hpa_has_metrics_until_it_says_otherwise(conditions: list[dict[str, Any]], *, expected: bool) -> None:
    assert has_metrics({"status": {"conditions": conditions}}) is expected
    assert has_metrics({})


def test_the_hpa_of_engine_floor_may_lower_and_leaves_its_bounds_to_another_manager() -> None:
    found = hpa(make_service().scaling(engine="Floor").obj())
    assert found is not None
    assert {"minReplicas", "maxReplicas"}.isdisjoint(found["spec"])
    assert found["spec"]["behavior"]["scaleDown"]["selectPolicy"] == "Max"


@pytest.mark.parametrize("engine", ["Direct", "Floor"])
def test_the_hpa_of_a_paused_service_moves_in_no_direction(engine: str) -> None:
    found = hpa(make_service().scaling(engine=engine, mode="Paused").obj())
    assert found is not None
    behavior = found["spec"]["behavior"]
    assert {behavior[way]["selectPolicy"] for way in ("scaleUp", "scaleDown")} == {"Disabled"}


@pytest.mark.parametrize("engine", ["Direct", "Floor"])
def test_recommend_has_no_hpa(engine: str) -> None:
    service = make_service().scaling(engine=engine, mode="Recommend").obj()
    kinds = [child["kind"] for child in children(service, cluster_domain="x", available=WITH_VPA)]
    assert "HorizontalPodAutoscaler" not in kinds


def test_the_floor_applies_its_bounds_and_nothing_else() -> None:
    applied = manifest(make_service("a", "n").obj(), Bounds(3, 9))
    assert applied["metadata"] == {"name": "a", "namespace": "n"}
    assert applied["spec"] == {"minReplicas": 3, "maxReplicas": 9}

"""Both engines on a real API server with the real HPA controller: up, down, with and without metrics, and switched."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from api_fixtures import Api, Object, Operator, eventually, service
from ownership_world import (
    FAST,
    deployment_replicas,
    operator_writes,
    owners,
    ready,
    stays,
)

METRICS = "apiservice/v1beta1.metrics.k8s.io"
FLOOR_OWNER = {("generation-operator-floor", "")}
OPERATOR_OWNER = {("generation-operator", "")}


@pytest.fixture
def running(api: Api, operator: Operator) -> Operator:
    operator.start()
    return operator


@pytest.fixture
def without_metrics_api(api: Api) -> Iterator[None]:
    """Nobody serves metrics.k8s.io until the test ends."""
    kept: Object = json.loads(api.kubectl("get", METRICS, "--output=json"))
    api.kubectl("delete", METRICS)
    yield
    kept["metadata"] = {"name": kept["metadata"]["name"]}
    del kept["status"]
    api.apply(kept)
    api.kubectl("wait", "--for=condition=Available", METRICS, "--timeout=60s")


def asked(name: str, replicas: int | None = None, **scaling: Any) -> Object:
    """A service for which a person asks for a count, so that what is decided is known."""
    override = {} if replicas is None else {"override": {"replicas": replicas, "until": "2099-01-01T00:00:00Z"}}
    return service(name, **FAST, **scaling, **override)


def start(api: Api, name: str, replicas: int | None = None, **scaling: Any) -> None:
    api.apply(asked(name, replicas, **scaling))
    eventually(lambda: ready(api, name), bool, what="Ready", seconds=60)


def reaches(api: Api, name: str, replicas: int) -> None:
    eventually(lambda: deployment_replicas(api, name), lambda count: count == replicas, seconds=60, what=str(replicas))


def bounds(api: Api, name: str) -> tuple[int, int]:
    spec = api.get("hpa", name)["spec"]
    return spec["minReplicas"], spec["maxReplicas"]


def hpa_condition(api: Api, name: str) -> str:
    conditions = api.get("hpa", name).get("status", {}).get("conditions", [])
    return next((entry["status"] for entry in conditions if entry["type"] == "ScalingActive"), "")


def test_floor_scales_up_and_down_without_a_metrics_api(without_metrics_api: None, api: Api, running: Operator) -> None:
    start(api, "floored", engine="Floor")
    api.apply(asked("floored", 6, engine="Floor"))
    reaches(api, "floored", 6)
    eventually(lambda: hpa_condition(api, "floored"), lambda status: status == "False")
    api.apply(asked("floored", 3, engine="Floor"))
    reaches(api, "floored", 3)
    eventually(lambda: bounds(api, "floored"), lambda found: found == (3, 8), what="the maximum is back")
    deployment, hpa = api.get("deployment", "floored"), api.get("hpa", "floored")
    assert owners(deployment, "spec", "replicas") == {("kube-controller-manager", "scale")}
    assert owners(hpa, "spec", "minReplicas") == owners(hpa, "spec", "maxReplicas") == FLOOR_OWNER
    assert owners(hpa, "spec", "metrics") == owners(hpa, "spec", "behavior") == OPERATOR_OWNER
    assert not [entry for entry in operator_writes(api) if entry["objectRef"].get("subresource") == "scale"]


def test_floor_scales_up_and_down_by_the_hpas_own_metrics(api: Api, running: Operator) -> None:
    start(api, "measured", engine="Floor")
    eventually(lambda: hpa_condition(api, "measured"), lambda status: status == "True", seconds=90, what="metrics")
    api.apply(asked("measured", 5, engine="Floor"))
    reaches(api, "measured", 5)
    # New pods have no sample yet, which the HPA can be without for a moment.
    eventually(lambda: hpa_condition(api, "measured"), lambda status: status == "True", seconds=90, what="metrics")
    stays(lambda: deployment_replicas(api, "measured"), 5, seconds=2)  # the floor holds what the HPA would lower
    api.apply(asked("measured", 3, engine="Floor"))
    reaches(api, "measured", 3)
    assert bounds(api, "measured") == (3, 8), "the HPA lowers by its metrics: the maximum stays"
    assert owners(api.get("deployment", "measured"), "spec", "replicas") == {("kube-controller-manager", "scale")}
    assert not [entry for entry in operator_writes(api) if entry["objectRef"].get("subresource") == "scale"]


def test_floor_is_written_only_when_it_changes(api: Api, running: Operator) -> None:
    start(api, "still", 4, engine="Floor")
    reaches(api, "still", 4)
    stays(lambda: deployment_replicas(api, "still"), 4, seconds=3)
    before = len(operator_writes(api))
    stays(lambda: deployment_replicas(api, "still"), 4, seconds=5)
    assert [entry["requestURI"] for entry in operator_writes(api)[before:]] == []


def test_a_service_that_was_switched_off_under_floor_says_so(api: Api, running: Operator) -> None:
    def able() -> str | None:
        return api.condition("off", "AbleToScale").get("reason")

    start(api, "off", engine="Floor")
    api.kubectl("scale", "deployment/off", "--replicas=0")
    eventually(able, lambda reason: reason == "SwitchedOff", seconds=60)
    stays(lambda: deployment_replicas(api, "off"), 0, seconds=3)
    api.kubectl("scale", "deployment/off", "--replicas=2")
    eventually(able, lambda reason: reason == "ReadyToScale", seconds=60)


def test_switching_engine_or_mode_moves_no_replica(api: Api, running: Operator) -> None:
    """Every switch that a person can make, each for some syncs of the HPA."""
    start(api, "switched", 5)
    reaches(api, "switched", 5)
    # The count is nobody's wish any more: what happens now is the switches' doing alone.
    for engine, mode in [
        ("Floor", "Active"),
        ("Floor", "Paused"),
        ("Floor", "Active"),
        ("Direct", "Active"),
        ("Direct", "Paused"),
        ("Floor", "Paused"),
        ("Floor", "Recommend"),
        ("Floor", "Active"),
        ("Direct", "Recommend"),
        ("Direct", "Active"),
    ]:
        api.apply(asked("switched", engine=engine, mode=mode))
        eventually(
            lambda: api.get("gensvc", "switched"),
            lambda found: found["status"]["observedGeneration"] == found["metadata"]["generation"],
        )
        stays(lambda: deployment_replicas(api, "switched"), 5, seconds=3)
    hpa = eventually(lambda: api.get("hpa", "switched"), lambda found: found["spec"]["minReplicas"] == 2)
    for field in ("minReplicas", "maxReplicas", "metrics"):
        assert owners(hpa, "spec", field) == OPERATOR_OWNER


def test_direct_replicas_have_one_owner_whoever_wrote_last(api: Api, running: Operator) -> None:
    start(api, "direct", 5)
    reaches(api, "direct", 5)
    assert owners(api.get("deployment", "direct"), "spec", "replicas") == {("generation-operator-scaler", "scale")}
    hpa = api.get("hpa", "direct")
    for field in ("minReplicas", "maxReplicas", "metrics", "behavior", "scaleTargetRef"):
        assert owners(hpa, "spec", field) == OPERATOR_OWNER

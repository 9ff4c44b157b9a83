"""APIs that a cluster may lack: the operator says so, goes on without, and heals by itself when they appear."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from api_fixtures import Api, Object, Operator, eventually, service
from exporter import HIGH, LOW, Exporter
from localcluster.cluster import Cluster

_VPA: Final = Path(__file__).parent / "vpa_crd.yaml"
_VPA_NAME: Final = "verticalpodautoscalers.autoscaling.k8s.io"
_ADAPTER: Final[Object] = {
    "apiVersion": "apiregistration.k8s.io/v1",
    "kind": "APIService",
    "metadata": {"name": "v1beta2.custom.metrics.k8s.io"},
    "spec": {
        "group": "custom.metrics.k8s.io",
        "version": "v1beta2",
        "groupPriorityMinimum": 100,
        "versionPriority": 100,
        "insecureSkipTLSVerify": True,
        "service": {"name": "nobody", "namespace": "default"},
    },
}


@pytest.fixture
def optional_apis(crd_cluster: Cluster) -> Iterator[Cluster]:
    """The cluster, which lacks what the test adds again afterwards."""
    yield crd_cluster
    crd_cluster.kubectl("delete", "apiservice", _ADAPTER["metadata"]["name"], "--ignore-not-found")
    crd_cluster.kubectl("delete", "crd", _VPA_NAME, "--ignore-not-found")


def watched(api: Api, name: str) -> list[str]:
    """What the HPA watches."""
    return [metric["type"] for metric in api.get("hpa", name)["spec"]["metrics"]]


def reason(api: Api, name: str, kind: str) -> str:
    return str(api.condition(name, kind).get("reason"))


def update_mode(api: Api, name: str) -> Any:
    return (api.find("vpa", name) or {}).get("spec", {}).get("updatePolicy", {}).get("updateMode")


def test_guard_watches_requests_as_soon_as_they_can_be_had(
    api: Api, operator: Operator, optional_apis: Cluster
) -> None:
    operator.settings["GENERATION_OPERATOR_RESYNC_SECONDS"] = "2"
    operator.start()
    api.apply(service("web", horizontalPodAutoscaler={"requestsPerSecond": 100}))
    eventually(lambda: reason(api, "web", "AbleToScale"), lambda told: told == "GuardIncomplete", seconds=40)
    assert watched(api, "web") == ["Resource"]
    optional_apis.kubectl("apply", "-f", "-", stdin=json.dumps(_ADAPTER))
    eventually(lambda: watched(api, "web"), lambda types: types == ["Resource", "Pods"])
    eventually(lambda: reason(api, "web", "AbleToScale"), lambda told: told == "ReadyToScale")
    optional_apis.kubectl("delete", "apiservice", _ADAPTER["metadata"]["name"])
    eventually(lambda: watched(api, "web"), lambda types: types == ["Resource"])


def test_memory_requests_are_moved_at_quiet_times_only(api: Api, operator: Operator, optional_apis: Cluster) -> None:
    operator.settings["GENERATION_OPERATOR_RESYNC_SECONDS"] = "2"
    operator.start()
    resizing = service("big", maxReplicas=4, score={"cooldownSeconds": 2})
    resizing["spec"]["vertical"] = {"mode": "Active"}
    api.apply(resizing)
    eventually(lambda: reason(api, "big", "VerticalScalingActive"), lambda told: told == "ApiMissing", seconds=40)
    optional_apis.kubectl("apply", "-f", str(_VPA))
    eventually(lambda: update_mode(api, "big"), lambda mode: mode == "Off", what="nothing is known yet, so it rests")
    pods = [f"big-{index}" for index in range(4)]
    with Exporter(api.cluster.plan, api.namespace, "big").serving(pods, LOW) as exporter:
        eventually(lambda: update_mode(api, "big"), lambda mode: mode == "InPlaceOrRecreate", seconds=60)
        eventually(lambda: reason(api, "big", "VerticalScalingActive"), lambda told: told == "Resizing")
        exporter.set(HIGH)
        eventually(lambda: api.get("deployment", "big")["spec"]["replicas"], lambda count: count == 4, seconds=40)
        eventually(lambda: update_mode(api, "big"), lambda mode: mode == "Off", what="it rests after the step")
        eventually(lambda: reason(api, "big", "VerticalScalingActive"), lambda told: told == "Resting")

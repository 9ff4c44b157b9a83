"""Both engines beside an HPA controller with its own timing, a sync every 15 s: many ticks between two of its looks."""

import itertools
import json
from functools import partial

import pytest

from api_fixtures import PROJECT, Api, Object, Operator, eventually, service
from interleaving_world import assert_never_opposite_directions
from localcluster.cluster import Cluster
from ownership_world import FAST, deployment_replicas, operator_writes, owners, ready, stays

SYNC = 15.0
SEED = 20_260_102
# An HPA that comes to have metrics on the way lowers by itself; by default it would look back over 300 s first.
AT_ONCE: Object = {"horizontalPodAutoscaler": {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}}}


@pytest.fixture(scope="module")
def crd_cluster(default_hpa_cluster: Cluster) -> Cluster:
    """Takes the place of the cluster with the quick HPA controller."""
    default_hpa_cluster.kubectl("apply", "--server-side", "--validate=strict", "-f", str(PROJECT / "crds"))
    default_hpa_cluster.kubectl("wait", "--for=condition=Established", "crd/generationservices.generation.dev")
    return default_hpa_cluster


def bounds_written(api: Api, name: str) -> list[tuple[int, int]]:
    """What the floor's manager applied, in order."""
    bodies: list[Object] = [
        entry["requestObject"]["spec"]
        for entry in operator_writes(api)
        if entry["objectRef"]["resource"] == "horizontalpodautoscalers"
        and entry["objectRef"]["name"] == name
        and "fieldManager=generation-operator-floor" in entry["requestURI"]
    ]
    return [(spec["minReplicas"], spec["maxReplicas"]) for spec in bodies]


def ask(api: Api, name: str, replicas: int) -> None:
    override = {"replicas": replicas, "until": "2099-01-01T00:00:00Z"}
    patch = {"spec": {"scaling": {"override": override}}}
    api.kubectl("patch", f"gensvc/{name}", "--type=merge", "--patch", json.dumps(patch))


def reaches(api: Api, name: str, replicas: int) -> None:
    # Two syncs: a first one may have begun just before.
    eventually(
        lambda: deployment_replicas(api, name), lambda count: count == replicas, seconds=4 * SYNC, what=str(replicas)
    )


def test_a_step_of_the_floor_is_written_once_and_one_of_direct_is_not_undone(api: Api, operator: Operator) -> None:
    operator.start()
    for name, engine in (("floor", "Floor"), ("direct", "Direct")):
        api.apply(service(name, **FAST, **AT_ONCE, engine=engine))
        eventually(partial(ready, api, name), bool, what="Ready", seconds=60)
    written = len(bounds_written(api, "floor"))

    for name in ("floor", "direct"):
        ask(api, name, 6)
    reaches(api, "direct", 6)
    reaches(api, "floor", 6)
    assert bounds_written(api, "floor")[written:] == [(6, 8)], "some 15 ticks passed until the HPA looked"

    ask(api, "floor", 3)
    ask(api, "direct", 4)
    reaches(api, "direct", 4)
    reaches(api, "floor", 3)
    # Whether the HPA has metrics is its own affair, and may change on the way; the maximum comes back in any case.
    eventually(lambda: bounds_written(api, "floor")[-1], lambda found: found == (3, 8), what="the maximum is back")
    minimums = [low for low, _ in bounds_written(api, "floor")[written:]]
    assert [low for low, _ in itertools.groupby(minimums)] == [6, 3], "no step was taken back"
    assert len(minimums) <= 4

    stays(lambda: (deployment_replicas(api, "floor"), deployment_replicas(api, "direct")), (3, 4), seconds=SYNC + 2)
    floor, direct = api.get("deployment", "floor"), api.get("deployment", "direct")
    assert owners(floor, "spec", "replicas") == {("kube-controller-manager", "scale")}
    assert owners(direct, "spec", "replicas") == {("generation-operator-scaler", "scale")}


def test_operator_and_guard_never_pull_in_opposite_directions(api: Api, operator: Operator) -> None:
    assert_never_opposite_directions(api, operator, seed=SEED, sync_seconds=SYNC)

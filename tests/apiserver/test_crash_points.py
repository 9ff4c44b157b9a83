"""SIGKILL at every write boundary: the next start finishes what the last one began, whatever that was.

The proxy in front of the API server kills the operator when its n-th write has been carried out and before the answer
is on its way. The cluster is then in the state in which it is before write n + 1 as well, so that one sweep covers both
sides of every boundary; a kill before the first write is a row of its own.
"""

import contextlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from api_fixtures import Api, Object, Operator, eventually, service
from bench.pod_load import PodLoad, Work
from exporter import HIGH, Exporter
from fault_proxy import Call, FaultProxy
from generation_operator.api.names import ANNOTATION_HASH

# A first reconcile makes an account, two Services, a Deployment in three steps, a disruption budget, an HPA, three
# children of the proxy and a status.
_FIRST_WRITES: Final = 12
_NAME: Final = "crashed"
_HASH: Final = re.compile(r"\b[0-9a-f]{8,64}\b")  # names and annotations; most depend on the namespace
_KINDS: Final = ("deployment", "service", "hpa", "configmap", "replicaset", "serviceaccount", "poddisruptionbudget")


def killing(
    proxy: FaultProxy, operator: Operator, number: int, *, counts: Callable[[Call], bool] | None = None
) -> None:
    """Have the operator killed at its n-th write from now on; 0 means before the first one."""
    seen = 0

    def reached(_: int, call: Call) -> bool:
        nonlocal seen
        seen += counts is None or counts(call)
        if seen != max(1, number) or operator.process is None:
            return False
        operator.process.kill()
        return True

    if number:
        proxy.after_write = reached
    else:
        proxy.before_write = reached


def await_killed_and_start_again(proxy: FaultProxy, operator: Operator) -> None:
    assert operator.process is not None
    assert operator.process.wait(60) == -9, "the operator made fewer writes than this, or ended by itself"
    proxy.before_write = proxy.after_write = None
    operator.start()


def settled(api: Api) -> bool:
    return api.condition(_NAME, "Ready").get("status") == "True"


def picture(api: Api) -> dict[str, Any]:
    """What the operator is answerable for, without what differs from namespace to namespace."""
    children: dict[str, Any] = {}
    replica_sets: list[Any] = []  # a second one of a Deployment would mean that its pods were made twice
    for item in api.items(",".join(_KINDS)):
        metadata, spec = item["metadata"], item.get("spec", {})
        if "ownerReferences" not in metadata:
            continue  # what the namespace brings along
        [owner] = metadata["ownerReferences"]
        if item["kind"] == "ReplicaSet":
            replica_sets.append([owner["name"], spec["replicas"]])
            continue
        children[f"{item['kind']}/{metadata['name']}"] = {
            "owner": owner["name"],
            "labels": metadata["labels"],
            "hash": metadata["annotations"][ANNOTATION_HASH],
            "spec": {field: value for field, value in spec.items() if field not in ("clusterIP", "clusterIPs")},
        }
    text = json.dumps({"children": children, "replica sets": sorted(replica_sets)}, sort_keys=True)
    found: dict[str, Any] = json.loads(_HASH.sub("HASH", re.sub(rf"\b{api.namespace}\b", "NAMESPACE", text)))
    return found


def writers(deployment: Object) -> set[tuple[str, str]]:
    """Who owns fields of the Deployment, apart from its status."""
    entries = deployment["metadata"]["managedFields"]
    return {(entry["manager"], str(sorted(entry["fieldsV1"]))) for entry in entries if "subresource" not in entry}


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, Any]:
    """The picture that every other one is compared with; the first test fills it."""
    return {}


@pytest.mark.parametrize("number", [None, *range(_FIRST_WRITES + 1)], ids=str)
def test_first_reconcile_killed_at_a_write_ends_as_an_undisturbed_one(
    api: Api, operator: Operator, tmp_path: Path, undisturbed: dict[str, Any], number: int | None
) -> None:
    with FaultProxy(api.cluster.kubeconfig, tmp_path).running() as proxy:
        operator.settings["GENERATION_OPERATOR_KUBECONFIG"] = str(proxy.kubeconfig)
        api.apply(service(_NAME))
        if number is not None:
            killing(proxy, operator, number)
        operator.start()
        if number is not None:
            await_killed_and_start_again(proxy, operator)
        eventually(lambda: settled(api), bool, seconds=30, what="Ready after the restart")
        if number is None:
            undisturbed |= {"children": picture(api), "writers": writers(api.get("deployment", _NAME))}
            assert undisturbed["children"]["replica sets"] == [["crashed", 2], ["crashed-proxy", 1]]
            assert len(proxy.writes_since(0)) >= _FIRST_WRITES, "the sweep has rows that cannot happen"
            return
        if not undisturbed:
            pytest.fail("the row without a kill comes first and has to pass")
        eventually(lambda: picture(api), lambda seen: seen == undisturbed["children"], seconds=10, what="same children")
        assert writers(api.get("deployment", _NAME)) == undisturbed["writers"]


@pytest.mark.parametrize("number", [0, 1, 2], ids=["before the scale", "after the scale", "after the status"])
def test_scaling_tick_killed_at_a_write_takes_its_step_once(
    api: Api, operator: Operator, tmp_path: Path, number: int
) -> None:
    """The step is from 2 to 4, which is the maximum: one that is taken twice, or forgotten, would be seen."""
    with FaultProxy(api.cluster.kubeconfig, tmp_path).running() as proxy:
        operator.settings["GENERATION_OPERATOR_KUBECONFIG"] = str(proxy.kubeconfig)
        operator.start()
        api.apply(service(_NAME, maxReplicas=4, score={"cooldownSeconds": 2}))
        eventually(lambda: settled(api), bool, what="Ready")
        scaled = False

        def counts(call: Call) -> bool:
            nonlocal scaled
            scaled = scaled or "/scale" in call.path
            return scaled

        killing(proxy, operator, number, counts=counts)
        pods = [f"{_NAME}-{index}" for index in range(4)]  # more than there are at first: coverage is no question here
        with Exporter(api.cluster.plan, api.namespace, _NAME).serving(pods, HIGH):
            await_killed_and_start_again(proxy, operator)
            deployment = eventually(
                lambda: api.get("deployment", _NAME), lambda found: found["spec"]["replicas"] == 4, seconds=30
            )
            eventually(lambda: api.get("gensvc", _NAME)["status"].get("replicas"), lambda count: count == 4, seconds=30)
        assert len([item for item in api.items("replicaset") if item["spec"]["replicas"]]) == 2  # with the proxy's
        assert deployment["metadata"]["uid"] == api.get("deployment", _NAME)["metadata"]["uid"]


@pytest.mark.parametrize(
    "number", range(5), ids=["before all", "one pod marked", "both marked", "after the scale", "after the status"]
)
def test_tick_that_lowers_killed_at_a_write_lets_the_idlest_pods_go_once(
    api: Api, operator: Operator, tmp_path: Path, number: int
) -> None:
    """The step is from 4 to 2: two pods are marked, the count is written, the status tells it."""
    with (
        FaultProxy(api.cluster.kubeconfig, tmp_path).running() as proxy,
        PodLoad(Work(0, 0, 0)).serving() as free,
        contextlib.ExitStack() as serving,
    ):
        operator.settings["GENERATION_OPERATOR_KUBECONFIG"] = str(proxy.kubeconfig)
        operator.start()
        api.apply(_with_replicas(4, port=free.port))
        eventually(lambda: api.get("gensvc", _NAME).get("status", {}).get("readyReplicas"), lambda count: count == 4)
        # It asked them in vain, which it remembers for half a minute; another process does not.
        operator.stop()
        pods = {item["metadata"]["name"]: item["status"]["podIP"] for item in _pods(api)}
        loads = [PodLoad(Work(in_flight=busy, queued=0, arrivals_per_second=0)) for busy in range(1, 5)]
        for load, address in zip(loads, pods.values(), strict=True):
            serving.enter_context(load.serving(address, free.port))
        operator.start()
        eventually(lambda: min(load.asked for load in loads), lambda asked: asked > 0, what="every pod was asked")
        step_began = False

        def counts(call: Call) -> bool:
            nonlocal step_began
            step_began = step_began or "/pods/" in call.path
            return step_began

        killing(proxy, operator, number, counts=counts)
        api.apply(_with_replicas(2, port=free.port))
        await_killed_and_start_again(proxy, operator)
        eventually(lambda: api.get("gensvc", _NAME)["status"].get("replicas"), lambda count: count == 2, seconds=30)
        assert api.get("deployment", _NAME)["spec"]["replicas"] == 2
        busiest = set(list(pods)[2:])
        eventually(lambda: {item["metadata"]["name"] for item in _pods(api)}, lambda names: names == busiest)


def _with_replicas(count: int, *, port: int) -> Object:
    manifest = service(_NAME, override={"replicas": count, "until": "2099-01-01T00:00:00Z"})
    manifest["spec"]["port"] = port
    return manifest


def _pods(api: Api) -> list[Object]:
    return api.items("pods", "app.kubernetes.io/component=service")

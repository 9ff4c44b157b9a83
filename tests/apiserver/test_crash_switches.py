"""SIGKILL in the middle of a change that takes several writes: the next start finishes it, and no replica is lost.

The changes are those in which two field managers, or an old and a new child, exist next to each other for a moment: the
bounds of the HPA that change hands with the engine, the guard that goes with the mode, the configuration of the proxy;
and steps of engine Floor, whose bounds may not stay narrow.
One namespace for the module; every case has a resource of its own, and no metrics, so that a count which were lost in
between would stay lost.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from api_fixtures import Api, Object, Operator, eventually, service
from fault_proxy import Call, FaultProxy
from localcluster.cluster import Cluster
from ownership_world import deployment_replicas, owners, stays

_NAMESPACE: Final = "crash-switches"
_REPLICAS: Final = 5
_CONVERGED_SECONDS: Final = 30.0
_OPERATOR: Final = {("generation-operator", "")}
_FLOOR: Final = {("generation-operator-floor", "")}


@dataclass(frozen=True, slots=True)
class World:
    """A namespace, its operator, and the proxy in front of the API server that can kill it."""

    api: Api
    proxy: FaultProxy
    operator: Operator

    def made(self, name: str, **scaling: Any) -> None:
        """A resource that is Ready at five replicas, which nobody but a scaler asked for."""
        until = {"replicas": _REPLICAS, "until": "2099-01-01T00:00:00Z"}
        self.api.apply(service(name, **scaling, override=until))
        eventually(lambda: deployment_replicas(self.api, name), lambda count: count == _REPLICAS, seconds=40)
        self.api.apply(service(name, **scaling))
        self.await_settled(name)

    def await_settled(self, name: str, replicas: int = _REPLICAS) -> None:
        """Wait until the operator has said Ready about the newest generation, with every replica."""
        eventually(
            lambda: _settled(self.api.get("gensvc", name), replicas), bool, seconds=_CONVERGED_SECONDS, what="settled"
        )

    def kill_at(self, name: str, number: int) -> None:
        """Have the operator killed when its n-th write for the resource has been carried out."""
        seen = 0

        def reached(_: int, call: Call) -> None:
            nonlocal seen
            seen += f"/{name}" in call.path
            if seen == number and self.operator.process is not None:
                self.operator.process.kill()

        self.proxy.after_write = reached

    def await_killed_and_start_again(self) -> None:
        assert self.operator.process is not None
        assert self.operator.process.wait(30) == -9, "the change took fewer writes than this, or the operator failed"
        self.proxy.after_write = None
        self.operator.start()


def _settled(found: Object, replicas: int) -> bool:
    status = found.get("status", {})
    [ready] = [entry for entry in status.get("conditions", []) if entry["type"] == "Ready"] or [{}]
    return bool(
        ready.get("status") == "True"
        and ready["observedGeneration"] == status["observedGeneration"] == found["metadata"]["generation"]
        and status.get("readyReplicas") == replicas
    )


@pytest.fixture(scope="module")
def world(crd_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    crd_cluster.kubectl("create", "namespace", _NAMESPACE)
    folder: Path = tmp_path_factory.mktemp(_NAMESPACE)
    with FaultProxy(crd_cluster.kubeconfig, folder).running() as proxy:
        settings = {
            "GENERATION_OPERATOR_WATCH_NAMESPACES": _NAMESPACE,
            "GENERATION_OPERATOR_KUBECONFIG": str(proxy.kubeconfig),
            "GENERATION_OPERATOR_RESYNC_SECONDS": "5",
        }
        operator = Operator(crd_cluster, folder / "operator.log", settings)
        operator.start()
        yield World(Api(crd_cluster, _NAMESPACE), proxy, operator)
        operator.stop()
        print(operator.read_log()[-20000:])  # noqa: T201 (shown by pytest when a test failed)
    crd_cluster.kubectl("delete", "namespace", _NAMESPACE, "--wait=false")


@pytest.mark.parametrize("number", [1, 2])
def test_engine_to_floor_killed_in_between(world: World, number: int) -> None:
    name, api = f"floor{number}", world.api
    world.made(name, engine="Direct")
    world.kill_at(name, number)
    api.apply(service(name, engine="Floor"))
    world.await_killed_and_start_again()
    world.await_settled(name)
    hpa = eventually(
        lambda: api.get("hpa", name), lambda found: owners(found, "spec", "minReplicas") == _FLOOR, what="the floor"
    )
    assert owners(hpa, "spec", "maxReplicas") == _FLOOR
    assert owners(hpa, "spec", "metrics") == owners(hpa, "spec", "behavior") == _OPERATOR
    assert (hpa["spec"]["minReplicas"], hpa["spec"]["maxReplicas"]) == (_REPLICAS, 8)
    stays(lambda: deployment_replicas(api, name), _REPLICAS, seconds=3)


@pytest.mark.parametrize("number", [1, 2])
def test_engine_to_direct_killed_in_between(world: World, number: int) -> None:
    name, api = f"direct{number}", world.api
    world.made(name, engine="Floor")
    world.kill_at(name, number)
    api.apply(service(name, engine="Direct"))
    world.await_killed_and_start_again()
    world.await_settled(name)
    hpa = eventually(
        lambda: api.get("hpa", name), lambda found: owners(found, "spec", "minReplicas") == _OPERATOR, what="the owner"
    )
    for field in ("maxReplicas", "metrics", "behavior"):
        assert owners(hpa, "spec", field) == _OPERATOR
    assert (hpa["spec"]["minReplicas"], hpa["spec"]["maxReplicas"]) == (2, 8)
    assert hpa["spec"]["behavior"]["scaleDown"]["selectPolicy"] == "Disabled"
    stays(lambda: deployment_replicas(api, name), _REPLICAS, seconds=3)


@pytest.mark.parametrize(("to", "number"), [(7, 1), (7, 2), (3, 1), (3, 2), (3, 3), (3, 4)])
def test_step_of_the_floor_killed_in_between(world: World, to: int, number: int) -> None:
    """Up is one write of the bounds; down, without metrics, one that narrows them and one that widens them again."""
    name, api = f"step{to}-{number}", world.api
    api.apply(_floored(name, _REPLICAS))
    eventually(lambda: deployment_replicas(api, name), lambda count: count == _REPLICAS, seconds=40)
    world.await_settled(name)
    eventually(lambda: bounds(api, name), lambda found: found == (_REPLICAS, 8))
    world.kill_at(name, number)
    api.apply(_floored(name, to))
    world.await_killed_and_start_again()
    world.await_settled(name, to)
    eventually(lambda: bounds(api, name), lambda found: found == (to, 8), seconds=_CONVERGED_SECONDS, what="bounds")
    stays(lambda: deployment_replicas(api, name), to, seconds=3)


def bounds(api: Api, name: str) -> tuple[int, int]:
    spec = api.get("hpa", name)["spec"]
    return spec["minReplicas"], spec["maxReplicas"]


def _floored(name: str, replicas: int) -> Object:
    """So many are asked for; without a request of CPU there is nothing that its use could be a share of."""
    manifest = service(name, engine="Floor", override={"replicas": replicas, "until": "2099-01-01T00:00:00Z"})
    manifest["spec"]["resources"]["requests"]["cpu"] = "0"
    return manifest


def test_mode_without_guard_killed_after_the_guard_has_gone(world: World) -> None:
    name, api = "recommend", world.api
    world.made(name)
    world.kill_at(name, 1)
    api.apply(service(name, mode="Recommend"))
    world.await_killed_and_start_again()
    world.await_settled(name)
    assert api.find("hpa", name) is None
    stays(lambda: deployment_replicas(api, name), _REPLICAS, seconds=3)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_change_of_the_proxys_configuration_killed_in_between(world: World, number: int) -> None:
    """The new configuration, the proxy that mounts it, the old configuration: in the end one of each."""
    name, api = f"proxied{number}", world.api
    world.made(name)
    [before] = _configurations(api, name)
    world.kill_at(name, number)
    patch = {"spec": {"port": 8123}}  # the proxy's configuration names it
    api.kubectl("patch", "gensvc", name, "--type=merge", "--patch", json.dumps(patch))
    world.await_killed_and_start_again()
    after = eventually(
        lambda: _configurations(api, name),
        lambda found: len(found) == 1 and found != [before],
        seconds=_CONVERGED_SECONDS,
        what="the new configuration alone",
    )
    world.await_settled(name)
    template = api.get("deployment", f"{name}-proxy")["spec"]["template"]["spec"]
    assert after == [volume["configMap"]["name"] for volume in template["volumes"] if "configMap" in volume]
    [container] = api.get("deployment", name)["spec"]["template"]["spec"]["containers"]
    assert container["ports"][0]["containerPort"] == 8123
    assert deployment_replicas(api, name) == _REPLICAS


def _configurations(api: Api, name: str) -> list[str]:
    names = [item["metadata"]["name"] for item in api.items("configmap")]
    return [found for found in names if found.startswith(f"{name}-proxy-")]

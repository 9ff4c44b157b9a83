"""Somebody edits or deletes a child: what is the operator's comes back, what is somebody else's stays.

One operator process for the module, which watches one namespace; every case has a resource of its own. The cluster has
the optional APIs, so that there is a child of every kind.

That a child is back within 5 s is read from the API server's audit log, from the answer to who edited or deleted it to
the answer to the operator: what kubectl takes to start and to look is not in it. 0.01 to 0.33 s were seen.
"""

import itertools
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

import audit
from api_fixtures import Api, Object, Operator, eventually, service
from fault_proxy import FaultProxy
from localcluster.cluster import Cluster
from ownership_world import operator_writes

_numbers = itertools.count(1)
_RESTORED_SECONDS: Final = 5.0
_PATIENCE_SECONDS: Final = 15.0  # until kubectl has seen it, on a machine that does something else as well
_NAMESPACE: Final = "drift"
# Resources that are made together. Each takes seconds until it is Ready and nothing is written any more, all of them
# hardly more.
_TOGETHER: Final = 12


@dataclass(frozen=True, slots=True)
class World:
    """A namespace with its operator, whose requests are seen."""

    api: Api
    proxy: FaultProxy
    _made: list[str] = field(default_factory=list)  # and not used yet

    def made(self) -> str:
        """The name of a new resource that is Ready."""
        if not self._made:
            self._made.extend(f"drift{next(_numbers)}" for _ in range(_TOGETHER))
            self.api.apply({"apiVersion": "v1", "kind": "List", "items": [service(name) for name in self._made]})
            for name in self._made:
                self.await_ready(name)
        return self._made.pop()

    def await_ready(self, name: str) -> None:
        """Wait until the newest generation is Ready and nothing has been written for two seconds."""

        def ready() -> bool:
            found = self.api.get("gensvc", name)
            status = found.get("status", {})
            [condition] = [entry for entry in status.get("conditions", []) if entry["type"] == "Ready"] or [{}]
            return bool(
                condition.get("status") == "True"
                and condition["observedGeneration"] == found["metadata"]["generation"]
                and status.get("readyReplicas") == status.get("replicas")
            )

        eventually(ready, bool, seconds=40, what=f"{name} is Ready")
        eventually(self._quiet, bool, seconds=40, what="no writes for two seconds")

    def _quiet(self) -> bool:
        written = [call.at for call in self.proxy.calls if call.writes]
        return not written or time.monotonic() - written[-1] > 2

    def child(self, kind: str, name: str) -> tuple[str, str]:
        """Kind and name of a child, whose name may end with a hash."""
        if kind != "configmaps":
            return kind, name
        [found] = [item for item in self.api.items(kind) if item["metadata"]["name"].startswith(name)]
        return kind, str(found["metadata"]["name"])

    def assert_restored_in_time(self, kind: str, name: str) -> None:
        """From the last write of somebody else to the operator's last answer to it."""
        about = [entry for entry in audit.writes(self.api) if audit.concerns(entry, kind, name)]
        disturbed = max(audit.answered_at(entry) for entry in about if entry["userAgent"].startswith("kubectl"))
        restored = max(
            audit.answered_at(entry) for entry in operator_writes(self.api) if audit.concerns(entry, kind, name)
        )
        assert 0 < restored - disturbed < _RESTORED_SECONDS


@pytest.fixture(scope="module")
def world(every_api: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    every_api.kubectl("create", "namespace", _NAMESPACE)
    folder: Path = tmp_path_factory.mktemp("drift")
    with FaultProxy(every_api.kubeconfig, folder).running() as proxy:
        settings = {
            "GENERATION_OPERATOR_WATCH_NAMESPACES": _NAMESPACE,
            "GENERATION_OPERATOR_KUBECONFIG": str(proxy.kubeconfig),
        }
        operator = Operator(every_api, folder / "operator.log", settings)
        operator.start()
        yield World(Api(every_api, _NAMESPACE), proxy)
        operator.stop()
        print(operator.read_log()[-20000:])  # noqa: T201 (shown by pytest when a test failed)
    every_api.kubectl("delete", "namespace", _NAMESPACE, "--wait=false")


Reader = Callable[[Object], Any]

EDITS: Final[dict[str, tuple[str, str, Object, Reader]]] = {
    "Deployment's grace period": (
        "deployments", "", {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 9}}}},
        lambda found: found["spec"]["template"]["spec"]["terminationGracePeriodSeconds"],
    ),
    "Service's selector": (
        "services", "", {"spec": {"selector": {"app.kubernetes.io/name": "somebody-else"}}},
        lambda found: found["spec"]["selector"],
    ),
    "headless Service's label": (
        "services", "-headless", {"metadata": {"labels": {"app.kubernetes.io/component": "other"}}},
        lambda found: found["metadata"]["labels"]["app.kubernetes.io/component"],
    ),
    "HPA's bounds": (
        "horizontalpodautoscalers", "", {"spec": {"maxReplicas": 99}}, lambda found: found["spec"]["maxReplicas"],
    ),
    "HPA's behavior": (
        "horizontalpodautoscalers", "", {"spec": {"behavior": {"scaleDown": {"selectPolicy": "Max"}}}},
        lambda found: found["spec"]["behavior"]["scaleDown"]["selectPolicy"],
    ),
    "proxy's replicas": (
        "deployments", "-proxy", {"spec": {"replicas": 7}}, lambda found: found["spec"]["replicas"],
    ),
    "proxy's Service's selector": (
        "services", "-proxy", {"spec": {"selector": {"app.kubernetes.io/name": "somebody-else"}}},
        lambda found: found["spec"]["selector"],
    ),
    # Its data cannot be edited: it is immutable.
    "proxy's configuration's label": (
        "configmaps", "-proxy-", {"metadata": {"labels": {"app.kubernetes.io/component": "other"}}},
        lambda found: found["metadata"]["labels"]["app.kubernetes.io/component"],
    ),
    "account's token": (
        "serviceaccounts", "-service", {"automountServiceAccountToken": True},
        lambda found: found["automountServiceAccountToken"],
    ),
    "disruption budget": (
        "poddisruptionbudgets", "", {"spec": {"maxUnavailable": "100%"}}, lambda found: found["spec"]["maxUnavailable"],
    ),
    "VPA's mode": (
        "verticalpodautoscalers", "", {"spec": {"updatePolicy": {"updateMode": "Recreate"}}},
        lambda found: found["spec"]["updatePolicy"]["updateMode"],
    ),
    "PodMonitor's endpoints": (
        "podmonitors", "", {"spec": {"podMetricsEndpoints": [{"port": "other"}]}},
        lambda found: found["spec"]["podMetricsEndpoints"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", list(EDITS))
def test_edit_of_an_owned_field_is_undone_and_a_users_fields_stay(world: World, case: str) -> None:
    kind, suffix, patch, read = EDITS[case]
    kind, name = world.child(kind, world.made() + suffix)
    api = world.api
    before = read(api.get(kind, name))
    api.kubectl("annotate", kind, name, "example.com/note=mine")
    api.kubectl("label", kind, name, "example.com/team=mine")
    api.kubectl("patch", kind, name, "--type=merge", "--patch", json.dumps(patch))
    eventually(lambda: read(api.get(kind, name)), lambda now: now == before, seconds=_PATIENCE_SECONDS)
    world.assert_restored_in_time(kind, name)
    metadata = api.get(kind, name)["metadata"]
    assert metadata["annotations"]["example.com/note"] == "mine"
    assert metadata["labels"]["example.com/team"] == "mine"


DELETIONS: Final = (
    ("deployments", ""),
    ("deployments", "-proxy"),
    ("services", ""),
    ("services", "-headless"),
    ("services", "-proxy"),
    ("horizontalpodautoscalers", ""),
    ("poddisruptionbudgets", ""),
    ("serviceaccounts", "-service"),
    ("configmaps", "-proxy-"),
    ("verticalpodautoscalers", ""),
    ("podmonitors", ""),
)


@pytest.mark.parametrize(("kind", "suffix"), DELETIONS, ids="".join)
def test_deleted_child_comes_back_as_it_was(world: World, kind: str, suffix: str) -> None:
    kind, name = world.child(kind, world.made() + suffix)
    before = world.api.get(kind, name)
    world.api.kubectl("delete", kind, name, "--wait=false")
    after = eventually(
        lambda: world.api.find(kind, name),
        lambda found: found is not None and found["metadata"]["uid"] != before["metadata"]["uid"],
        seconds=_PATIENCE_SECONDS,
    )
    world.assert_restored_in_time(kind, name)
    assert after is not None
    for part in ("annotations", "labels", "ownerReferences"):
        kept, made = ({key: value for key, value in _flat(item["metadata"][part]).items() if "deployment.kubernetes.io"
                       not in key} for item in (before, after))  # fmt: skip
        assert made == kept


def _flat(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {str(index): item for index, item in enumerate(value)}


def test_fields_of_hpa_vpa_and_a_person_survive_a_change_of_the_spec(world: World) -> None:
    name, api = world.made(), world.api
    recommended = {"recommendation": {"containerRecommendations": [{"containerName": "service"}]}}
    api.kubectl(
        "patch", "verticalpodautoscalers", name, "--subresource=status", "--type=merge",
        "--patch", json.dumps({"status": recommended}),
    )  # fmt: skip
    api.kubectl("patch", "hpa", name, "--type=merge", "--patch", '{"metadata":{"annotations":{"example.com/a":"b"}}}')
    api.kubectl(
        "patch", "deployment", name, "--type=merge", "--patch",
        '{"spec":{"progressDeadlineSeconds":321,"template":{"metadata":{"annotations":{"example.com/restarted":"now"}}}}}',
    )  # fmt: skip
    changed = service(name, minReplicas=2, maxReplicas=6)
    changed["spec"]["vertical"] = {"mode": "Active"}
    api.apply(changed)
    hpa = eventually(lambda: api.get("hpa", name), lambda found: found["spec"]["maxReplicas"] == 6)
    assert hpa["metadata"]["annotations"]["example.com/a"] == "b"
    assert hpa["status"].get("conditions"), "the status of the HPA controller is its own"
    vpa = eventually(
        lambda: api.get("verticalpodautoscalers", name),
        lambda found: found["spec"]["resourcePolicy"]["containerPolicies"][0]["controlledResources"] == ["memory"],
    )
    assert vpa["status"] == recommended
    deployment = api.get("deployment", name)
    assert deployment["spec"]["template"]["metadata"]["annotations"]["example.com/restarted"] == "now"
    assert deployment["spec"]["progressDeadlineSeconds"] == 321


CHANGES: Final[dict[str, tuple[Object, set[str]]]] = {
    "bounds of the scaling": ({"scaling": {"maxReplicas": 7}}, {"horizontalpodautoscalers/NAME"}),
    "image": ({"image": "localhost/generation-service:other"}, {"deployments/NAME"}),
    "proxy off": (
        {"proxy": {"enabled": False}},
        {"deployments/NAME-proxy", "services/NAME-proxy", "configmaps/NAME-proxy-HASH"},
    ),
}


@pytest.mark.parametrize("case", list(CHANGES))
def test_change_of_the_spec_writes_exactly_the_affected_children(world: World, case: str) -> None:
    patch, affected = CHANGES[case]
    name, api = world.made(), world.api
    number = len(world.proxy.calls)
    api.kubectl("patch", "gensvc", name, "--type=merge", "--patch", json.dumps({"spec": patch}))
    world.await_ready(name)
    written = set()
    for call in world.proxy.writes_since(number):
        parts = call.path.partition("?")[0].split("/")
        resource, written_name = parts[parts.index("namespaces") + 2 :][:2]
        if resource == "generationservices":
            continue
        if resource == "configmaps":
            written_name = written_name.rpartition("-")[0] + "-HASH"
        written.add(f"{resource}/{written_name}".replace(name, "NAME"))
    assert written == affected


def test_another_reconcile_writes_nothing(world: World) -> None:
    name, api = world.made(), world.api
    assert [call for call in world.proxy.calls if call.writes and name in call.path], "else this could not fail"
    number = len(world.proxy.calls)
    api.kubectl("annotate", "gensvc", name, "example.com/looked=at")  # a reconcile for sure
    time.sleep(4)
    assert [call for call in world.proxy.writes_since(number) if name in call.path] == []

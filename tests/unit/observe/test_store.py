"""The store keeps the newest version of each object."""

from typing import Any

import pytest

from builders import make_decision, make_observation, make_service
from generation_operator.api.kinds import CONFIG_MAP, DEPLOYMENT, GENERATION_SERVICE, HPA, Manifest
from generation_operator.api.resource import Key
from generation_operator.decide.types import State
from generation_operator.observe.store import Autoscaling, Store

KEY = Key("n", "a")


def seen(version: Any, uid: str = "u-1", value: str = "") -> Manifest:
    metadata = {"name": "a", "namespace": "n", "uid": uid, "resourceVersion": version}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"value": value}}


def autoscaling() -> Autoscaling:
    return Autoscaling(make_observation(), make_decision(), State())


def test_what_was_put_is_found_by_kind_and_key() -> None:
    store = Store()
    store.put(CONFIG_MAP, seen("1"))
    assert store.get(CONFIG_MAP, KEY) == seen("1")
    assert store.keys(CONFIG_MAP) == {KEY}
    assert store.get(GENERATION_SERVICE, KEY) is None
    assert store.keys(GENERATION_SERVICE) == frozenset()


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        (seen("9"), seen("10"), "second"),  # as numbers: as text 9 would be newer
        (seen("10"), seen("9"), "first"),
        (seen("10", value="old"), seen("10", value="new"), "second"),
        (seen("10"), seen("9", uid="u-2"), "second"),  # another object of the same name
        (seen("10"), seen("opaque"), "second"),
        (seen(None), seen("9"), "second"),
    ],
)
def test_newer_version_is_kept(first: Manifest, second: Manifest, kept: str) -> None:
    store = Store()
    store.put(CONFIG_MAP, first)
    store.put(CONFIG_MAP, second)
    assert store.get(CONFIG_MAP, KEY) == (first if kept == "first" else second)


def deployment(version: str, replicas: int, manager: str = "generation-operator-scaler") -> Manifest:
    owner = {"kind": "GenerationService", "uid": "u-0", "controller": True}
    entries = [
        {"manager": "generation-operator", "fieldsV1": {"f:spec": {"f:template": {"f:spec": {}}}}},
        {"manager": manager, "operation": "Update", "fieldsV1": {"f:spec": {"f:replicas": {}, "f:paused": {}}}},
        {"manager": "kube-controller-manager", "fieldsV1": {"f:status": {"f:replicas": {}}}},
    ]
    metadata = {"name": "a", "namespace": "n", "uid": "u-1", "resourceVersion": version, "generation": 2}
    return {
        "metadata": metadata | {"labels": {"x": "y"}, "ownerReferences": [owner], "managedFields": entries},
        "spec": {"replicas": replicas, "template": {"spec": {"containers": []}}},
        "status": {"readyReplicas": 1, "conditions": [{"type": "Available", "status": "True"}]},
    }


def test_what_the_autoscaler_reads_of_a_deployment_is_kept_beside_the_whole() -> None:
    store = Store()
    store.put(DEPLOYMENT, deployment("1", 3))
    glance = store.glance(DEPLOYMENT, KEY)
    assert glance is not None
    assert glance["metadata"] == {
        "name": "a",
        "namespace": "n",
        "uid": "u-1",
        "resourceVersion": "1",
        "generation": 2,
        "ownerReferences": [{"kind": "GenerationService", "uid": "u-0", "controller": True}],
        "managedFields": [
            {
                "manager": "generation-operator-scaler",
                "operation": "Update",
                "fieldsV1": {"f:spec": {"f:replicas": {}}},
            }
        ],
    }
    assert (glance["spec"], glance["status"]) == ({"replicas": 3}, {"readyReplicas": 1})
    assert store.glance(DEPLOYMENT, KEY) is glance
    whole = store.get(DEPLOYMENT, KEY)
    assert whole is not None
    assert whole["spec"] == deployment("1", 3)["spec"]
    assert [kind for kind, _ in store.controlled("u-0")] == [DEPLOYMENT]


def test_a_glance_is_as_new_as_the_object_and_goes_with_it() -> None:
    store = Store()
    for version, replicas in (("2", 4), ("1", 3)):
        store.put(DEPLOYMENT, deployment(version, replicas))
        assert (store.glance(DEPLOYMENT, KEY) or {})["spec"] == {"replicas": 4}
    store.remove(DEPLOYMENT, KEY)
    assert store.glance(DEPLOYMENT, KEY) is None


def test_a_glance_at_an_hpa_shows_what_it_says() -> None:
    store = Store()
    hpa = deployment("1", 3) | {"spec": {"minReplicas": 1}, "status": {"conditions": [{"type": "ScalingActive"}]}}
    store.put(HPA, hpa)
    glance = store.glance(HPA, KEY)
    assert glance is not None
    assert (glance["spec"], glance["status"]) == (hpa["spec"], hpa["status"])
    assert [entry["manager"] for entry in glance["metadata"]["managedFields"]] == [
        "generation-operator",
        "generation-operator-scaler",
    ]
    assert glance["metadata"].keys() == {"name", "namespace", "uid", "resourceVersion", "generation", "managedFields"}


def test_what_is_known_is_told_without_a_look_at_it() -> None:
    store = Store()
    assert not store.has(CONFIG_MAP, KEY)
    store.put(CONFIG_MAP, seen("9"))
    assert store.has(CONFIG_MAP, KEY)
    assert not store.has(DEPLOYMENT, KEY)
    assert [store.knows(CONFIG_MAP, seen(version)) for version in ("9", "10")] == [True, False]


def test_removed_object_is_gone_and_may_come_back() -> None:
    store = Store()
    store.put(CONFIG_MAP, seen("10"))
    store.remove(CONFIG_MAP, KEY)
    store.remove(CONFIG_MAP, KEY)
    assert store.get(CONFIG_MAP, KEY) is None
    store.put(CONFIG_MAP, seen("9"))
    assert store.get(CONFIG_MAP, KEY) == seen("9")


def owned(name: str, *controllers: str) -> Manifest:
    references = [{"kind": "X", "name": "x", "uid": uid, "controller": True} for uid in controllers]
    metadata = {"name": name, "namespace": "n", "uid": f"u-{name}", "ownerReferences": references}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


def test_objects_are_found_by_who_controls_them_now() -> None:
    store = Store()
    for name, controller in (("a", "s-1"), ("b", "s-1"), ("c", "s-2")):
        store.put(CONFIG_MAP, owned(name, controller))
    store.put(CONFIG_MAP, owned("d"))

    def names(uid: str) -> set[str]:
        assert all(kind is CONFIG_MAP for kind, _ in store.controlled(uid))
        return {manifest["metadata"]["name"] for _, manifest in store.controlled(uid)}

    assert (names("s-1"), names("s-2"), names("s-3")) == ({"a", "b"}, {"c"}, set())
    store.put(CONFIG_MAP, owned("b", "s-2"))
    store.put(CONFIG_MAP, owned("c"))
    assert (names("s-1"), names("s-2")) == ({"a"}, {"b"})
    for name in ("a", "a", "b", "d"):
        store.remove(CONFIG_MAP, Key("n", name))
    assert (names("s-1"), names("s-2")) == (set(), set())


def test_keys_do_not_change_under_an_iteration() -> None:
    store = Store()
    store.put(CONFIG_MAP, seen("1"))
    for key in store.keys(CONFIG_MAP):
        store.remove(CONFIG_MAP, key)
    assert store.keys(CONFIG_MAP) == frozenset()


def test_decision_is_forgotten_with_its_resource() -> None:
    store = Store()
    resource = make_service("a", "n").manifest()
    store.put(GENERATION_SERVICE, resource)
    store.put_autoscaling(KEY, autoscaling())
    assert store.autoscaling(KEY) == autoscaling()
    store.remove(GENERATION_SERVICE, KEY)
    store.put(GENERATION_SERVICE, resource)
    assert store.autoscaling(KEY) is None


def test_decision_for_a_resource_that_is_gone_is_not_kept() -> None:
    store = Store()
    store.put_autoscaling(KEY, autoscaling())
    store.put(GENERATION_SERVICE, make_service("a", "n").manifest())
    assert store.autoscaling(KEY) is None

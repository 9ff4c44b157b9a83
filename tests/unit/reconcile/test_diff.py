"""When a live object counts as what we want."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import WITH_VPA, make_service
from generation_operator.api.kinds import Manifest
from generation_operator.desired.children import children
from generation_operator.reconcile.diff import covers

CHILDREN = children(
    make_service().env("A", "1").obj(),
    cluster_domain="cluster.local",
    available=WITH_VPA,
)
Path = tuple[str | int, ...]


@pytest.mark.parametrize(
    ("live", "desired", "expected"),
    [
        ({}, {}, True),
        ({"a": 1}, {}, True),
        ({}, {"a": 1}, False),
        ({"a": 1}, {"a": 1}, True),
        ({"a": 1}, {"a": 2}, False),
        ({"a": "80"}, {"a": 80}, False),
        ({"a": 1}, {"a": True}, False),
        ({"a": 0}, {"a": False}, False),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}, True),
        ({"a": "x"}, {"a": {"b": 1}}, False),
        ({"a": {"b": 1}}, {"a": "x"}, False),
        ({"a": "x"}, {"a": ["x"]}, False),
        # What the API server does not store.
        ({}, {"a": ""}, True),
        ({}, {"a": None}, True),
        ({}, {"a": {}}, True),
        ({}, {"a": []}, True),
        ({"a": "x"}, {"a": ""}, False),
        ({}, {"a": False}, False),
        ({}, {"a": 0}, False),
        # Quantities, only where quantities stand.
        ({"limits": {"cpu": "1"}}, {"limits": {"cpu": "1000m"}}, True),
        ({"requests": {"memory": "1Gi", "cpu": "2"}}, {"requests": {"memory": "1024Mi"}}, True),
        ({"limits": {"cpu": "2"}}, {"limits": {"cpu": "1000m"}}, False),
        ({"limits": {}}, {"limits": {"cpu": "1"}}, False),
        ({"averageValue": "1k"}, {"averageValue": "1000"}, True),
        ({"averageValue": "1k"}, {"averageValue": "1001"}, False),
        ({"emptyDir": {"sizeLimit": "1Gi"}}, {"emptyDir": {"sizeLimit": "1024Mi"}}, True),
        ({"limits": {"cpu": "1e3"}}, {"limits": {"cpu": "1k"}}, False),
        ({"limits": "1"}, {"limits": {"cpu": "1"}}, False),
        ({"value": "1"}, {"value": "1000m"}, False),
        # Lists of named items: order and items of others do not matter.
        ({"env": [{"name": "b"}, {"name": "a", "value": "1"}]}, {"env": [{"name": "a", "value": "1"}]}, True),
        ({"env": [{"name": "a", "value": "2"}]}, {"env": [{"name": "a", "value": "1"}]}, False),
        ({"env": []}, {"env": [{"name": "a"}]}, False),
        ({"ports": [{"port": 81, "x": 1}, {"port": 80}]}, {"ports": [{"port": 80}]}, True),
        ({"o": [{"uid": "2", "name": "a"}]}, {"o": [{"uid": "1", "name": "a"}]}, False),
        (
            {"volumeMounts": [{"name": "t", "mountPath": "/b"}, {"name": "t", "mountPath": "/a"}]},
            {"volumeMounts": [{"name": "t", "mountPath": "/a"}, {"name": "t", "mountPath": "/b"}]},
            True,
        ),
        # Two items with the same name are told apart by position.
        ({"x": [{"name": "a", "v": 1}, {"name": "a", "v": 2}]}, {"x": [{"name": "a", "v": 1}, {"name": "a"}]}, True),
        ({"x": [{"name": "a", "v": 1}, {"name": "a", "v": 2}]}, {"x": [{"name": "a", "v": 2}, {"name": "a"}]}, False),
        # Lists that are replaced whole.
        ({"drop": ["ALL"]}, {"drop": ["ALL"]}, True),
        ({"drop": ["ALL", "X"]}, {"drop": ["ALL"]}, False),
        ({"p": [{"type": "Pods", "value": 4, "x": 1}]}, {"p": [{"type": "Pods", "value": 4}]}, True),
        ({"p": [{"type": "Pods"}, {"type": "Percent"}]}, {"p": [{"type": "Pods"}]}, False),
        ({"tolerations": [{"key": "a"}, {"key": "b"}]}, {"tolerations": [{"key": "a"}]}, False),
        ({"items": [{"key": "a", "path": "x"}]}, {"items": [{"key": "a", "path": "x"}]}, True),
    ],
)
def test_covers(live: Any, desired: Any, expected: bool) -> None:
    assert covers(live, desired) is expected


def paths(value: Any, at: Path = ()) -> list[Path]:
    """Where the scalars are."""
    if isinstance(value, dict):
        return [path for name, item in value.items() for path in paths(item, (*at, name))]
    if isinstance(value, list):
        return [path for index, item in enumerate(value) for path in paths(item, (*at, index))]
    return [at]


def objects(value: Any, at: Path = ()) -> list[Path]:
    """Where the maps are."""
    here = [at] if isinstance(value, dict) else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return here + [path for name, item in items for path in objects(item, (*at, name))]


def at(value: Any, path: Path) -> Any:
    for step in path:
        value = value[step]
    return value


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["name", "port", "a", "b"]), inner),
    max_leaves=12,
)


@given(JSON)
def test_everything_covers_itself(value: Any) -> None:
    assert covers(copy.deepcopy(value), value)


@given(st.sampled_from(CHILDREN), st.data(), JSON)
def test_defaults_that_the_server_adds_do_not_matter(manifest: Manifest, data: st.DataObject, value: Any) -> None:
    live = copy.deepcopy(manifest)
    at(live, data.draw(st.sampled_from(objects(live))))["defaultedByTheServer"] = value
    assert covers(live, manifest)


@given(st.sampled_from(CHILDREN), st.data())
def test_any_changed_value_is_seen(manifest: Manifest, data: st.DataObject) -> None:
    live = copy.deepcopy(manifest)
    *parents, last = data.draw(st.sampled_from(paths(live)))
    old = at(live, tuple(parents))[last]
    at(live, tuple(parents))[last] = (
        not old if isinstance(old, bool) else old + 1 if isinstance(old, int) else f"{old}x"
    )
    assert not covers(live, manifest)


@given(st.sampled_from(CHILDREN), st.data())
def test_any_removed_value_is_seen(manifest: Manifest, data: st.DataObject) -> None:
    live = copy.deepcopy(manifest)
    *parents, last = data.draw(st.sampled_from(paths(live)))
    del at(live, tuple(parents))[last]
    assert not covers(live, manifest)

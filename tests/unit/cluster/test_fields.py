"""Server-side apply's arithmetic on field paths."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from generation_operator.cluster import fields

CONTAINERS = ("f:containers",)
APP = 'k:{"name":"app"}'

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text("ab", min_size=1), children, max_size=3),
    max_leaves=8,
)
manifests = st.dictionaries(st.text("abc", min_size=1, max_size=2), values, max_size=4)


def paths(value: Any) -> set[fields.Path]:
    return set(fields.fields_of(value))


def test_leaves_of_maps_are_owned() -> None:
    assert paths({"spec": {"replicas": 3, "template": {"a": 1}}}) == {
        ("f:spec", "f:replicas"),
        ("f:spec", "f:template", "f:a"),
    }


def test_items_of_a_keyed_list_are_owned_with_their_leaves() -> None:
    assert paths({"containers": [{"name": "app", "image": "i"}]}) == {
        (*CONTAINERS, APP),
        (*CONTAINERS, APP, "f:name"),
        (*CONTAINERS, APP, "f:image"),
    }


def test_plain_lists_and_selectors_are_owned_whole() -> None:
    assert paths({"args": ["a", "b"], "selector": {"app": "x"}}) == {("f:args",), ("f:selector",)}


def test_ports_are_told_apart_by_number_and_protocol() -> None:
    assert ("f:ports", 'k:{"port":80,"protocol":"TCP"}') in paths({"ports": [{"port": 80}]})
    assert ("f:ports", 'k:{"containerPort":80,"protocol":"UDP"}') in paths(
        {"ports": [{"containerPort": 80, "protocol": "UDP"}]}
    )


def test_encoding_is_that_of_managed_fields() -> None:
    assert fields.encode(paths({"spec": {"replicas": 3}, "containers": [{"name": "app"}]})) == {
        "f:spec": {"f:replicas": {}},
        "f:containers": {APP: {".": {}, "f:name": {}}},
    }


def test_merge_keeps_what_is_not_said() -> None:
    live = {"spec": {"replicas": 3, "containers": [{"name": "app", "image": "1", "args": ["x"]}, {"name": "side"}]}}
    applied = {"spec": {"containers": [{"name": "app", "image": "2", "args": ["y"]}]}}
    assert fields.merge(live, applied) == {
        "spec": {"replicas": 3, "containers": [{"name": "app", "image": "2", "args": ["y"]}, {"name": "side"}]}
    }


def test_remove_takes_emptied_maps_along() -> None:
    assert fields.remove({"a": {"b": {"c": 1}}, "d": 2}, ("f:a", "f:b", "f:c")) == {"d": 2}


def test_remove_of_an_item_leaves_the_others() -> None:
    live = {"containers": [{"name": "app"}, {"name": "side"}]}
    assert fields.remove(live, (*CONTAINERS, APP)) == {"containers": [{"name": "side"}]}
    assert fields.remove(live, (*CONTAINERS, 'k:{"name":"other"}')) == live


def test_conflict_messages_show_paths_with_dots() -> None:
    assert fields.dotted(("f:spec", *CONTAINERS, APP, "f:image")) == '.spec.containers[{"name":"app"}].image'


@given(manifests, manifests)
def test_what_was_applied_is_there_and_applying_it_again_changes_nothing(live: Any, applied: Any) -> None:
    merged = fields.merge(live, applied)
    for path in fields.fields_of(applied):
        said = fields.get(applied, path)
        assert said == {} or fields.get(merged, path) == said  # an empty map says nothing about what is in it
    assert fields.merge(merged, applied) == merged


@given(manifests, manifests)
def test_nothing_is_changed_in_place(live: Any, applied: Any) -> None:
    before = repr(live), repr(applied)
    fields.merge(live, applied)
    for path in fields.fields_of(live):
        if path:
            fields.remove(live, path)
    assert (repr(live), repr(applied)) == before


@given(manifests)
def test_an_unchanged_manifest_changes_no_field(manifest: Any) -> None:
    assert fields.changed_fields(manifest, manifest) == frozenset()

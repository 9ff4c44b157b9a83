"""What is kept says the same as what was seen, but for what nobody reads, and equal parts are one object."""

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation_operator.api.kinds import DEPLOYMENT, HPA, SERVICE, Kind
from generation_operator.observe.keeping import Keeper, Packer

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=20,
)


@given(st.lists(st.dictionaries(st.text(max_size=3), JSON, max_size=4), min_size=1, max_size=5), st.integers(0, 10))
def test_nothing_is_changed_whatever_is_shared(specs: list[dict[str, Any]], most: int) -> None:
    keeper = Keeper(most)
    seen = [{"kind": "Service", "metadata": {"name": "a"}, "spec": spec} for spec in specs]
    told = json.dumps(seen)
    # As text: in Python 1, 1.0 and True are equal.
    assert json.dumps([keeper.kept(SERVICE, manifest) for manifest in seen]) == told
    assert json.dumps(seen) == told


@given(st.lists(st.dictionaries(st.text(max_size=3), JSON, max_size=4), min_size=1, max_size=20))
def test_what_was_packed_comes_back_as_it_was(specs: list[dict[str, Any]]) -> None:
    packer = Packer()
    seen = [{"kind": "Service", "metadata": {"name": str(number)}, "spec": spec} for number, spec in enumerate(specs)]
    packed = [packer.packed(SERVICE, manifest) for manifest in seen]
    assert json.dumps([packer.unpacked(SERVICE, data) for data in packed]) == json.dumps(seen)


def test_what_is_packed_is_without_what_nobody_reads() -> None:
    packer = Packer()
    seen = {"metadata": {"managedFields": [{"manager": "m", "fieldsV1": {"f:spec": {"f:ports": {}}}}]}}
    assert packer.unpacked(SERVICE, packer.packed(SERVICE, seen)) == {"metadata": {"managedFields": []}}


def test_objects_of_every_sort_take_little_more_than_what_is_their_own() -> None:
    packer, draw = Packer(), random.Random(1)
    sorts = [
        {name: {"of": [sort, name]} for name in draw.choices([f"{sort}{number}" for number in range(99)], k=20)}
        for sort in ("service", "proxy", "with a status")
    ]
    sizes = [
        len(packer.packed(kind, {"metadata": {"uid": f"{draw.random()}"}, "spec": sorts[number % 3]}))
        for number in range(30)
        for kind in (SERVICE, DEPLOYMENT)
    ]
    assert max(sizes[-30:]) < 80 < min(sizes[:6])


def test_equal_parts_of_different_objects_are_one() -> None:
    keeper = Keeper()
    kept = [
        keeper.kept(SERVICE, {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], "type": "ClusterIP"}})
        for name in ("a", "b")
    ]
    assert kept[0]["spec"] is kept[1]["spec"]
    assert kept[0]["metadata"] is not kept[1]["metadata"]


def test_what_looks_equal_to_python_alone_stays_apart() -> None:
    keeper = Keeper()
    for value in (1, True, 0, False):
        assert type(keeper.kept(SERVICE, {"metadata": {}, "spec": {"value": value}})["spec"]["value"]) is type(value)


def test_a_newer_version_has_the_parts_of_the_one_before_that_are_the_same() -> None:
    keeper = Keeper(most=0)  # forgets what it knows with each object
    versions = [
        {"metadata": {"labels": {"a": "b"}, "resourceVersion": version}, "spec": {"x": 1}, "status": {"seen": version}}
        for version in ("1", "2")
    ]
    before = keeper.kept(HPA, versions[0])
    for known in (before, None):
        kept = keeper.kept(HPA, json.loads(json.dumps(versions[1])), known)
        assert kept == versions[1]
        assert (kept["spec"] is before["spec"]) == (known is before)
        assert (kept["metadata"]["labels"] is before["metadata"]["labels"]) == (known is before)


def test_known_parts_are_bounded_and_those_that_come_again_stay() -> None:
    keeper = Keeper(most=10)
    common = {"ports": [{"port": 80}]}
    first = keeper.kept(SERVICE, {"metadata": {}, "spec": common})["spec"]
    for number in range(100):
        kept = keeper.kept(SERVICE, {"metadata": {"number": number}, "spec": json.loads(json.dumps(common))})
        assert kept["spec"] is first
        assert len(keeper._known) + len(keeper._known_before) <= 2 * (10 + 4)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (DEPLOYMENT, [{"manager": "m", "fieldsV1": {"f:spec": {"f:replicas": {}}}}]),
        (HPA, [{"manager": "m", "fieldsV1": {"f:spec": {"f:replicas": {}}}}]),
        (SERVICE, []),
    ],
)
def test_owners_are_kept_where_they_are_read(kind: Kind, expected: list[Any]) -> None:
    fields: dict[str, Any] = {"f:metadata": {"f:labels": {}}, "f:spec": {"f:replicas": {}}, "f:status": {}}
    manifest = {"metadata": {"managedFields": [{"manager": "m", "fieldsV1": fields}]}}
    assert Keeper().kept(kind, manifest)["metadata"]["managedFields"] == expected

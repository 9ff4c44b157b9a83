"""A resource, or its whole namespace, is deleted: nothing hangs, nothing stays but what was asked to stay.

There is no finalizer, so each case has to end in the same way with the operator up and down. All cases run next to each
other, because the garbage collector's pace, not the operator's, sets their time.
"""

from dataclasses import replace
from functools import partial
from typing import Final

import pytest

from api_fixtures import Api, Operator, eventually, service

_CASCADES: Final = ("foreground", "background", "orphan")
_CHILDREN: Final = "deployment,service,serviceaccount,hpa,configmap,poddisruptionbudget"
_COLLECTED_SECONDS: Final = 60.0  # the garbage collector needs some 2 s when nothing else is going on


def owned(api: Api, name: str) -> set[str]:
    """Children of the resource, by kind and name."""
    found = api.items(_CHILDREN, f"app.kubernetes.io/managed-by=generation-operator,app.kubernetes.io/part-of={name}")
    return {f"{item['kind']}/{item['metadata']['name']}" for item in found}


def make(api: Api, name: str) -> set[str]:
    api.apply(service(name))
    eventually(lambda: api.condition(name, "Ready").get("status"), lambda status: status == "True", seconds=40)
    children = owned(api, name)
    assert len(children) >= 6, "two Services, a Deployment, an HPA and the proxy's children"
    return children


@pytest.mark.parametrize("up", [True, False], ids=["operator up", "operator down"])
def test_deleted_resource_takes_its_children_along_unless_they_shall_stay(
    api: Api, operator: Operator, up: bool
) -> None:
    operator.start()
    children = {cascade: make(api, cascade) for cascade in _CASCADES}
    if not up:
        operator.stop()
    for cascade in _CASCADES:
        api.kubectl("delete", "gensvc", cascade, f"--cascade={cascade}", "--wait=false")
    for cascade in _CASCADES:
        eventually(partial(api.find, "gensvc", cascade), lambda found: found is None, seconds=_COLLECTED_SECONDS)
    for cascade in ("foreground", "background"):
        eventually(partial(owned, api, cascade), lambda found: not found, seconds=_COLLECTED_SECONDS)
    assert owned(api, "orphan") == children["orphan"]
    assert api.get("deployment", "orphan")["spec"]["replicas"] == 2
    if not up:
        return
    # The other way round: a resource of that name takes the orphans over, and makes nothing twice.
    assert make(api, "orphan") == children["orphan"]
    uid = api.get("gensvc", "orphan")["metadata"]["uid"]
    [owner] = api.get("deployment", "orphan")["metadata"]["ownerReferences"]
    assert owner["uid"] == uid
    assert operator.process is not None
    assert operator.process.poll() is None


@pytest.mark.parametrize("up", [True, False], ids=["operator up", "operator down"])
def test_namespace_can_be_deleted_and_another_one_goes_on(api: Api, operator: Operator, up: bool) -> None:
    namespace = f"{api.namespace}-going"
    api.cluster.kubectl("create", "namespace", namespace)
    going = replace(api, namespace=namespace)
    operator.settings["GENERATION_OPERATOR_WATCH_NAMESPACES"] = f"{api.namespace},{namespace}"
    operator.start()
    make(going, "gone")
    make(api, "kept")
    if not up:
        operator.stop()
    api.cluster.kubectl("delete", "namespace", namespace, "--wait=false")
    eventually(
        lambda: api.cluster.kubectl("get", "namespace", namespace, "--ignore-not-found", "--output=name"),
        lambda text: not text,
        seconds=90,
        what="the namespace is gone",
    )
    if up:
        assert operator.process is not None
        assert operator.process.poll() is None
        make(api, "later")

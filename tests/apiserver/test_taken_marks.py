"""Somebody takes away what makes a child ours: its label, by which it is watched, or its owner, which it goes with.

Restores of a backup and tools that rewrite labels do that. One mark is enough to know the child again; without both it
is somebody else's, is left alone, and the resource says so. One operator for the module; its resync is too far away to
help.
"""

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from api_fixtures import Api, Object, Operator, eventually, service
from localcluster.cluster import Cluster
from ownership_world import deployment_replicas, ready, stays

_NAMESPACE: Final = "taken-marks"
_RESTORED_SECONDS: Final = 15.0  # 5 s are promised; the margin is for a machine that does something else as well
_MANAGED_BY: Final = "app.kubernetes.io/managed-by"

_numbers = itertools.count(1)

NO_LABEL: Final = {"labels": {_MANAGED_BY: None}}
OTHER_LABEL: Final = {"labels": {_MANAGED_BY: "Helm"}}
NO_LABELS: Final = {"labels": None}
NO_OWNER: Final = {"ownerReferences": None}
CHILDREN: Final = (("deployment", ""), ("deployment", "-proxy"), ("service", "-headless"), ("hpa", ""))


@dataclass(frozen=True, slots=True)
class World:
    """A namespace with its operator."""

    api: Api
    operator: Operator

    def made(self) -> str:
        """The name of a new resource that is Ready."""
        name = f"taken{next(_numbers)}"
        self.api.apply(service(name))
        eventually(lambda: ready(self.api, name), bool, seconds=40, what=f"{name} is Ready")
        return name

    def patch(self, kind: str, name: str, metadata: Object) -> None:
        """Change an object's metadata as a person would."""
        self.api.kubectl("patch", kind, name, "--type=merge", "--patch", json.dumps({"metadata": metadata}))


@pytest.fixture(scope="module")
def world(crd_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    crd_cluster.kubectl("create", "namespace", _NAMESPACE)
    folder: Path = tmp_path_factory.mktemp(_NAMESPACE)
    operator = Operator(crd_cluster, folder / "operator.log", {"GENERATION_OPERATOR_WATCH_NAMESPACES": _NAMESPACE})
    operator.start()
    yield World(Api(crd_cluster, _NAMESPACE), operator)
    operator.stop()
    print(operator.read_log()[-20000:])  # noqa: T201 (shown by pytest when a test failed)
    crd_cluster.kubectl("delete", "namespace", _NAMESPACE, "--wait=false")


def marks(found: Object) -> Any:
    """What makes a child ours."""
    return found["metadata"].get("labels"), found["metadata"].get("ownerReferences")


def same_marks(one: Object, other: Object) -> bool:
    return bool(marks(one) == marks(other))


@pytest.mark.parametrize(
    "taken",
    [NO_LABEL, OTHER_LABEL, NO_LABELS, NO_OWNER],
    ids=["no label", "another label", "no labels", "no owner"],
)
def test_one_mark_that_is_taken_comes_back_and_the_child_stays_the_same(world: World, taken: Object) -> None:
    name, api = world.made(), world.api
    before = {child: api.get(child[0], name + child[1]) for child in CHILDREN}
    for kind, suffix in CHILDREN:
        world.patch(kind, name + suffix, taken)
    for (kind, suffix), was in before.items():
        found = eventually(
            partial(api.get, kind, name + suffix), partial(same_marks, was), seconds=_RESTORED_SECONDS, what=kind
        )
        assert found["metadata"]["uid"] == was["metadata"]["uid"]
    assert deployment_replicas(api, name) == 2
    eventually(lambda: ready(api, name), bool, what="still Ready")


def test_child_without_any_mark_is_left_alone_and_named(world: World) -> None:
    name, api = world.made(), world.api
    world.patch("service", f"{name}-headless", NO_OWNER | NO_LABELS)
    condition = eventually(
        lambda: api.condition(name, "Ready"),
        lambda found: found.get("reason") == "ApplyFailed",
        seconds=_RESTORED_SECONDS,
    )
    assert f"Service {name}-headless: exists and belongs to somebody else" in condition["message"]
    stays(lambda: marks(api.get("service", f"{name}-headless")), (None, None), seconds=2)
    # The remedy of the message.
    api.kubectl("delete", "service", f"{name}-headless", "--wait=false")
    eventually(lambda: ready(api, name), bool, seconds=40, what="Ready after the remedy")

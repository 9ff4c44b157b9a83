"""Which pods are marked to go first, and that a mark is never in the way of a scale-down."""

from collections.abc import Mapping

import pytest

from generation_operator.api.kinds import POD
from generation_operator.api.resource import Key
from generation_operator.cluster.memory import MemoryCluster
from generation_operator.cluster.ports import ClusterError
from generation_operator.loops.deletion_cost import DeletionCost, costs
from generation_operator.observe.pod_index import ANNOTATION_COST, Pod, PodIndex

A = Key("n", "a")
LABELS = {"app.kubernetes.io/instance": "a", "app.kubernetes.io/component": "service"}


def pod(name: str, cost: str | None = None) -> Pod:
    return Pod(Key("n", name), name, "10.0.0.1", True, cost)


@pytest.mark.parametrize(
    ("pods", "busy", "count", "changes"),
    [
        ([pod("a"), pod("b"), pod("c")], {"a": 3, "b": 0, "c": 1}, 1, {"b": "-1000000"}),
        ([pod("a"), pod("b"), pod("c")], {"a": 3, "b": 0, "c": 1}, 2, {"b": "-1000000", "c": "-999999"}),
        ([pod("a"), pod("b")], {"a": 3}, 1, {"a": "-999997"}),  # b was not sampled: it may be the busiest
        ([pod("a", "-1000000"), pod("b")], {"a": 9, "b": 0}, 1, {"a": None, "b": "-1000000"}),
        ([pod("a", "-999991"), pod("b")], {"a": 9, "b": 20}, 1, {}),
        ([pod("a", "-1000000")], {}, 0, {"a": None}),
        ([pod("a", "100"), pod("b")], {"a": 0, "b": 5}, 1, {}),  # a user's own cost
        ([pod("a", "many"), pod("b")], {"a": 0, "b": 5}, 2, {"b": "-999995"}),
        ([], {}, 3, {}),
    ],
)
def test_the_idlest_pods_are_marked(
    pods: list[Pod], busy: Mapping[str, float], count: int, changes: Mapping[str, str | None]
) -> None:
    assert {entry.uid: cost for entry, cost in costs(pods, busy, count)} == changes


def test_no_more_than_a_few_pods_are_written_in_one_step() -> None:
    pods = [pod(f"p{number}") for number in range(100)]
    assert len(costs(pods, {entry.uid: 0.0 for entry in pods}, 90)) == 32


class Busy:
    def __init__(self, busy: Mapping[str, float]) -> None:
        self.by_uid = busy

    def busy(self, service: Key) -> Mapping[str, float]:
        assert service == A
        return self.by_uid


class World:
    def __init__(self, **busy: float) -> None:
        self.cluster, self.index = MemoryCluster(), PodIndex()
        uids = {}
        for name, load in busy.items():
            manifest = self.cluster.put(
                {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "metadata": {"name": name, "namespace": "n", "labels": dict(LABELS)},
                    "status": {"podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]},
                }
            )
            self.index.put(manifest)
            uids[manifest["metadata"]["uid"]] = load
        self.busy = Busy(uids)
        self.cost = DeletionCost(self.cluster, self.index, self.busy)

    async def annotations(self) -> dict[str, str | None]:
        return {
            manifest["metadata"]["name"]: manifest["metadata"].get("annotations", {}).get(ANNOTATION_COST)
            for manifest in await self.cluster.list(POD, "n")
        }


async def test_marks_are_written_once_and_taken_back() -> None:
    world = World(a=5, b=1)
    await world.cost.prepare(A, 1)
    assert await world.annotations() == {"a": None, "b": "-999999"}
    writes = len(world.cluster.writes)
    await world.cost.prepare(A, 1)
    assert len(world.cluster.writes) == writes
    world.busy.by_uid = {uid: 6 - load for uid, load in world.busy.by_uid.items()}
    await world.cost.prepare(A, 1)
    assert await world.annotations() == {"a": "-999999", "b": None}


async def test_a_pod_that_cannot_be_marked_is_logged_and_nothing_more(caplog: pytest.LogCaptureFixture) -> None:
    world = World(a=5, b=1)
    world.cluster.fail("apply", ClusterError(500, "broken"))
    await world.cost.prepare(A, 1)
    assert "n/a: pods could not be marked for removal: 500: broken" in caplog.text


async def test_a_pod_that_is_gone_is_not_made_again() -> None:
    world = World(a=5, b=1)
    world.cluster.remove(POD, "n", "b")
    await world.cost.prepare(A, 1)
    assert await world.annotations() == {"a": None}

"""Writes pass while this process leads and at no other time; reads always pass."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from generation_operator.api.kinds import CONFIG_MAP, DEPLOYMENT, Manifest
from generation_operator.cluster.fenced import Fenced, NotLeadingError
from generation_operator.cluster.memory import MemoryCluster
from generation_operator.cluster.ports import ClusterApi, Scale

SETTINGS: Manifest = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "settings", "namespace": "n"},
    "data": {"a": "1"},
}
WRITES: list[Callable[[ClusterApi], Awaitable[object]]] = [
    lambda api: api.apply(SETTINGS, manager="m"),
    lambda api: api.apply_status(SETTINGS, manager="m"),
    lambda api: api.scale(DEPLOYMENT, "n", "a", 3, expect=Scale(2, "1"), manager="m"),
    lambda api: api.delete(CONFIG_MAP, "n", "settings", uid="u"),
    lambda api: api.emit_event({"metadata": {"namespace": "n"}}),
]


@pytest.mark.parametrize("write", WRITES)
async def test_nothing_is_written_without_the_lead(write: Callable[[ClusterApi], Awaitable[object]]) -> None:
    cluster = MemoryCluster()
    with pytest.raises(NotLeadingError):
        await write(Fenced(cluster, lambda: 0.0))
    assert (cluster.writes, cluster.events) == ([], [])


async def test_with_the_lead_everything_passes() -> None:
    cluster = MemoryCluster()
    fenced = Fenced(cluster, lambda: 10.0)
    await fenced.apply(SETTINGS, manager="m")
    live = await fenced.get(CONFIG_MAP, "n", "settings")
    assert live["data"] == {"a": "1"}
    await fenced.delete(CONFIG_MAP, "n", "settings", uid=live["metadata"]["uid"])
    await fenced.emit_event({"metadata": {"namespace": "n"}})
    assert [write.verb for write in cluster.writes] == ["apply", "delete"]
    assert len(cluster.events) == 1


async def test_reads_pass_without_the_lead() -> None:
    cluster = MemoryCluster()
    cluster.put(SETTINGS)
    fenced = Fenced(cluster, lambda: -1.0)
    assert [found["data"] for found in await fenced.list(CONFIG_MAP, "n")] == [{"a": "1"}]
    assert (await fenced.get(CONFIG_MAP, "n", "settings"))["data"] == {"a": "1"}


class Slow(MemoryCluster):
    async def apply(self, manifest: Manifest, *, manager: str, force: bool = True) -> Manifest:
        await asyncio.Event().wait()
        return manifest


class Impatient(MemoryCluster):
    async def apply(self, manifest: Manifest, *, manager: str, force: bool = True) -> Manifest:
        raise TimeoutError("its own")


async def test_a_write_that_outlasts_the_lead_is_given_up() -> None:
    with pytest.raises(NotLeadingError):
        await Fenced(Slow(), lambda: 0.01).apply(SETTINGS, manager="m")


async def test_a_time_out_of_the_write_itself_stays_one() -> None:
    with pytest.raises(TimeoutError, match="its own"):
        await Fenced(Impatient(), lambda: 10.0).apply(SETTINGS, manager="m")

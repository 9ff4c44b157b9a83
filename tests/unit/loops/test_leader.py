"""One leader at a time, by the local clock, on a cluster in memory."""

import asyncio
from typing import Any

import pytest

from generation_operator.api.kinds import LEASE, Manifest
from generation_operator.api.resource import Key
from generation_operator.cluster.memory import MemoryCluster
from generation_operator.cluster.ports import ClusterError
from generation_operator.loops.leader import Election, LeadershipLostError, Timing

NAME = Key("system", "generation-operator")
NOW = 1_700_000_000.0


class World:
    """Candidates with one cluster; each has a clock of its own, which a test moves."""

    def __init__(self) -> None:
        self.cluster = MemoryCluster()
        self.time = {"a": 1000.0, "b": 5.0}
        self.beats: list[tuple[str, bool]] = []

    def candidate(self, name: str, **timing: float) -> Election:
        return Election(
            self.cluster,
            NAME,
            name,
            clock=lambda: self.time[name],
            now=lambda: NOW + self.time[name],
            beat=lambda leads: self.beats.append((name, leads)),
            timing=Timing(**timing),
        )

    def wait(self, seconds: float) -> None:
        for name in self.time:
            self.time[name] += seconds

    async def spec(self) -> dict[str, Any]:
        lease: Manifest = await self.cluster.get(LEASE, *NAME)
        return dict(lease["spec"])


async def tries(election: Election) -> bool:
    """One try, without waiting for the next one."""
    task = asyncio.create_task(election.acquire())
    for _ in range(10):
        await asyncio.sleep(0)
    done = task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return done


async def test_the_first_candidate_leads_and_the_lease_says_so() -> None:
    world = World()
    assert await tries(world.candidate("a"))
    assert await world.spec() == {
        "holderIdentity": "a",
        "leaseDurationSeconds": 15,
        "acquireTime": "2023-11-14T22:30:00.000000Z",
        "renewTime": "2023-11-14T22:30:00.000000Z",
        "leaseTransitions": 1,
    }
    assert world.beats == [("a", False)]


async def test_it_may_write_for_ten_seconds_after_each_renewal() -> None:
    world = World()
    leader = world.candidate("a")
    assert leader.remaining() <= 0
    assert await tries(leader)
    assert leader.remaining() == 10.0
    world.wait(9)
    assert leader.remaining() == 1.0
    assert await tries(leader)
    assert leader.remaining() == 10.0
    assert (await world.spec())["acquireTime"] == "2023-11-14T22:30:00.000000Z"
    assert (await world.spec())["leaseTransitions"] == 1
    world.wait(10)
    assert leader.remaining() == 0.0


async def test_a_standby_waits_until_it_has_seen_no_renewal_for_the_whole_duration() -> None:
    world = World()
    leader, standby = world.candidate("a"), world.candidate("b")
    assert await tries(leader)
    world.wait(1000)  # nobody has looked: how old the Lease is, is not known
    assert not await tries(standby)
    world.wait(14)
    assert await tries(leader)
    assert not await tries(standby)
    world.wait(14.9)
    assert not await tries(standby)
    assert leader.remaining() < 0
    world.wait(0.1)
    assert await tries(standby)
    assert (await world.spec())["holderIdentity"] == "b"
    assert (await world.spec())["leaseTransitions"] == 2
    assert standby.remaining() == 10.0


async def test_who_finds_another_holder_may_not_write_any_more() -> None:
    world = World()
    leader, standby = world.candidate("a"), world.candidate("b")
    assert await tries(leader)
    assert not await tries(standby)
    world.time["b"] += 15  # the clocks do not agree: b's runs fast
    assert await tries(standby)
    assert leader.remaining() == 10.0
    assert not await tries(leader)
    assert leader.remaining() < 0


async def test_of_two_that_try_at_once_one_leads() -> None:
    world = World()
    one, other = world.candidate("a"), world.candidate("b")
    assert sorted(await asyncio.gather(tries(one), tries(other))) == [False, True]


async def test_a_released_lease_is_taken_at_once() -> None:
    world = World()
    leader, standby = world.candidate("a"), world.candidate("b")
    assert await tries(leader)
    assert not await tries(standby)
    await leader.release()
    assert leader.remaining() < 0
    assert "holderIdentity" not in await world.spec()
    assert await tries(standby)
    assert (await world.spec())["leaseTransitions"] == 2


async def test_who_does_not_lead_releases_nothing() -> None:
    world = World()
    leader, standby = world.candidate("a"), world.candidate("b")
    assert await tries(leader)
    await standby.release()
    assert (await world.spec())["holderIdentity"] == "a"


async def test_a_release_that_fails_is_only_logged() -> None:
    world = World()
    leader = world.candidate("a")
    assert await tries(leader)
    world.cluster.fail("apply", ClusterError(500, "broken"))
    await leader.release()
    assert leader.remaining() < 0


async def test_a_candidate_outlives_an_api_server_that_is_down(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    leader = world.candidate("a")
    world.cluster.fail("get", ClusterError(0, "refused"))
    assert not await tries(leader)
    assert "system/generation-operator: refused" in caplog.text
    assert await tries(leader)


async def test_a_leader_that_cannot_renew_gives_up_at_its_deadline_and_not_before() -> None:
    world = World()
    leader = world.candidate("a", retry=0.0)
    assert await tries(leader)
    world.cluster.fail("get", *[ClusterError(503, "down")] * 1000)
    holding = asyncio.create_task(leader.hold())
    for _ in range(20):
        await asyncio.sleep(0)
    assert not holding.done()
    world.wait(10)
    async with asyncio.timeout(5):
        with pytest.raises(LeadershipLostError, match="could not be renewed for 10 s"):
            await holding


async def test_a_leader_that_was_stopped_for_long_has_lost_when_it_goes_on() -> None:
    world = World()
    leader, standby = world.candidate("a", retry=0.0), world.candidate("b")
    assert await tries(leader)
    assert not await tries(standby)
    world.wait(16)
    assert leader.remaining() < 0
    assert await tries(standby)
    async with asyncio.timeout(5):
        with pytest.raises(LeadershipLostError):
            await leader.hold()
    assert (await world.spec())["holderIdentity"] == "b"

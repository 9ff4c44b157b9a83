"""The store in memory on a fake clock: exact times, and bounds on what is kept."""

from collections.abc import Callable

import pytest

from generation_service.adapters.memory import MemoryStore
from generation_service.domain.workflow import Ending, Status, Step, Workflow
from generation_service.ports import Idempotency, Timer

GOOD = Ending(Status.SUCCEEDED)


class FakeClock:
    """`ports.Clock` that stands still until it is set."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def now(self) -> float:
        return self.seconds

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        raise NotImplementedError

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def make_workflow(workflow_id: str) -> Workflow:
    return Workflow(workflow_id, (Step("a", "prompt", {}),), deadline_seconds=30.0)


async def finished(store: MemoryStore, workflow_id: str) -> None:
    await store.submit(make_workflow(workflow_id), Idempotency(workflow_id, b""))
    claim = await store.claim(workflow_id)
    assert claim is not None
    await store.finish(claim, GOOD)


async def test_time_in_the_queue_counts_for_the_deadline(clock: FakeClock) -> None:
    store = MemoryStore(clock, lambda: 5.0)
    await store.submit(make_workflow("w"))
    clock.seconds += 12
    assert (await store.backlog()).oldest_seconds == 12.0
    claim = await store.claim("w")
    assert claim is not None
    assert (claim.queued_seconds, claim.remaining_seconds) == (12.0, 18.0)


async def test_jump_of_the_wall_clock_changes_no_duration(clock: FakeClock) -> None:
    wall = iter([1e9] * 2 + [0.0] * 10)
    store = MemoryStore(clock, lambda: next(wall))
    await store.submit(make_workflow("w"))
    claim = await store.claim("w")
    assert claim is not None
    assert (claim.queued_seconds, claim.remaining_seconds) == (0.0, 30.0)


async def test_only_so_many_finished_workflows_are_kept(clock: FakeClock) -> None:
    store = MemoryStore(clock, lambda: 0.0, max_finished=2)
    for name in "abc":
        await finished(store, name)
    await store.backlog()
    assert [await store.get(name) is not None for name in "abc"] == [False, True, True]
    assert (await store.submit(make_workflow("d"), Idempotency("a", b"new"))).created  # its key went with it


async def test_finished_workflows_are_kept_only_so_long(clock: FakeClock) -> None:
    store = MemoryStore(clock, lambda: 0.0, finished_seconds=60)
    await finished(store, "a")
    clock.seconds += 59
    await finished(store, "b")
    clock.seconds += 1
    await store.backlog()
    assert [await store.get(name) is not None for name in "ab"] == [False, True]


async def test_retried_workflow_is_not_forgotten(clock: FakeClock) -> None:
    store = MemoryStore(clock, lambda: 0.0, finished_seconds=60)
    await store.submit(make_workflow("a"))
    await store.cancel("a")
    await store.retry("a")
    clock.seconds += 1000
    await store.backlog()
    assert await store.get("a") is not None

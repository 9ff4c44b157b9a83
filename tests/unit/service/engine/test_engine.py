"""The life of workflows in one replica, on a clock that only the test moves and a store that forgets."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from generation_service.adapters.memory import MemoryStore
from generation_service.domain.errors import DrainingError, QueueFullError
from generation_service.domain.workflow import Record, Status, Step, Workflow
from generation_service.engine.admission import Admission, Phase
from generation_service.engine.completions import Completions
from generation_service.engine.engine import BACKLOG_INTERVAL_SECONDS, Engine
from generation_service.engine.pools import Pool
from generation_service.engine.runner import Runner
from generation_service.ports import Backlog, NotRetryableError, StoreUnavailableError, Submitted
from generation_service.steps.registry import step_types
from generation_service.steps.workers import Workers
from service_fakes import FakeCache, FakeClock, FakeGenerator, FakeObserver, NoWarmer, settle


class FlakyStore(MemoryStore):
    """Is away as often as `away` says; every write counts one down."""

    away = 0
    open: asyncio.Event | None = None  # what is submitted waits for it

    async def submit(self, *arguments: Any) -> Submitted:
        if self.open is not None:
            await self.open.wait()
        return await super().submit(*arguments)

    async def advance(self, *arguments: Any) -> None:
        self._count()
        await super().advance(*arguments)

    async def finish(self, *arguments: Any) -> None:
        self._count()
        await super().finish(*arguments)

    def _count(self) -> None:
        if self.away:
            self.away -= 1
            raise StoreUnavailableError("the database is being restarted")


class World:
    """An engine with its fakes."""

    def __init__(self, slots: int = 2, queue: int = 10, ai_api: int = 10) -> None:
        self.clock = FakeClock()
        self.observer = FakeObserver()
        self.generator = FakeGenerator(self.clock)
        self.store = FlakyStore(self.clock, self.clock.now)
        pools = {"ai_api": Pool("ai_api", ai_api, 100)}
        self.completions = Completions(self.generator, FakeCache(), pools["ai_api"], NoWarmer())
        types = step_types(self.completions, Workers(), "default")
        self.slots = Pool("workflows", slots, 1000)
        self.admission = Admission(self.slots, queue, self.clock, self.observer)
        runner = Runner(self.store, types, pools, clock=self.clock, observer=self.observer)
        self.engine = Engine(
            self.store,
            self.store.dispatcher(slots),
            runner,
            self.admission,
            clock=self.clock,
            observer=self.observer,
        )
        self.count = 0

    async def submit(self, *steps: Step | str, deadline: float = 1000) -> str:
        """Strings are steps that ask the generator, one after the other."""
        self.count += 1
        found: list[Step] = []
        for step in steps:
            if isinstance(step, Step):
                found.append(step)
            else:
                before = (found[-1].id,) if found else ()
                found.append(Step(f"s{len(found)}", "generate", {"prompt": step}, before))
        submitted = await self.engine.submit(Workflow(f"w{self.count}", tuple(found), deadline))
        return submitted.record.workflow.id

    async def record(self, workflow_id: str) -> Record:
        record = await self.store.get(workflow_id)
        assert record is not None
        return record

    async def status(self, workflow_id: str) -> Status:
        return (await self.record(workflow_id)).status


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    await world.engine.start()
    yield world
    await world.engine.close()


def generate(step_id: str, prompt: str, *needs: str) -> Step:
    return Step(step_id, "generate", {"prompt": prompt}, needs)


async def test_steps_run_in_order_and_their_outputs_are_kept(world: World) -> None:
    workflow_id = await world.submit("a:2", "b:3")
    await world.clock.pass_time(4.5)
    record = await world.record(workflow_id)
    assert [step.status for step in record.steps] == [Status.SUCCEEDED, Status.RUNNING]
    await world.clock.pass_time(0.5)
    record = await world.record(workflow_id)
    assert record.status is Status.SUCCEEDED
    assert [step.output for step in record.steps] == [
        {"text": "A", "tokens": 1, "cache": "MISS"},
        {"text": "B", "tokens": 1, "cache": "MISS"},
    ]
    assert world.observer.seen[0][1] == pytest.approx(5)


async def test_steps_that_do_not_wait_for_each_other_run_at_once(world: World) -> None:
    workflow_id = await world.submit(
        generate("a", "a:3"), generate("b", "b:2"), Step("m", "merge", {"steps": ["a", "b"]}, ("a", "b"))
    )
    await world.clock.pass_time(3)
    record = await world.record(workflow_id)
    assert record.status is Status.SUCCEEDED
    assert world.generator.most_running == 2
    output = record.steps[2].output
    assert isinstance(output, dict)
    assert output["text"] == "A\n\nB"


async def test_slots_bound_the_work_and_the_rest_waits_in_order(world: World) -> None:
    ids = [await world.submit(f"{name}:1") for name in "abcd"]
    await settle()
    assert (world.admission.in_flight, world.admission.queue_length) == (2, 2)
    await world.clock.pass_time(1)
    assert world.generator.started == ["a", "b", "c", "d"]
    await world.clock.pass_time(1)
    assert {await world.status(workflow_id) for workflow_id in ids} == {Status.SUCCEEDED}
    assert world.observer.counts() == (4, 0)
    assert (world.admission.in_flight, world.admission.queue_length, world.admission.arrived) == (0, 0, 4)


async def test_failing_step_fails_the_workflow_and_stops_the_steps_beside_it(world: World) -> None:
    workflow_id = await world.submit(
        generate("good", "good:9"), generate("bad", "fail:1"), generate("later", "later", "bad")
    )
    await world.clock.pass_time(1)
    record = await world.record(workflow_id)
    assert record.status is Status.FAILED
    assert record.failure is not None
    assert (record.failure.kind, record.failure.step) == ("step-failed", "bad")
    assert "the model is not loaded" in record.failure.detail
    assert [step.status for step in record.steps] == [Status.CANCELLED, Status.FAILED, Status.CANCELLED]
    assert world.generator.stopped == ["good"]
    assert world.observer.counts() == (0, 1)


async def test_step_that_may_pass_is_tried_again_after_the_time_it_asked_for(world: World) -> None:
    workflow_id = await world.submit("busy:1")
    await world.clock.pass_time(4.9)
    assert await world.status(workflow_id) is Status.RUNNING
    await world.clock.pass_time(0.1)  # 1 s of work, 3 s of Retry-After, 1 s of work
    record = await world.record(workflow_id)
    assert record.status is Status.SUCCEEDED
    assert record.steps[0].attempt == 2


async def test_nobody_waits_for_a_retry_that_comes_after_the_deadline(world: World) -> None:
    workflow_id = await world.submit("busy:1", deadline=3)
    await world.clock.pass_time(1)
    record = await world.record(workflow_id)
    assert record.failure is not None
    assert record.failure.kind == "step-failed"


async def test_deadline_counts_from_admission_and_stops_the_generation(world: World) -> None:
    ids = [await world.submit(f"{name}:50", deadline=10) for name in "abc"]
    await world.clock.pass_time(9.9)
    assert world.generator.running == 2
    await world.clock.pass_time(0.1)
    assert world.generator.running == 0
    assert sorted(world.generator.stopped) == ["a", "b"]
    for workflow_id in ids:  # the third never left the queue
        failure = (await world.record(workflow_id)).failure
        assert failure is not None
        assert failure.kind == "deadline-exceeded"
    assert world.observer.counts() == (0, 3)


async def test_cancel_reaches_a_running_generation(world: World) -> None:
    workflow_id = await world.submit("a:50", "b")
    await world.clock.pass_time(1)
    await world.store.cancel(workflow_id)
    await settle()
    record = await world.record(workflow_id)
    assert record.status is Status.CANCELLED
    assert world.generator.stopped == ["a"]
    assert world.admission.in_flight == 0
    assert world.observer.counts() == (0, 0), "what its owner stopped is neither a success nor an error"


async def test_cancelled_while_waiting_never_starts(world: World) -> None:
    for name in "ab":
        await world.submit(f"{name}:5")
    waiting = await world.submit("c:5")
    await settle()
    await world.store.cancel(waiting)
    await world.clock.pass_time(20)
    assert await world.status(waiting) is Status.CANCELLED
    assert world.generator.started == ["a", "b"]


async def test_retry_keeps_the_steps_that_succeeded(world: World) -> None:
    workflow_id = await world.submit("a:1", "fail:1", "c:1")
    await world.clock.pass_time(5)
    world.generator.started.clear()
    record = await world.engine.retry(workflow_id)
    assert record is not None
    assert record.status is Status.QUEUED
    await world.clock.pass_time(5)
    assert world.generator.started == ["fail"]
    other = await world.submit("x:1")
    await world.clock.pass_time(5)
    with pytest.raises(NotRetryableError):
        await world.engine.retry(other)


async def test_full_queue_refuses_at_once_and_says_when_to_come_back() -> None:
    world = World(slots=1, queue=2)
    await world.engine.start()
    for name in "abc":
        await world.submit(f"{name}:10")
        await settle()
    with pytest.raises(QueueFullError) as caught:
        await world.submit("d")
    assert 1 <= caught.value.retry_after_seconds <= 30
    assert world.observer.refused == 1
    await world.clock.pass_time(10)
    await world.submit("e")
    await world.engine.close()


async def test_count_of_the_backlog_forgets_nobody_on_the_way_into_the_store() -> None:
    world = World(slots=1, queue=2)
    await world.engine.start()
    await settle()
    world.store.open = asyncio.Event()
    waiting = [asyncio.create_task(world.submit(f"{name}:10")) for name in "abc"]
    await settle()
    await world.clock.pass_time(3 * BACKLOG_INTERVAL_SECONDS)
    assert world.admission.queue_length == 3
    with pytest.raises(QueueFullError):
        await world.submit("d")
    world.store.open.set()
    await asyncio.gather(*waiting)
    await settle()
    assert (world.admission.queue_length, world.admission.in_flight) == (2, 1)
    await world.engine.close()


async def test_store_that_is_away_for_a_while_costs_no_work(world: World) -> None:
    workflow_id = await world.submit("a:1", "b:1")
    await world.clock.pass_time(0.5)
    world.store.away = 4
    await world.clock.pass_time(60)
    assert await world.status(workflow_id) is Status.SUCCEEDED
    assert world.generator.started == ["a", "b"]


async def test_drain_finishes_what_nobody_else_could(world: World) -> None:
    ids = [await world.submit(f"{name}:2") for name in "abc"]
    await settle()
    world.engine.retire()
    assert world.admission.phase is Phase.RETIRING
    draining = asyncio.create_task(world.engine.drain(30))
    await settle()
    with pytest.raises(DrainingError):
        await world.submit("late")
    await world.clock.pass_time(10)
    assert await draining == 0
    assert {await world.status(workflow_id) for workflow_id in ids} == {Status.SUCCEEDED}


async def test_drain_hands_back_what_does_not_end_in_time(world: World) -> None:
    workflow_id = await world.submit("a:1", "b:500")
    await world.clock.pass_time(2)
    waiting = asyncio.create_task(world.engine.ended(workflow_id, 900))
    draining = asyncio.create_task(world.engine.drain(5))
    await world.clock.pass_time(6)
    assert await draining == 1
    record = await world.record(workflow_id)
    assert record.status is Status.QUEUED
    assert record.steps[0].status is Status.SUCCEEDED, "finished steps stay finished"
    with pytest.raises(DrainingError):
        await waiting
    assert world.observer.counts() == (0, 0)


async def test_ended_answers_when_the_workflow_ends_or_the_time_is_over(world: World) -> None:
    workflow_id = await world.submit("a:4")
    early = asyncio.create_task(world.engine.ended(workflow_id, 2))
    late = asyncio.create_task(world.engine.ended(workflow_id, 100))
    await world.clock.pass_time(2)
    found = await early
    assert found is not None
    assert found.status is Status.RUNNING
    await world.clock.pass_time(2)
    done = await late
    assert done is not None
    assert done.status is Status.SUCCEEDED
    assert await world.engine.ended("nobody", 5) is None


async def test_chat_completions_share_the_slots_and_are_counted() -> None:
    world = World(slots=1, queue=10)
    await world.engine.start()
    await world.submit("a:5")
    await settle()

    async def chat() -> float:
        async with world.admission.chat():
            await world.clock.sleep(1)
        return world.clock.now()

    task = asyncio.create_task(chat())
    await settle()
    assert (world.admission.in_flight, world.admission.queue_length) == (1, 1)
    await world.clock.pass_time(6)
    assert await task == 6
    assert world.admission.arrived == 2
    await world.engine.close()


async def test_share_of_the_common_queue_adds_up_over_replicas() -> None:
    world = World()
    world.admission.counted(Backlog(queued=9, oldest_seconds=4.0, replicas=3))
    assert world.admission.queue_length == 3
    world.admission.enter()
    assert world.admission.queue_length == 4
    world.admission.entered(stored=True)
    assert world.admission.queue_length == 4, "what came since the count is this replica's own"
    world.admission.counted(Backlog(queued=10, oldest_seconds=5.0, replicas=3))
    assert world.admission.queue_length == pytest.approx(10 / 3)

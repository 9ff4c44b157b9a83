"""What every `JobStore` and its `Dispatcher` must do: the same tests for the one in memory and the one in Postgres.

Subclass it with a fixture `store`. Clocks are real here, so that the database's own time can take part; exact times are
for the tests of each adapter.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Protocol

import pytest

from generation_service.domain.workflow import Ending, Failure, Record, Status, Step, StepChange, Workflow
from generation_service.ports import (
    Claim,
    Dispatcher,
    Idempotency,
    IdempotencyMismatchError,
    JobStore,
    LostClaimError,
    NotRetryableError,
)

_numbers = itertools.count()
GOOD = Ending(Status.SUCCEEDED)
BAD = Ending(Status.FAILED, Failure("step-failed", "no \0 luck", "a"))


class StoreWithDispatcher(JobStore, Protocol):
    """What both adapters are."""

    def dispatcher(self, concurrency: int) -> Dispatcher:
        """Make the dispatcher that belongs to the store."""


def make_workflow(*steps: str, deadline_seconds: float = 30.0, **inputs: Any) -> Workflow:
    """A chain of steps, `a` -> `b` by default."""
    ids = steps or ("a", "b")
    chain = tuple(Step(name, "prompt", inputs, ids[max(0, n - 1) : n]) for n, name in enumerate(ids))
    return Workflow(f"workflow-{next(_numbers)}", chain, deadline_seconds)


async def claimed(store: JobStore, workflow: Workflow | None = None) -> Claim:
    """A workflow that runs."""
    workflow = workflow or make_workflow()
    await store.submit(workflow)
    return await reclaimed(store, workflow.id)


async def reclaimed(store: JobStore, workflow_id: str) -> Claim:
    """The next attempt."""
    claim = await store.claim(workflow_id)
    assert claim is not None
    return claim


async def got(store: JobStore, workflow_id: str) -> Record:
    """The record of a workflow that exists."""
    record = await store.get(workflow_id)
    assert record is not None
    return record


async def kinds(store: JobStore, workflow_id: str) -> list[str]:
    """What happened, after a look at the numbers."""
    events = await store.events(workflow_id, 0, 1000)
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    assert all(one.at <= next_one.at for one, next_one in itertools.pairwise(events))
    return [event.kind for event in events]


async def eventually(condition: Callable[[], bool | Awaitable[bool]], seconds: float = 10.0) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(seconds):
        while True:
            result = condition()
            if result if isinstance(result, bool) else await result:
                return
            await asyncio.sleep(0.01)


def changed(step: str, status: Status = Status.SUCCEEDED, attempt: int = 1, **rest: Any) -> StepChange:
    """A change of a step."""
    return StepChange(step, status, attempt, **rest)


class JobStoreContract:
    async def test_new_workflow_waits_with_all_its_steps(self, store: StoreWithDispatcher) -> None:
        workflow = make_workflow("a", "b", text="\0 ü \U0001f600", deep=[{"n": 1.5, "none": None}], first=1)
        submitted = await store.submit(workflow)
        assert submitted.created
        assert submitted.record.workflow == workflow
        assert (submitted.record.status, submitted.record.attempt) == (Status.QUEUED, 0)
        assert [(step.id, step.status, step.attempt) for step in submitted.record.steps] == [
            ("a", Status.QUEUED, 0),
            ("b", Status.QUEUED, 0),
        ]
        assert await got(store, workflow.id) == submitted.record
        assert await kinds(store, workflow.id) == ["workflow.queued"]

    async def test_order_of_keys_in_inputs_is_kept(self, store: StoreWithDispatcher) -> None:
        workflow = make_workflow("a", z=1, a=2, m={"y": 1, "b": 2})
        await store.submit(workflow)
        inputs = (await got(store, workflow.id)).workflow.steps[0].inputs
        assert [*inputs, *inputs["m"]] == ["z", "a", "m", "y", "b"]  # type: ignore[misc]

    @pytest.mark.parametrize("workflow_id", ["unknown", "", "\0", "\ud800", "a\nb", "x" * 10_000])
    async def test_unknown_workflow_is_none_whatever_its_id(self, store: StoreWithDispatcher, workflow_id: str) -> None:
        assert await store.get(workflow_id) is None
        assert await store.cancel(workflow_id) is None
        assert await store.retry(workflow_id) is None
        assert list(await store.events(workflow_id, 0, 10)) == []

    async def test_unknown_workflow_cannot_be_claimed(self, store: StoreWithDispatcher) -> None:
        assert await store.claim("unknown") is None

    async def test_same_key_and_payload_give_the_first_workflow(self, store: StoreWithDispatcher) -> None:
        key = Idempotency("key \udcff", b"\0print")
        first, second = make_workflow(), make_workflow()
        assert (await store.submit(first, key)).created
        again = await store.submit(second, key)
        assert (again.created, again.record.workflow.id) == (False, first.id)
        assert await store.get(second.id) is None

    async def test_same_key_with_another_payload_is_refused(self, store: StoreWithDispatcher) -> None:
        await store.submit(make_workflow(), Idempotency("key", b"one"))
        with pytest.raises(IdempotencyMismatchError):
            await store.submit(make_workflow(), Idempotency("key", b"two"))

    async def test_key_used_by_many_at_once_makes_one_workflow(self, store: StoreWithDispatcher) -> None:
        submitted = await asyncio.gather(*(store.submit(make_workflow(), Idempotency("k", b"f")) for _ in range(20)))
        assert sum(one.created for one in submitted) == 1
        assert len({one.record.workflow.id for one in submitted}) == 1

    async def test_many_submitted_at_once_are_all_kept(self, store: StoreWithDispatcher) -> None:
        workflows = [make_workflow() for _ in range(50)]
        submitted = await asyncio.gather(*(store.submit(workflow) for workflow in workflows))
        assert [one.record.workflow.id for one in submitted] == [workflow.id for workflow in workflows]
        assert (await store.backlog()).queued == 50

    async def test_claim_starts_the_workflow(self, store: StoreWithDispatcher) -> None:
        claim = await claimed(store, make_workflow(deadline_seconds=30))
        assert (claim.attempt, claim.outputs, claim.step_attempts, claim.cancel_requested) == (1, {}, {}, False)
        assert 0 <= claim.queued_seconds < 5
        assert 25 < claim.remaining_seconds <= 30
        record = await got(store, claim.workflow.id)
        assert (record.status, record.attempt) == (Status.RUNNING, 1)
        assert record.started_at is not None

    async def test_claim_after_the_deadline_says_so(self, store: StoreWithDispatcher) -> None:
        claim = await claimed(store, make_workflow(deadline_seconds=-1.0))
        assert claim.remaining_seconds <= -1.0

    async def test_whole_life_of_a_workflow(self, store: StoreWithDispatcher) -> None:
        claim = await claimed(store)
        store.note(claim, changed("a", Status.RUNNING))
        await store.advance(claim, changed("a", output={"text": "one \0"}))
        store.note(claim, changed("b", Status.RUNNING))
        await store.advance(claim, changed("b", output=[1, None]))
        await store.finish(claim, GOOD)
        record = await got(store, claim.workflow.id)
        assert (record.status, record.failure) == (Status.SUCCEEDED, None)
        assert record.finished_at is not None
        assert [(step.status, step.attempt, step.output) for step in record.steps] == [
            (Status.SUCCEEDED, 1, {"text": "one \0"}),
            (Status.SUCCEEDED, 1, [1, None]),
        ]
        assert await kinds(store, claim.workflow.id) == [
            "workflow.queued",
            "workflow.running",
            "step.running",
            "step.succeeded",
            "step.running",
            "step.succeeded",
            "workflow.succeeded",
        ]
        assert await store.claim(claim.workflow.id) is None

    async def test_steps_that_did_not_end_are_cancelled_with_the_workflow(self, store: StoreWithDispatcher) -> None:
        claim = await claimed(store, make_workflow("a", "b", "c"))
        store.note(claim, changed("a", Status.RUNNING))
        await store.advance(claim, changed("a", Status.FAILED, error="no \0 luck"))
        store.note(claim, changed("b", Status.RUNNING))
        await store.finish(claim, BAD)
        record = await got(store, claim.workflow.id)
        assert (record.status, record.failure) == (Status.FAILED, BAD.failure)
        assert [(step.status, step.attempt, step.error) for step in record.steps] == [
            (Status.FAILED, 1, "no \0 luck"),
            (Status.CANCELLED, 1, None),
            (Status.CANCELLED, 0, None),
        ]
        last = (await store.events(claim.workflow.id, 0, 100))[-1]
        assert last.data == {"failure": {"kind": "step-failed", "detail": "no \0 luck", "step": "a"}}

    async def test_next_attempt_knows_what_was_done(self, store: StoreWithDispatcher) -> None:
        first = await claimed(store)
        store.note(first, changed("a", Status.RUNNING))
        store.note(first, changed("a", Status.RUNNING, 2))
        await store.advance(first, changed("a", attempt=2, output=0))
        second = await reclaimed(store, first.workflow.id)
        assert (second.attempt, second.outputs, second.step_attempts) == (2, {"a": 0}, {"a": 2})

    @pytest.mark.parametrize("write", ["advance", "finish", "hand_back"])
    async def test_write_of_an_older_attempt_is_refused(self, store: StoreWithDispatcher, write: str) -> None:
        zombie = await claimed(store)
        await reclaimed(store, zombie.workflow.id)
        before = await got(store, zombie.workflow.id)
        with pytest.raises(LostClaimError):
            await _write(store, zombie, write)
        assert await got(store, zombie.workflow.id) == before

    @pytest.mark.parametrize("write", ["advance", "finish", "hand_back"])
    async def test_write_after_the_end_is_refused(self, store: StoreWithDispatcher, write: str) -> None:
        claim = await claimed(store)
        await store.finish(claim, BAD)
        before = await kinds(store, claim.workflow.id)
        with pytest.raises(LostClaimError):
            await _write(store, claim, write)
        assert await kinds(store, claim.workflow.id) == before

    async def test_same_end_twice_counts_once(self, store: StoreWithDispatcher) -> None:
        claim = await claimed(store)
        await store.finish(claim, GOOD)
        await store.finish(claim, GOOD)
        assert (await kinds(store, claim.workflow.id)).count("workflow.succeeded") == 1

    async def test_lost_claim_disturbs_no_write_beside_it(self, store: StoreWithDispatcher) -> None:
        claims = [await claimed(store) for _ in range(10)]
        for claim in claims[::2]:
            await reclaimed(store, claim.workflow.id)
        results = await asyncio.gather(
            *(store.advance(claim, changed("a", output=1)) for claim in claims), return_exceptions=True
        )
        assert [type(result) for result in results] == [LostClaimError, type(None)] * 5

    async def test_parallel_steps_of_one_workflow_are_numbered_without_gaps(self, store: StoreWithDispatcher) -> None:
        ids = [f"s{n}" for n in range(20)]
        claim = await claimed(store, make_workflow(*ids))
        for step in ids:
            store.note(claim, changed(step, Status.RUNNING))
        await asyncio.gather(*(store.advance(claim, changed(step, output=step)) for step in ids))
        assert len(await kinds(store, claim.workflow.id)) == 42
        assert [step.output for step in (await got(store, claim.workflow.id)).steps] == ids

    async def test_two_claims_at_once_give_two_attempts(self, store: StoreWithDispatcher) -> None:
        workflow = make_workflow()
        await store.submit(workflow)
        claims = await asyncio.gather(*(store.claim(workflow.id) for _ in range(3)))
        assert sorted(claim.attempt for claim in claims if claim) == [1, 2, 3]

    async def test_handed_back_workflow_waits_again_with_its_results(self, store: StoreWithDispatcher) -> None:
        claim = await claimed(store)
        await store.advance(claim, changed("a", output="kept"))
        store.note(claim, changed("b", Status.RUNNING))
        await store.hand_back(claim)
        record = await got(store, claim.workflow.id)
        assert (record.status, [step.status for step in record.steps]) == (
            Status.QUEUED,
            [Status.SUCCEEDED, Status.QUEUED],
        )
        again = await reclaimed(store, claim.workflow.id)
        assert (again.attempt, again.outputs, again.step_attempts) == (2, {"a": "kept"}, {"a": 1, "b": 1})

    async def test_waiting_workflow_is_cancelled_at_once(self, store: StoreWithDispatcher) -> None:
        workflow = make_workflow()
        await store.submit(workflow)
        record = await store.cancel(workflow.id)
        assert record is not None
        assert (record.status, record.cancel_requested) == (Status.CANCELLED, True)
        assert record.failure == Failure("cancelled", "The workflow was cancelled.")
        assert await store.claim(workflow.id) is None
        assert await kinds(store, workflow.id) == ["workflow.queued", "workflow.cancelled"]

    async def test_running_workflow_is_asked_to_stop_once(self, store: StoreWithDispatcher) -> None:
        asked: list[str | None] = []
        store.watch_cancels(asked.append)
        claim = await claimed(store)
        for _ in range(2):
            record = await store.cancel(claim.workflow.id)
            assert record is not None
            assert (record.status, record.cancel_requested) == (Status.RUNNING, True)
        await eventually(lambda: asked == [claim.workflow.id])
        assert (await kinds(store, claim.workflow.id)).count("workflow.cancelling") == 1
        assert (await reclaimed(store, claim.workflow.id)).cancel_requested

    async def test_cancelling_what_ended_changes_nothing(self, store: StoreWithDispatcher) -> None:
        claim = await claimed(store)
        await store.finish(claim, GOOD)
        before = await got(store, claim.workflow.id)
        assert await store.cancel(claim.workflow.id) == before

    async def test_retry_keeps_good_steps_and_gives_a_fresh_deadline(self, store: StoreWithDispatcher) -> None:
        claim = await claimed(store, make_workflow(deadline_seconds=30))
        await store.advance(claim, changed("a", output=1))
        await store.advance(claim, changed("b", Status.FAILED, error="no"))
        await store.finish(claim, BAD)
        record = await store.retry(claim.workflow.id)
        assert record is not None
        assert (record.status, record.failure, record.finished_at) == (Status.QUEUED, None, None)
        assert [step.status for step in record.steps] == [Status.SUCCEEDED, Status.QUEUED]
        again = await reclaimed(store, claim.workflow.id)
        assert (again.attempt, again.outputs, again.step_attempts) == (2, {"a": 1}, {"a": 1, "b": 1})
        assert again.remaining_seconds > 25
        with pytest.raises(LostClaimError):
            await store.advance(claim, changed("b"))

    async def test_only_what_failed_or_was_cancelled_can_be_retried(self, store: StoreWithDispatcher) -> None:
        claim = await claimed(store)
        with pytest.raises(NotRetryableError, match="running"):
            await store.retry(claim.workflow.id)
        await store.finish(claim, GOOD)
        with pytest.raises(NotRetryableError, match="succeeded"):
            await store.retry(claim.workflow.id)

    async def test_workflow_that_takes_its_replicas_with_it_fails(self, store: StoreWithDispatcher) -> None:
        claim = await claimed(store)
        for _ in range(4):
            await reclaimed(store, claim.workflow.id)
        assert await store.claim(claim.workflow.id) is None
        record = await got(store, claim.workflow.id)
        assert (record.status, record.attempt) == (Status.FAILED, 5)
        assert record.failure is not None
        assert record.failure.kind == "worker-lost"
        assert (await kinds(store, claim.workflow.id))[-1] == "workflow.failed"
        await store.retry(claim.workflow.id)
        assert (await reclaimed(store, claim.workflow.id)).attempt == 6

    async def test_handing_back_is_no_crash(self, store: StoreWithDispatcher) -> None:
        claim = await claimed(store)
        for _ in range(10):
            await store.hand_back(claim)
            claim = await reclaimed(store, claim.workflow.id)
        assert claim.attempt == 11

    async def test_pages_show_each_workflow_once_newest_first(self, store: StoreWithDispatcher) -> None:
        ids = []
        for _ in range(7):
            workflow = make_workflow()
            await store.submit(workflow)
            ids.append(workflow.id)
        seen: list[str] = []
        cursor: str | None = None
        for size in (3, 3, 1):
            page = await store.page(status=None, cursor=cursor, limit=3)
            assert len(page.records) == size
            seen += [record.workflow.id for record in page.records]
            cursor = page.cursor
        assert cursor is None
        assert seen == ids[::-1]

    async def test_page_of_a_status(self, store: StoreWithDispatcher) -> None:
        await store.submit(make_workflow())
        claim = await claimed(store)
        page = await store.page(status=Status.RUNNING, cursor=None, limit=5)
        assert [record.workflow.id for record in page.records] == [claim.workflow.id]
        assert list((await store.page(status=Status.FAILED, cursor=None, limit=5)).records) == []

    @pytest.mark.parametrize("cursor", ["nonsense", "!", "", "a", "LTE6YQ", "MTphAGI", "\0", "ü"])
    async def test_unknown_cursor_is_a_value_error(self, store: StoreWithDispatcher, cursor: str) -> None:
        with pytest.raises(ValueError):  # noqa: PT011 - its text differs
            await store.page(status=None, cursor=cursor, limit=5)

    async def test_events_go_on_after_a_number(self, store: StoreWithDispatcher) -> None:
        claim = await claimed(store)
        await store.finish(claim, GOOD)
        assert [event.number for event in await store.events(claim.workflow.id, 1, 1)] == [2]
        assert [event.number for event in await store.events(claim.workflow.id, 2, 9)] == [3]
        assert list(await store.events(claim.workflow.id, 10**30, 9)) == []

    async def test_watcher_hears_of_every_change(self, store: StoreWithDispatcher) -> None:
        heard: list[str | None] = []
        stop = store.watch(heard.append)
        claim = await claimed(store)
        workflow_id = claim.workflow.id
        for write in (
            lambda: store.advance(claim, changed("a", output=1)),
            lambda: store.hand_back(claim),
            lambda: store.cancel(workflow_id),
            lambda: store.retry(workflow_id),
        ):
            await eventually(lambda: workflow_id in heard)
            await asyncio.sleep(0.02)  # what came before has been heard
            heard.clear()
            await write()  # type: ignore[no-untyped-call]
            await eventually(lambda: workflow_id in heard)
        stop()
        await asyncio.sleep(0.02)
        heard.clear()
        await store.cancel(workflow_id)
        await asyncio.sleep(0.05)
        assert heard == []

    async def test_backlog_counts_what_waits(self, store: StoreWithDispatcher) -> None:
        empty = await store.backlog()
        assert (empty.queued, empty.oldest_seconds, empty.replicas) == (0, 0.0, 1)
        await store.submit(make_workflow())
        await claimed(store)
        await asyncio.sleep(0.05)
        backlog = await store.backlog()
        assert backlog.queued == 1
        assert 0.04 < backlog.oldest_seconds < 5
        assert await store.healthy()

    async def test_dispatcher_brings_everything_once_and_at_most_so_many_at_a_time(
        self, store: StoreWithDispatcher
    ) -> None:
        running = most = 0
        brought: list[str] = []

        async def handle(workflow_id: str) -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            claim = await reclaimed(store, workflow_id)
            await asyncio.sleep(0.01)
            await store.finish(claim, GOOD)
            brought.append(workflow_id)
            running -= 1

        workflows = [make_workflow() for _ in range(30)]
        dispatcher = store.dispatcher(3)
        task = asyncio.create_task(dispatcher.run(handle))
        await asyncio.gather(*(store.submit(workflow) for workflow in workflows))
        await eventually(lambda: len(brought) >= 30)
        dispatcher.stop()
        await asyncio.wait_for(task, 5)
        assert sorted(brought) == sorted(workflow.id for workflow in workflows)
        assert most == 3

    async def test_handler_that_raises_ends_nobody_else_and_is_tried_again(self, store: StoreWithDispatcher) -> None:
        tries: dict[str, int] = {}

        async def handle(workflow_id: str) -> None:
            tries[workflow_id] = tries.get(workflow_id, 0) + 1
            if workflow_id == bad.id and tries[workflow_id] == 1:
                raise RuntimeError("on purpose")
            await store.finish(await reclaimed(store, workflow_id), GOOD)

        bad, good = make_workflow(), make_workflow()
        await store.submit(bad)
        await store.submit(good)
        dispatcher = store.dispatcher(2)
        task = asyncio.create_task(dispatcher.run(handle))
        await eventually(lambda: tries == {bad.id: 2, good.id: 1})
        dispatcher.stop()
        await asyncio.wait_for(task, 5)
        assert (await got(store, bad.id)).status is Status.SUCCEEDED

    async def test_stopped_dispatcher_waits_for_its_handlers_and_takes_nothing_new(
        self, store: StoreWithDispatcher
    ) -> None:
        begun: list[str] = []
        release = asyncio.Event()
        ended = 0

        async def handle(workflow_id: str) -> None:
            nonlocal ended
            begun.append(workflow_id)
            await release.wait()
            ended += 1

        for _ in range(4):
            await store.submit(make_workflow())
        dispatcher = store.dispatcher(1)
        task = asyncio.create_task(dispatcher.run(handle))
        await eventually(lambda: len(begun) == 1)
        dispatcher.stop()
        await asyncio.sleep(0.05)
        assert not task.done()
        release.set()
        await asyncio.wait_for(task, 5)
        assert (len(begun), ended) == (1, 1)

    async def test_handed_back_workflow_is_brought_again(self, store: StoreWithDispatcher) -> None:
        attempts: list[int] = []

        async def handle(workflow_id: str) -> None:
            claim = await reclaimed(store, workflow_id)
            attempts.append(claim.attempt)
            if claim.attempt == 1:
                await store.hand_back(claim)
            else:
                await store.finish(claim, GOOD)

        workflow = make_workflow()
        dispatcher = store.dispatcher(2)
        task = asyncio.create_task(dispatcher.run(handle))
        await store.submit(workflow)
        await eventually(lambda: attempts == [1, 2])
        dispatcher.stop()
        await asyncio.wait_for(task, 5)
        assert (await got(store, workflow.id)).status is Status.SUCCEEDED

    async def test_cancelled_dispatcher_cancels_its_handlers(self, store: StoreWithDispatcher) -> None:
        cancelled = asyncio.Event()
        begun = asyncio.Event()

        async def handle(_: str) -> None:
            begun.set()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancelled.set()
                raise

        await store.submit(make_workflow())
        task = asyncio.create_task(store.dispatcher(2).run(handle))
        await asyncio.wait_for(begun.wait(), 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 5)
        assert cancelled.is_set()

    def test_concurrency_below_one_is_refused(self, store: StoreWithDispatcher) -> None:
        with pytest.raises(ValueError, match="concurrency"):
            store.dispatcher(0)

    async def test_records_are_values(self, store: StoreWithDispatcher) -> None:
        claim = await claimed(store)
        await store.advance(claim, changed("a", output=[1]))
        before = await got(store, claim.workflow.id)
        before.steps[0].output.append(2)  # type: ignore[union-attr]
        after = await got(store, claim.workflow.id)
        assert after.steps[0] == replace(before.steps[0], output=[1])


async def _write(store: JobStore, claim: Claim, write: str) -> None:
    match write:
        case "advance":
            await store.advance(claim, changed("a", output="late"))
        case "finish":
            await store.finish(claim, GOOD)
        case _:
            await store.hand_back(claim)

"""Workflows kept in this process, with the behaviour of the durable store and none of its durability.

For the service without a database, and for tests: it passes the same contract suite. What ended is kept up to a bound
in number and time, so it cannot grow without end; what waits is bounded by admission.
"""

import asyncio
import base64
import copy
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from typing import Final

from generation_service.domain.errors import CancelRequestedError
from generation_service.domain.workflow import (
    MAX_ATTEMPTS,
    WORKER_LOST,
    Ending,
    Event,
    Failure,
    JsonObject,
    Record,
    Status,
    StepChange,
    StepRecord,
    Workflow,
)
from generation_service.ports import (
    Backlog,
    Claim,
    Clock,
    Idempotency,
    IdempotencyMismatchError,
    LostClaimError,
    NotRetryableError,
    Page,
    Submitted,
)

_LOG = logging.getLogger(__name__)

AGAIN_SECONDS: Final = 1.0  # before a workflow whose handler raised is tried again
_RETRYABLE: Final = {Status.FAILED, Status.CANCELLED}

Listener = Callable[[str | None], None]


@dataclass(slots=True)
class _Entry:
    """One workflow."""

    workflow: Workflow
    number: int  # in the order of admission
    created_at: float  # wall clock, for people
    queued_at: float  # monotonic, for ages and the deadline
    idempotency: Idempotency | None
    status: Status = Status.QUEUED
    attempt: int = 0
    attempt_limit: int = MAX_ATTEMPTS
    started_at: float | None = None
    finished_at: float | None = None
    ended: float = 0.0  # monotonic
    failure: Failure | None = None
    cancel_requested: bool = False
    steps: dict[str, StepRecord] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)

    def record(self) -> Record:
        """What is known."""
        return Record(
            workflow=self.workflow,
            status=self.status,
            attempt=self.attempt,
            created_at=self.created_at,
            started_at=self.started_at,
            finished_at=self.finished_at,
            steps=tuple(self._step(step.id) for step in self.workflow.steps),
            failure=self.failure,
            cancel_requested=self.cancel_requested,
        )

    def _step(self, step_id: str) -> StepRecord:
        step = self.steps.get(step_id, StepRecord(step_id))
        if self.status.terminal and not step.status.terminal:
            step = replace(step, status=Status.CANCELLED)
        return copy.deepcopy(step)  # an output may be a list: the caller's copy is the caller's


class MemoryStore:
    """`ports.JobStore` on dictionaries. Lives on one event loop.

    Args:
        wall: seconds since the epoch, only for times that people read.
        max_finished: ended workflows to keep; the oldest go first.
        finished_seconds: how long to keep them.
    """

    def __init__(
        self,
        clock: Clock,
        wall: Callable[[], float],
        *,
        max_finished: int = 10_000,
        finished_seconds: float = 24 * 3600.0,
    ) -> None:
        self._clock = clock
        self._wall = wall
        self._max_finished = max_finished
        self._finished_seconds = finished_seconds
        self._entries: dict[str, _Entry] = {}
        self._keys: dict[str, _Entry] = {}
        self._finished: dict[str, _Entry] = {}  # in the order of their end
        self._numbers = count(1)
        self._listeners: list[Listener] = []
        self._cancel_listeners: list[Listener] = []
        self.queue: deque[str] = deque()
        self.filled = asyncio.Event()  # something came into the queue

    def dispatcher(self, concurrency: int) -> "MemoryDispatcher":
        """Run what waits here, `concurrency` at a time."""
        return MemoryDispatcher(self, self._clock, concurrency)

    async def close(self) -> None:
        """Forget nothing: there is nothing to let go of."""

    async def submit(self, workflow: Workflow, idempotency: Idempotency | None = None) -> Submitted:
        """See `ports.JobStore.submit`."""
        self._forget()
        known = self._entries.get(workflow.id)
        if idempotency is not None:
            known = self._keys.get(idempotency.key, known)
        if known is not None:
            if idempotency and known.idempotency and known.idempotency.fingerprint != idempotency.fingerprint:
                raise IdempotencyMismatchError
            return Submitted(known.record(), created=False)
        workflow = copy.deepcopy(workflow)
        entry = _Entry(workflow, next(self._numbers), self._wall(), self._clock.now(), idempotency)
        self._entries[workflow.id] = entry
        if idempotency is not None:
            self._keys[idempotency.key] = entry
        self._enqueue(entry)
        return Submitted(entry.record(), created=True)

    async def get(self, workflow_id: str) -> Record | None:
        """See `ports.JobStore.get`."""
        entry = self._entries.get(workflow_id)
        return None if entry is None else entry.record()

    async def page(self, *, status: Status | None, cursor: str | None, limit: int) -> Page:
        """See `ports.JobStore.page`."""
        before = None if cursor is None else _position(cursor)
        found: list[_Entry] = []
        for entry in reversed(self._entries.values()):
            if (before is None or entry.number < before) and status in {None, entry.status}:
                found.append(entry)
                if len(found) > limit:
                    break
        shown = found[:limit]
        return Page([entry.record() for entry in shown], _cursor(shown[-1]) if len(found) > limit else None)

    async def events(self, workflow_id: str, after: int, limit: int) -> Sequence[Event]:
        """See `ports.JobStore.events`."""
        entry = self._entries.get(workflow_id)
        return entry.events[max(0, after) : max(0, after) + limit] if entry else []

    async def cancel(self, workflow_id: str) -> Record | None:
        """See `ports.JobStore.cancel`."""
        entry = self._entries.get(workflow_id)
        if entry is None:
            return None
        if entry.status is Status.QUEUED:
            entry.cancel_requested = True
            self._end(entry, Ending(Status.CANCELLED, Failure("cancelled", str(CancelRequestedError()))))
        elif entry.status is Status.RUNNING and not entry.cancel_requested:
            entry.cancel_requested = True
            self._happened(entry, "workflow.cancelling", {})
            for listener in tuple(self._cancel_listeners):
                listener(workflow_id)
        return entry.record()

    async def retry(self, workflow_id: str) -> Record | None:
        """See `ports.JobStore.retry`."""
        entry = self._entries.get(workflow_id)
        if entry is None:
            return None
        if entry.status not in _RETRYABLE:
            raise NotRetryableError(entry.status)
        self._finished.pop(workflow_id, None)
        entry.queued_at = self._clock.now()
        entry.finished_at, entry.failure, entry.cancel_requested = None, None, False
        entry.attempt_limit = entry.attempt + MAX_ATTEMPTS
        self._enqueue_again(entry)
        return entry.record()

    async def claim(self, workflow_id: str) -> Claim | None:
        """See `ports.JobStore.claim`."""
        entry = self._entries.get(workflow_id)
        if entry is None or entry.status.terminal:
            return None
        if entry.attempt >= entry.attempt_limit:
            self._end(entry, Ending(Status.FAILED, WORKER_LOST))
            return None
        now = self._clock.now()
        entry.status = Status.RUNNING
        entry.attempt += 1
        entry.started_at = self._wall()
        self._happened(entry, "workflow.running", {"attempt": entry.attempt})
        return Claim(
            workflow=entry.workflow,
            attempt=entry.attempt,
            outputs={
                step.id: copy.deepcopy(step.output) for step in entry.steps.values() if step.status is Status.SUCCEEDED
            },
            step_attempts={step.id: step.attempt for step in entry.steps.values()},
            remaining_seconds=entry.queued_at + entry.workflow.deadline_seconds - now,
            queued_seconds=now - entry.queued_at,
            cancel_requested=entry.cancel_requested,
        )

    def note(self, claim: Claim, change: StepChange) -> None:
        """See `ports.JobStore.note`. Kept at once, unless the claim is lost."""
        if (entry := self._held(claim)) is not None:
            self._change(entry, change)

    async def advance(self, claim: Claim, *changes: StepChange) -> None:
        """See `ports.JobStore.advance`."""
        entry = self._held(claim)
        if entry is None:
            raise LostClaimError
        for change in changes:
            self._change(entry, change)

    async def finish(self, claim: Claim, ending: Ending, *changes: StepChange) -> None:
        """See `ports.JobStore.finish`. The same end again is no lost claim."""
        entry = self._held(claim)
        if entry is not None:
            for change in changes:
                self._change(entry, change)
            self._end(entry, ending)
            return
        entry = self._entries.get(claim.workflow.id)
        if entry is None or (entry.attempt, entry.status) != (claim.attempt, ending.status):
            raise LostClaimError

    async def hand_back(self, claim: Claim) -> None:
        """See `ports.JobStore.hand_back`."""
        entry = self._held(claim)
        if entry is None:
            raise LostClaimError
        entry.attempt_limit += 1
        self._enqueue_again(entry)

    def watch(self, listener: Listener) -> Callable[[], None]:
        """See `ports.JobStore.watch`."""
        return _added(self._listeners, listener)

    def watch_cancels(self, listener: Listener) -> Callable[[], None]:
        """See `ports.JobStore.watch_cancels`."""
        return _added(self._cancel_listeners, listener)

    async def backlog(self) -> Backlog:
        """See `ports.JobStore.backlog`."""
        self._forget()
        waiting = [entry.queued_at for entry in self._entries.values() if entry.status is Status.QUEUED]
        oldest = self._clock.now() - min(waiting) if waiting else 0.0
        return Backlog(queued=len(waiting), oldest_seconds=oldest, replicas=1)

    async def healthy(self) -> bool:
        """Always."""
        return True

    def _held(self, claim: Claim) -> _Entry | None:
        """The workflow, if this claim still counts."""
        entry = self._entries.get(claim.workflow.id)
        held = entry is not None and entry.status is Status.RUNNING and entry.attempt == claim.attempt
        return entry if held else None

    def _change(self, entry: _Entry, change: StepChange) -> None:
        output = copy.deepcopy(change.output) if change.status is Status.SUCCEEDED else None
        entry.steps[change.step_id] = StepRecord(change.step_id, change.status, change.attempt, output, change.error)
        about: dict[str, str | int] = {"step": change.step_id, "attempt": change.attempt}
        if change.error is not None:
            about["error"] = change.error
        self._happened(entry, f"step.{change.status.value}", about)

    def _end(self, entry: _Entry, ending: Ending) -> None:
        entry.status = ending.status
        entry.failure = ending.failure
        entry.finished_at = self._wall()
        entry.ended = self._clock.now()
        self._finished[entry.workflow.id] = entry
        failure = ending.failure
        about: JsonObject = (
            {"failure": {"kind": failure.kind, "detail": failure.detail, "step": failure.step}} if failure else {}
        )
        self._happened(entry, f"workflow.{ending.status.value}", about)

    def _enqueue(self, entry: _Entry) -> None:
        entry.status = Status.QUEUED
        self.queue.append(entry.workflow.id)
        self.filled.set()
        self._happened(entry, "workflow.queued", {})

    def _enqueue_again(self, entry: _Entry) -> None:
        for step in entry.steps.values():
            if step.status is not Status.SUCCEEDED:
                entry.steps[step.id] = replace(step, status=Status.QUEUED)
        self._enqueue(entry)

    def _happened(self, entry: _Entry, kind: str, data: JsonObject) -> None:
        entry.events.append(Event(len(entry.events) + 1, kind, self._wall(), data))
        for listener in tuple(self._listeners):
            listener(entry.workflow.id)

    def _forget(self) -> None:
        """Drop what ended too long ago, or is one too many."""
        too_old = self._clock.now() - self._finished_seconds
        while self._finished:
            entry = next(iter(self._finished.values()))
            if len(self._finished) <= self._max_finished and entry.ended > too_old:
                return
            del self._finished[entry.workflow.id], self._entries[entry.workflow.id]
            if entry.idempotency is not None:
                del self._keys[entry.idempotency.key]


class MemoryDispatcher:
    """`ports.Dispatcher` over the queue of a `MemoryStore`. `run` it once."""

    def __init__(self, store: MemoryStore, clock: Clock, concurrency: int) -> None:
        if concurrency < 1:
            raise ValueError(f"concurrency: {concurrency} workflows at a time are too few; give at least 1.")
        self._store = store
        self._clock = clock
        self._concurrency = concurrency
        self._stopping = asyncio.Event()
        self._workers: list[asyncio.Task[None]] = []

    @property
    def shared(self) -> bool:
        """Nobody else can see this queue."""
        return False

    async def run(self, handle: Callable[[str], Awaitable[None]]) -> None:
        """See `ports.Dispatcher.run`."""
        loop = asyncio.get_running_loop()
        self._workers = [loop.create_task(self._work(handle)) for _ in range(self._concurrency)]
        try:
            await asyncio.gather(*self._workers)
        finally:
            for worker in self._workers:
                worker.cancel()
            await asyncio.gather(*self._workers, return_exceptions=True)

    def stop(self) -> None:
        """See `ports.Dispatcher.stop`."""
        self._stopping.set()
        self._store.filled.set()

    async def _work(self, handle: Callable[[str], Awaitable[None]]) -> None:
        while not self._stopping.is_set():
            if not self._store.queue:
                self._store.filled.clear()
                await self._store.filled.wait()
                continue
            workflow_id = self._store.queue.popleft()
            try:
                await handle(workflow_id)
            except Exception:  # noqa: BLE001 - it is logged, and ends nobody else's work
                _LOG.exception("workflow %s goes back into the queue", workflow_id)
                self._clock.call_later(AGAIN_SECONDS, partial(self._again, workflow_id))

    def _again(self, workflow_id: str) -> None:
        self._store.queue.append(workflow_id)
        self._store.filled.set()


def _added(listeners: list[Listener], listener: Listener) -> Callable[[], None]:
    listeners.append(listener)

    def remove() -> None:
        if listener in listeners:
            listeners.remove(listener)

    return remove


def _cursor(entry: _Entry) -> str:
    return base64.urlsafe_b64encode(str(entry.number).encode()).decode().rstrip("=")


def _position(cursor: str) -> int:
    """The opposite of `_cursor`. Raises `ValueError`."""
    return int(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))

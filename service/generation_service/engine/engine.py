"""The life of workflows in one replica: submit, take from the queue, run, cancel, hand back when the replica must go.

Nothing accepted is forgotten: a claimed workflow ends in the store with a result or a failure that says why, or goes
back into the queue for another replica; if this process dies instead, the dispatcher brings it to another one.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from generation_service.domain.errors import (
    CancelRequestedError,
    DeadlineExceededError,
    DrainingError,
    StepFailedError,
    WorkflowError,
)
from generation_service.domain.workflow import Ending, Failure, Outcome, Record, Status, StepChange, Workflow
from generation_service.engine.admission import Admission, Phase
from generation_service.engine.interruption import Interruption
from generation_service.engine.notices import LONGEST_SILENCE_SECONDS, Notices
from generation_service.engine.runner import Runner
from generation_service.ports import (
    Claim,
    Clock,
    Dispatcher,
    Idempotency,
    JobStore,
    LostClaimError,
    Observer,
    StoreUnavailableError,
    Submitted,
)

BACKLOG_INTERVAL_SECONDS: Final = 1.0
LOOK_AGAIN_SECONDS: Final = 0.05
_FAILURES: Final[Mapping[type[WorkflowError], tuple[Status, str]]] = {
    CancelRequestedError: (Status.CANCELLED, "cancelled"),
    DeadlineExceededError: (Status.FAILED, "deadline-exceeded"),
    StepFailedError: (Status.FAILED, "step-failed"),
}


class Engine:
    """Runs workflows. Lives on one event loop; `start` it before use and `drain` it before leaving."""

    def __init__(
        self,
        store: JobStore,
        dispatcher: Dispatcher,
        runner: Runner,
        admission: Admission,
        *,
        clock: Clock,
        observer: Observer,
    ) -> None:
        self.store = store
        self.admission = admission
        self.notices = Notices(store, clock)
        self._dispatcher = dispatcher
        self._runner = runner
        self._clock = clock
        self._observer = observer
        self._running: dict[str, Interruption] = {}
        self._drained = False
        self._tasks: list[asyncio.Task[None]] = []
        self._stop_watching: Callable[[], None] | None = None
        self._looking: set[asyncio.Task[None]] = set()

    @property
    def leaving(self) -> bool:
        """Whether those who follow a workflow here should go on elsewhere."""
        return self._drained or (self.admission.phase is Phase.CLOSED and self._dispatcher.shared)

    async def start(self) -> None:
        """Begin to take work from the queue."""
        self._stop_watching = self.store.watch_cancels(self._cancel_asked)
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._dispatcher.run(self._handle), name="dispatcher"),
            loop.create_task(self._count_backlog(), name="backlog"),
        ]

    async def watch(self) -> None:
        """Return when a part that should run as long as the engine ends before the drain; raise what ended it."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        if self.admission.phase is Phase.CLOSED:
            await asyncio.Event().wait()  # as it should be; whoever called cancels
        for task in done:
            await task

    async def submit(self, workflow: Workflow, idempotency: Idempotency | None = None) -> Submitted:
        """Put a workflow into the queue.

        Raises `QueueFullError`, `DrainingError`, `IdempotencyMismatchError`, `StoreUnavailableError`.
        """
        self.admission.enter()
        created = False
        try:
            submitted = await self.store.submit(workflow, idempotency)
            created = submitted.created
        finally:
            self.admission.entered(stored=created)
        return submitted

    async def retry(self, workflow_id: str) -> Record | None:
        """Queue an ended workflow again; as `submit`, and `NotRetryableError`."""
        self.admission.enter()
        queued = False
        try:
            record = await self.store.retry(workflow_id)
            queued = record is not None
        finally:
            self.admission.entered(stored=queued)
        return record

    async def ended(self, workflow_id: str, seconds: float) -> Record | None:
        """The record once the workflow has ended, or as it is after `seconds`; None: there is no such workflow.

        Raises `DrainingError` when this replica goes and nobody else can finish the workflow.
        """
        until = self._clock.now() + seconds
        with self.notices.bell(workflow_id) as bell:
            while True:
                record = await self.store.get(workflow_id)
                left = until - self._clock.now()
                if record is None or record.status.terminal or left <= 0:
                    return record
                if self._drained:
                    if self._dispatcher.shared:
                        return record
                    raise DrainingError
                await bell.wait(min(left, LONGEST_SILENCE_SECONDS))

    def retire(self) -> None:
        """Ask for no more work (readiness turns false) while still taking what comes."""
        if self.admission.phase is Phase.SERVING:
            self.admission.phase = Phase.RETIRING

    async def drain(self, seconds: float) -> int:
        """Take nothing new, finish what runs; after `seconds` hand the rest back.

        What waits in a store of this process alone is finished too: nobody else could.

        Returns:
            How many workflows had to be stopped.
        """
        self.admission.phase = Phase.CLOSED
        self.notices.ring_all()
        until = self._clock.now() + seconds
        if not self._dispatcher.shared:
            await self._queue_empty(until)
        self._dispatcher.stop()
        stopped = 0

        def stop_the_rest() -> None:
            nonlocal stopped
            stopped = len(self._running)
            for run in self._running.values():
                run.interrupt(DrainingError())

        timer = self._clock.call_later(max(0.0, until - self._clock.now()), stop_the_rest)
        try:
            if self._tasks:
                await asyncio.wait([self._tasks[0]])
        finally:
            timer.cancel()
        while self.admission.in_flight and self._clock.now() < until:  # chat completions
            await self._clock.sleep(LOOK_AGAIN_SECONDS)
        self._drained = True
        self.notices.ring_all()
        return stopped

    async def close(self) -> None:
        """End everything at once; what still runs is found by another replica."""
        for task in [*self._tasks, *self._looking]:
            task.cancel()
        await asyncio.gather(*self._tasks, *self._looking, return_exceptions=True)
        if self._stop_watching is not None:
            self._stop_watching()
        self.notices.close()

    async def _handle(self, workflow_id: str) -> None:
        await self.admission.work(partial(self._take, workflow_id))

    async def _take(self, workflow_id: str) -> None:
        claim = await self.store.claim(workflow_id)
        if claim is not None:
            self.admission.left_queue()
            await self._run(claim)

    async def _run(self, claim: Claim) -> None:
        started = self._clock.now()
        try:
            unkept: list[StepChange] = []
            ending = await self._ending(claim, unkept)
            if ending is None:
                return await self._runner.keep(lambda: self.store.hand_back(claim))
            await self._runner.keep(lambda: self.store.finish(claim, ending, *unkept))
        except LostClaimError:
            return None  # whoever has it now reports how it ends
        self._observer.workflow_ended(ending.status)
        if ending.status is not Status.CANCELLED:  # what its owner stopped is neither a success nor an error
            outcome = Outcome.SUCCESS if ending.status is Status.SUCCEEDED else Outcome.ERROR
            self._observer.finished(outcome, claim.queued_seconds + self._clock.now() - started)
        return None

    async def _ending(self, claim: Claim, unkept: list[StepChange]) -> Ending | None:
        """Run the steps; None: the replica must go and the workflow belongs to another one."""
        workflow = claim.workflow
        late = DeadlineExceededError(workflow.deadline_seconds)
        interruption = Interruption()
        self._running[workflow.id] = interruption
        timer = self._clock.call_later(max(0.0, claim.remaining_seconds), lambda: interruption.interrupt(late))
        try:
            with interruption:
                if claim.cancel_requested:
                    raise CancelRequestedError
                if claim.remaining_seconds <= 0:
                    raise late
                await self._runner.run(claim, unkept)
        except DrainingError:
            return None
        except WorkflowError as error:
            status, kind = _FAILURES[type(error)]
            step = error.step_id if isinstance(error, StepFailedError) else None
            return Ending(status, Failure(kind, str(error), step))
        finally:
            timer.cancel()
            del self._running[workflow.id]
        return Ending(Status.SUCCEEDED)

    def _cancel_asked(self, workflow_id: str | None) -> None:
        if workflow_id is None:  # notices may be lost: look at all of them
            task = asyncio.get_running_loop().create_task(self._look_for_cancels())
            self._looking.add(task)
            task.add_done_callback(self._looking.discard)
        elif workflow_id in self._running:
            self._running[workflow_id].interrupt(CancelRequestedError())

    async def _look_for_cancels(self) -> None:
        for workflow_id in list(self._running):
            try:
                record = await self.store.get(workflow_id)
            except StoreUnavailableError:
                return  # the adapter calls again when it is back
            if record is not None and record.cancel_requested:
                self._cancel_asked(workflow_id)

    async def _count_backlog(self) -> None:
        while True:
            with contextlib.suppress(StoreUnavailableError):  # the last count stands; readiness says it is away
                self.admission.counted(await self.store.backlog())
            await self._clock.sleep(BACKLOG_INTERVAL_SECONDS)

    async def _queue_empty(self, until: float) -> None:
        while self._clock.now() < until and (await self.store.backlog()).queued:
            await self._clock.sleep(LOOK_AGAIN_SECONDS)

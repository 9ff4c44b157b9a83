"""Run workflows: admit, wait for a slot, do the steps in order, stop at the deadline, drain.

Nothing accepted is forgotten: each `run` ends with a result, an error that says why, or the caller's own cancellation,
and in every case its slot or place in the queue is free again and the observer was told once.
"""

import asyncio
import math
from dataclasses import dataclass
from enum import Enum

from generation_service.domain.errors import (
    DeadlineExceededError,
    DrainingError,
    QueueFullError,
    StepFailedError,
)
from generation_service.domain.workflow import Outcome, StepResult, Workflow, WorkflowResult
from generation_service.engine.interruption import Interruption
from generation_service.engine.slots import FullError, Slots
from generation_service.ports import Clock, Generator, GeneratorError, Observer

# One in ten of the last running time goes into the average: follows a change within a few dozen workflows.
SMOOTHING = 0.1
# A client told to stay away for longer than this would miss the replicas that the operator adds meanwhile.
LONGEST_RETRY_AFTER_SECONDS = 30


class Phase(Enum):
    """The life of a replica, in this order."""

    SERVING = "Serving"
    RETIRING = "Retiring"  # not ready any more, but requests already on their way are still taken
    CLOSED = "Closed"  # finishes what it has, takes nothing new


@dataclass(frozen=True, slots=True)
class Limits:
    """How much work is taken at once."""

    concurrent_workflows: int
    queue_limit: int


class Engine:
    """Runs workflows within limits. Lives on one event loop."""

    def __init__(self, generator: Generator, clock: Clock, observer: Observer, limits: Limits) -> None:
        self._generator = generator
        self._clock = clock
        self._observer = observer
        self._limits = limits
        self._slots = Slots(limits.concurrent_workflows, limits.queue_limit)
        self._runs: set[Interruption] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._phase = Phase.SERVING
        self._running_seconds = 1.0  # smoothed; a guess until the first workflow is done

    @property
    def phase(self) -> Phase:
        """Where in its life this replica is."""
        return self._phase

    @property
    def queue_length(self) -> int:
        """Workflows accepted and waiting for a slot."""
        return self._slots.waiting

    @property
    def in_flight(self) -> int:
        """Workflows being run."""
        return self._slots.busy

    async def run(self, workflow: Workflow) -> WorkflowResult:
        """Run one workflow to its end; cancelling the call stops the work.

        Raises:
            QueueFullError: at once, when there is no room.
            DrainingError: at once when closed, or later when the drain ran out of time.
            DeadlineExceededError: the deadline passed, in the queue or at work.
            StepFailedError: the generator gave up on a step.
        """
        arrived = self._clock.now()
        self._observer.arrived()
        outcome = Outcome.ERROR  # a caller who gave up counts as one: the answer did not reach anybody
        try:
            if self._phase is Phase.CLOSED:
                raise DrainingError
            result = await self._admitted(workflow, arrived)
            outcome = Outcome.SUCCESS
        finally:
            self._observer.finished(outcome, self._clock.now() - arrived)
        return result

    def retire(self) -> None:
        """Ask for no more work (readiness turns false) while still taking what comes."""
        if self._phase is Phase.SERVING:
            self._phase = Phase.RETIRING

    async def drain(self, seconds: float) -> int:
        """Take nothing new, finish what was accepted; after `seconds` stop the rest with `DrainingError`.

        Returns:
            How many had to be stopped.
        """
        self._phase = Phase.CLOSED
        stopped = 0

        def stop_the_rest() -> None:
            nonlocal stopped
            stopped = len(self._runs)
            for run in self._runs:
                run.interrupt(DrainingError())

        timer = self._clock.call_later(seconds, stop_the_rest)
        try:
            await self._empty.wait()
        finally:
            timer.cancel()
        return stopped

    async def _admitted(self, workflow: Workflow, arrived: float) -> WorkflowResult:
        interruption = Interruption()
        self._runs.add(interruption)
        self._empty.clear()
        timer = self._clock.call_later(
            workflow.deadline_seconds,
            lambda: interruption.interrupt(DeadlineExceededError(workflow.deadline_seconds)),
        )
        try:
            with interruption:
                return await self._in_turn(workflow, arrived)
        finally:
            timer.cancel()
            self._runs.discard(interruption)
            if not self._runs:
                self._empty.set()

    async def _in_turn(self, workflow: Workflow, arrived: float) -> WorkflowResult:
        try:
            await self._slots.acquire()
        except FullError:
            raise QueueFullError(self._limits.queue_limit, self._retry_after_seconds()) from None
        started = self._clock.now()
        try:
            steps = await self._steps(workflow)
        finally:
            ended = self._clock.now()
            self._slots.release()
            self._observer.ran(ended - started)
        self._running_seconds += SMOOTHING * (ended - started - self._running_seconds)
        return WorkflowResult(workflow.id, steps, queued_seconds=started - arrived, duration_seconds=ended - arrived)

    async def _steps(self, workflow: Workflow) -> tuple[StepResult, ...]:
        results = []
        for step in workflow.steps:
            try:
                output = await self._generator.generate(step.prompt)
            except GeneratorError as error:
                raise StepFailedError(step.id, str(error)) from error
            results.append(StepResult(step.id, output))
        return tuple(results)

    def _retry_after_seconds(self) -> int:
        """The time that the queue needs to pass, from how long workflows lately took."""
        turns = (self._slots.waiting + 1) / self._limits.concurrent_workflows
        return max(1, min(LONGEST_RETRY_AFTER_SECONDS, math.ceil(turns * self._running_seconds)))

"""Run the steps of a claimed workflow: each as soon as those before it are done, several at once.

What cost something to make is kept in the store before a step that needs it begins, so another replica can go on from
there. Steps that may run twice without harm are tried again; all others end the workflow when they fail.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

from generation_service.domain.errors import StepFailedError
from generation_service.domain.workflow import Json, JsonObject, Outcome, Status, Step, StepChange
from generation_service.engine.pools import Pool, PoolFullError
from generation_service.ports import Claim, Clock, JobStore, Observer, StepError, StepType, StoreUnavailableError

FIRST_PAUSE_SECONDS: Final = 0.2
LONGEST_PAUSE_SECONDS: Final = 5.0
# A database restarts within seconds; giving up earlier would only repeat work that is done.
STORE_PATIENCE_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class _Work:
    """One step to do."""

    claim: Claim
    step: Step
    outputs: Mapping[str, Json]
    until: float
    unkept: list[StepChange]
    last: bool

    def take_unkept(self) -> list[StepChange]:
        """What waits for a write; whoever takes it writes it."""
        taken = list(self.unkept)
        self.unkept.clear()
        return taken


class Runner:
    """Runs claims. Holds no state of its own between them."""

    def __init__(
        self,
        store: JobStore,
        step_types: Mapping[str, StepType],
        pools: Mapping[str, Pool],
        *,
        clock: Clock,
        observer: Observer,
    ) -> None:
        self._store = store
        self._step_types = step_types
        self._pools = pools
        self._clock = clock
        self._observer = observer

    async def run(self, claim: Claim, unkept: list[StepChange]) -> None:
        """Do all steps. Cancelling stops those that run.

        Args:
            claim: the right to do so.
            unkept: gets the changes that are still to be written, in order, however this ends: those of steps that
                are computed again for nothing, and of the last one, which can share a write with the end.

        Raises `StepFailedError`, `LostClaimError`, `StoreUnavailableError`.
        """
        until = self._clock.now() + claim.remaining_seconds
        outputs = dict(claim.outputs)
        waiting = [step for step in claim.workflow.steps if step.id not in outputs]
        running: dict[asyncio.Task[Json], Step] = {}
        try:
            while waiting or running:
                ready = [step for step in waiting if all(needed in outputs for needed in step.depends_on)]
                waiting = [step for step in waiting if step not in ready]
                if len(ready) == 1 and not running:  # a chain, the usual case: no task is needed
                    last = not waiting
                    outputs[ready[0].id] = await self._step(_Work(claim, ready[0], outputs, until, unkept, last))
                    continue
                for step in ready:
                    work = _Work(claim, step, outputs, until, unkept, last=False)
                    running[asyncio.create_task(self._step(work))] = step
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    outputs[running.pop(task).id] = task.result()
        finally:
            if running:
                for task in running:
                    task.cancel()
                await asyncio.gather(*running, return_exceptions=True)

    async def keep(self, write: Callable[[], Awaitable[None]]) -> None:
        """Write to the store, again and again while it is away for a short time."""
        until = self._clock.now() + STORE_PATIENCE_SECONDS
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                return await write()
            except StoreUnavailableError:
                if self._clock.now() + pause > until:
                    raise
            await self._clock.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def _step(self, work: "_Work") -> Json:
        claim, step, until = work.claim, work.step, work.until
        attempt = claim.step_attempts.get(step.id, 0)
        tries = 0
        pause = FIRST_PAUSE_SECONDS
        while True:
            attempt += 1
            tries += 1
            self._store.note(claim, StepChange(step.id, Status.RUNNING, attempt))
            try:
                output = await self._try(step, Context(self, work.outputs, until))
            except StepError as error:
                wait = max(pause, error.retry_after_seconds or 0.0)
                tired = not error.retryable or tries >= self.step_type(step.type).attempts
                if tired or self._clock.now() + wait >= until:
                    failed = StepChange(step.id, Status.FAILED, attempt, error=str(error))
                    await self.keep(partial(self._store.advance, claim, *work.take_unkept(), failed))
                    raise StepFailedError(step.id, str(error)) from error
            else:
                good = StepChange(step.id, Status.SUCCEEDED, attempt, output=output)
                if work.last or not self.step_type(step.type).durable:
                    work.unkept.append(good)
                else:
                    await self.keep(partial(self._store.advance, claim, *work.take_unkept(), good))
                return output
            await self._clock.sleep(wait)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def _try(self, step: Step, context: "Context") -> Json:
        started = self._clock.now()
        outcome = Outcome.ERROR
        try:
            output = await self.step_type(step.type).run(step.inputs, context)
            outcome = Outcome.SUCCESS
        finally:
            self._observer.step_finished(step.type, outcome, self._clock.now() - started)
        return output

    def step_type(self, name: str) -> StepType:
        """The step type of that name. Raises `StepError`."""
        found = self._step_types.get(name)
        if found is None:
            raise StepError(f"this replica knows no step type {name!r}; was a package removed from the service?")
        return found

    def pool(self, name: str) -> Pool:
        """The pool of that name. Raises `StepError`."""
        pool = self._pools.get(name)
        if pool is None:
            raise StepError(f"there is no pool {name!r}; the pools are {', '.join(sorted(self._pools))}")
        return pool

    def now(self) -> float:
        """Seconds on the clock that `until` is given in."""
        return self._clock.now()


class Context:
    """`ports.StepContext` for one run of a step."""

    def __init__(
        self, runner: Runner, outputs: Mapping[str, Json], until: float, variables: JsonObject | None = None
    ) -> None:
        self._runner = runner
        self._until = until
        self._outputs = outputs
        self._variables = variables or {}

    @property
    def outputs(self) -> Mapping[str, Json]:
        """Outputs of the finished steps, by id."""
        return self._outputs

    @property
    def variables(self) -> JsonObject:
        """More names for templates."""
        return self._variables

    @property
    def remaining_seconds(self) -> float:
        """Time left to the deadline, >= 0."""
        return max(0.0, self._until - self._runner.now())

    @asynccontextmanager
    async def slot(self, pool: str) -> AsyncIterator[None]:
        """Hold a place in a pool. Raises `StepError`."""
        place = self._runner.pool(pool)
        try:
            await place.acquire()
        except PoolFullError as error:
            raise StepError(str(error), retryable=True) from None
        try:
            yield
        finally:
            place.release()

    async def run_step(self, step_type: str, inputs: JsonObject, variables: JsonObject) -> Json:
        """Run another step inside this one. Raises `StepError`."""
        inner = Context(self._runner, self._outputs, self._until, {**self._variables, **variables})
        return await self._runner.step_type(step_type).run(inputs, inner)

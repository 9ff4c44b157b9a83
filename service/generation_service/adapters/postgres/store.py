"""`ports.JobStore` on Postgres: fenced rows, written in groups.

Callers that come while a statement is under way share the next one: at 20 workflows at a time that is a fifth of the
transactions. A write counts only for the attempt that the row shows; a replica that was taken for dead can do no harm.
"""

import base64
import contextlib
import os
import socket
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from generation_service.adapters.postgres import codec, statements
from generation_service.adapters.postgres.database import Database
from generation_service.adapters.postgres.dispatcher import DispatcherSettings, PostgresDispatcher
from generation_service.adapters.postgres.driver import QUEUE_CONNECTIONS, PoolSettings, Row, create_pool, sqlstate
from generation_service.adapters.postgres.history import MetricsHistory
from generation_service.adapters.postgres.housekeeping import Housekeeping, Retention
from generation_service.adapters.postgres.listener import Listener
from generation_service.adapters.postgres.migrate import migrate
from generation_service.adapters.postgres.monitor import QueryMonitor
from generation_service.adapters.postgres.queue import CHANNEL
from generation_service.adapters.postgres.writes import (
    Notes,
    Write,
    WriteBatch,
    encoded_change,
    encoded_ending,
    payloads,
)
from generation_service.domain.errors import CancelRequestedError
from generation_service.domain.workflow import (
    MAX_ATTEMPTS,
    WORKER_LOST,
    Ending,
    Event,
    Failure,
    Record,
    Status,
    StepChange,
    StepRecord,
    Workflow,
)
from generation_service.engine.batching import Batcher, BatchFullError
from generation_service.ports import (
    Backlog,
    Claim,
    Clock,
    Idempotency,
    IdempotencyMismatchError,
    LostClaimError,
    NotRetryableError,
    Page,
    StoreUnavailableError,
    Submitted,
)

Item = TypeVar("Item")
Result = TypeVar("Result")

ALIVE_SECONDS: Final = 10.0  # a replica that said nothing for this long is not counted
LAST_NUMBER: Final = 2**31 - 1  # of an event: the column is an integer
BATCH_SIZE: Final = 200
# Two: while the server writes one group to its disk it can work on another.
BATCHES_AT_ONCE: Final = 2


class PostgresStore:
    """`ports.JobStore`. Made by `open`; lives on one event loop."""

    def __init__(self, database: Database, queue: Database, listener: Listener, clock: Clock, replica: str) -> None:
        self.monitor = database.monitor
        self.history = MetricsHistory(database, replica)
        self.replica = replica
        self._database = database
        self._queue = queue
        self._listener = listener
        self._clock = clock
        self._notes = Notes()
        self._submits = Batcher(one_by_one_on_error(self._submit_all), max_size=BATCH_SIZE, concurrency=BATCHES_AT_ONCE)
        self._claims = Batcher(one_by_one_on_error(self._claim_all), max_size=BATCH_SIZE, concurrency=BATCHES_AT_ONCE)
        self._writes = Batcher(one_by_one_on_error(self._write_all), max_size=BATCH_SIZE, concurrency=BATCHES_AT_ONCE)

    @classmethod
    async def open(
        cls, url: str, settings: PoolSettings, clock: Clock, *, slow_seconds: float = 0.5, replica: str | None = None
    ) -> "PostgresStore":
        """Bring the tables up to date (waiting for a database that starts) and connect.

        Raises `StoreUnavailableError`, `migrate.MigrationError`.
        """
        await migrate(url, settings, clock)
        name = replica or f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        listener = Listener(url, settings, clock, (statements.CHANGED, statements.CANCELS, CHANNEL))
        monitor = QueryMonitor(slow_seconds)
        database = Database(await create_pool(url, settings), settings, monitor)
        try:
            few = replace(settings, min_size=1, max_size=QUEUE_CONNECTIONS)
            queue = Database(await create_pool(url, few, relaxed=True), few, monitor)
            await listener.start()
        except BaseException:
            await database.close()
            raise
        return cls(database, queue, listener, clock, name)

    async def close(self) -> None:
        """Finish the writes under way and let go of the database."""
        for batcher in (self._submits, self._claims, self._writes):
            await batcher.drain()
        await self._listener.close()
        with contextlib.suppress(StoreUnavailableError):  # then the others notice by themselves
            await self._database.fetch(statements.GOODBYE, self.replica)
        await self._database.close()
        await self._queue.close()

    @property
    def connections(self) -> tuple[int, int]:
        """Open to the database, and of these in use."""
        return self._database.connections  # those of the queue and the listener are constant

    def dispatcher(self, concurrency: int, settings: DispatcherSettings | None = None) -> PostgresDispatcher:
        """Bring workflows to this replica, `concurrency` at a time."""
        return PostgresDispatcher(
            self._queue, self._listener, self._clock, concurrency, settings or DispatcherSettings()
        )

    def housekeeping(self, retention: Retention | None = None) -> Housekeeping:
        """The task that removes what is old and finds what was forgotten."""
        return Housekeeping(self._database, self._clock, retention or Retention())

    async def submit(self, workflow: Workflow, idempotency: Idempotency | None = None) -> Submitted:
        """See `ports.JobStore.submit`. A repetition after an unclear failure finds the workflow it made."""
        definition = codec.definition(workflow)
        created = await self._batched(self._submits, (workflow, definition, idempotency))
        if created is None:
            return await self._known(workflow, idempotency)
        steps = tuple(StepRecord(step.id) for step in workflow.steps)
        record = Record(workflow, Status.QUEUED, attempt=0, created_at=created, steps=steps)
        return Submitted(record, created=True)

    async def get(self, workflow_id: str) -> Record | None:
        """See `ports.JobStore.get`."""
        if not _possible(workflow_id):
            return None
        rows = await self._database.fetch(statements.GET, workflow_id)
        return codec.record(rows[0]) if rows else None

    async def page(self, *, status: Status | None, cursor: str | None, limit: int) -> Page:
        """See `ports.JobStore.page`."""
        before = (None, None) if cursor is None else _position(cursor)
        rows = await self._database.fetch(statements.PAGE, status and status.value, *before, limit + 1)
        shown = rows[:limit]
        more = len(rows) > limit
        return Page([codec.record(row) for row in shown], _cursor(shown[-1]) if more else None)

    async def events(self, workflow_id: str, after: int, limit: int) -> Sequence[Event]:
        """See `ports.JobStore.events`."""
        if not _possible(workflow_id):
            return []
        rows = await self._database.fetch(statements.EVENTS, workflow_id, min(after, LAST_NUMBER), limit)
        return [codec.event(row) for row in rows]

    async def cancel(self, workflow_id: str) -> Record | None:
        """See `ports.JobStore.cancel`."""
        if not _possible(workflow_id):
            return None
        failure = codec.failure_object(Failure("cancelled", str(CancelRequestedError())))
        await self._database.fetch(statements.CANCEL, workflow_id, codec.dumps(failure))
        return await self.get(workflow_id)

    async def retry(self, workflow_id: str) -> Record | None:
        """See `ports.JobStore.retry`."""
        if not _possible(workflow_id):
            return None
        async with self._database.transaction("retry.connection") as session:
            done = await session.fetch(statements.RETRY, workflow_id, MAX_ATTEMPTS)
            if done:
                await session.fetch(statements.RESET_STEPS, workflow_id)
                await session.fetch(statements.DROP_JOB, workflow_id)
                await session.fetch(statements.ADD_JOB, workflow_id)
        record = await self.get(workflow_id)
        if record is not None and not done:
            raise NotRetryableError(record.status)
        return record

    async def claim(self, workflow_id: str) -> Claim | None:
        """See `ports.JobStore.claim`. Ends a workflow that has lost too many replicas."""
        return await self._batched(self._claims, workflow_id)

    def note(self, claim: Claim, change: StepChange) -> None:
        """See `ports.JobStore.note`."""
        self._notes.add(claim, change)

    async def advance(self, claim: Claim, *changes: StepChange) -> None:
        """See `ports.JobStore.advance`."""
        encoded = (*self._notes.take(claim), *map(encoded_change, changes))
        await self._batched(self._writes, Write(claim.workflow.id, claim.attempt, encoded))

    async def finish(self, claim: Claim, ending: Ending, *changes: StepChange) -> None:
        """See `ports.JobStore.finish`. A repetition after an unclear failure is no lost claim."""
        encoded = (*self._notes.take(claim), *map(encoded_change, changes))
        write = Write(claim.workflow.id, claim.attempt, encoded, encoded_ending(ending))
        await self._batched(self._writes, write)

    async def hand_back(self, claim: Claim) -> None:
        """See `ports.JobStore.hand_back`."""
        if notes := self._notes.take(claim):
            await self._batched(self._writes, Write(claim.workflow.id, claim.attempt, notes))
        async with self._database.transaction("hand_back.connection") as session:
            if not await session.fetch(statements.HAND_BACK, claim.workflow.id, claim.attempt):
                raise LostClaimError
            await session.fetch(statements.RESET_STEPS, claim.workflow.id)
            await session.fetch(statements.DROP_JOB, claim.workflow.id)
            await session.fetch(statements.ADD_JOB, claim.workflow.id)

    def watch(self, listener: Callable[[str | None], None]) -> Callable[[], None]:
        """See `ports.JobStore.watch`."""

        def heard(payload: str | None) -> None:
            for workflow_id in (None,) if payload is None else payload.split("\n"):
                listener(workflow_id)

        return self._listener.add(statements.CHANGED, heard)

    def watch_cancels(self, listener: Callable[[str | None], None]) -> Callable[[], None]:
        """See `ports.JobStore.watch_cancels`."""
        return self._listener.add(statements.CANCELS, listener)

    async def backlog(self) -> Backlog:
        """See `ports.JobStore.backlog`."""
        row = (await self._database.fetch(statements.BACKLOG, self.replica, ALIVE_SECONDS))[0]
        return Backlog(queued=row["queued"], oldest_seconds=max(0.0, row["oldest"]), replicas=row["others"] + 1)

    async def healthy(self) -> bool:
        """See `ports.JobStore.healthy`."""
        try:
            await self._database.fetch(statements.HEALTHY)
        except Exception:  # noqa: BLE001 - whatever it is, the answer is no
            return False
        return True

    async def _batched(self, batcher: Batcher[Item, Result], item: Item) -> Result:
        try:
            return await batcher.submit(item)
        except BatchFullError:
            raise StoreUnavailableError("The database is too slow: too many writes wait for it already.") from None

    async def _known(self, workflow: Workflow, idempotency: Idempotency | None) -> Submitted:
        rows = await self._database.fetch(statements.KNOWN, _key(idempotency), workflow.id)
        record = await self.get(rows[0]["id"]) if rows else None
        if record is None:
            raise StoreUnavailableError("The workflow of this idempotency key was removed just now; send it again.")
        if idempotency is not None and rows[0]["fingerprint"] not in {None, idempotency.fingerprint}:
            raise IdempotencyMismatchError
        return Submitted(record, created=False)

    async def _submit_all(self, items: Sequence[tuple[Workflow, str, Idempotency | None]]) -> list[float | None]:
        """When each was created, None for those that were known."""
        # In the order of the keys, so that two replicas that insert the same keys never wait for each other in a ring.
        rows = sorted(items, key=lambda item: (item[2].key if item[2] else "", item[0].id))
        made = await self._database.fetch(
            statements.SUBMIT,
            [workflow.id for workflow, _, _ in rows],
            [definition for _, definition, _ in rows],
            [workflow.deadline_seconds for workflow, _, _ in rows],
            [_key(idempotency) for _, _, idempotency in rows],
            [idempotency.fingerprint if idempotency else None for _, _, idempotency in rows],
            MAX_ATTEMPTS,
        )
        created: dict[str, float] = {row["id"]: row["created"] for row in made}
        return [created.pop(workflow.id, None) for workflow, _, _ in items]

    async def _claim_all(self, workflow_ids: Sequence[str]) -> list[Claim | None]:
        """A claim for each. An id that comes twice is claimed twice, one after the other: the second one counts."""
        claims: list[Claim | None] = [None] * len(workflow_ids)
        waiting = list(enumerate(workflow_ids))
        while waiting:
            now: dict[str, int] = {}
            later: list[tuple[int, str]] = []
            for index, workflow_id in waiting:
                if workflow_id in now:
                    later.append((index, workflow_id))
                else:
                    now[workflow_id] = index
            waiting = later
            failure = codec.dumps(codec.failure_object(WORKER_LOST))
            ids = sorted(now)
            for row in await self._database.fetch(statements.CLAIM, ids, self.replica, failure, list(payloads(ids))):
                if row["status"] == Status.RUNNING.value:
                    claims[now[row["id"]]] = codec.claim(row)
        return claims

    async def _write_all(self, writes: Sequence[Write]) -> list[LostClaimError | None]:
        batch = WriteBatch(writes)
        rows = await self._database.fetch(statements.WRITE, *batch.arguments())
        hit = {row["position"] for row in rows}
        missed = [w for w in writes if batch.positions[w.workflow_id, w.attempt] not in hit]
        ended: set[tuple[str, int, str]] = set()
        if any(write.ending for write in missed):
            found = await self._database.fetch(statements.ENDED, [write.workflow_id for write in missed])
            ended = {(row["id"], row["attempt"], row["status"]) for row in found}
        lost = {id(write) for write in missed if not _repeated(write, ended)}
        return [LostClaimError() if id(write) in lost else None for write in writes]


def one_by_one_on_error(
    execute: Callable[[Sequence[Item]], Awaitable[Sequence[Result | BaseException]]],
) -> Callable[[Sequence[Item]], Awaitable[Sequence[Result | BaseException]]]:
    """Have a batch that the server refuses done item by item: one that cannot be kept disturbs no other."""

    async def execute_all(items: Sequence[Item]) -> Sequence[Result | BaseException]:
        try:
            return await execute(items)
        except Exception as error:
            if len(items) == 1 or sqlstate(error) is None:  # StoreUnavailableError has none: it concerns all of them
                raise
        results: list[Result | BaseException] = []
        for item in items:
            try:
                results.extend(await execute([item]))
            except Exception as error:  # noqa: BLE001 - raised for its caller
                results.append(error)
        return results

    return execute_all


def _key(idempotency: Idempotency | None) -> bytes | None:
    """Bytes, because a header may hold what is no text."""
    return None if idempotency is None else idempotency.key.encode(errors="surrogatepass")


def _possible(workflow_id: str) -> bool:
    """Whether a row can have this id: Postgres refuses texts with NUL and with half of a surrogate pair."""
    return "\0" not in workflow_id and not any("\ud800" <= character <= "\udfff" for character in workflow_id)


def _repeated(write: Write, ended: set[tuple[str, int, str]]) -> bool:
    return write.ending is not None and (write.workflow_id, write.attempt, write.ending.status) in ended


def _cursor(row: Row) -> str:
    return base64.urlsafe_b64encode(f"{row['created_micros']}:{row['id']}".encode()).decode().rstrip("=")


def _position(cursor: str) -> tuple[int, str]:
    """The opposite of `_cursor`. Raises `ValueError`."""
    text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    micros, _, workflow_id = text.partition(":")
    if not workflow_id or not _possible(workflow_id) or not 0 <= (number := int(micros)) < 2**62:
        raise ValueError(f"cursor: {cursor!r} is not one of ours; take the cursor of the page before as it is.")
    return number, workflow_id

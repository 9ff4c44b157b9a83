"""Many changes of many workflows as the arrays of one statement.

Changes of one attempt that come together become one row, so their events are numbered in the order in which they came.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from generation_service.adapters.postgres.codec import dumps, failure_object
from generation_service.domain.workflow import Ending, Status, StepChange
from generation_service.ports import Claim

LONGEST_PAYLOAD: Final = 7500  # bytes; Postgres refuses notices of 8000


@dataclass(frozen=True, slots=True)
class EncodedChange:
    """A change of a step, ready for its columns."""

    step_id: str
    status: str
    attempt: int
    output: str | None
    error: str | None
    event: str


@dataclass(frozen=True, slots=True)
class EncodedEnding:
    """An ending, ready for its columns."""

    status: str
    failure: str | None
    event: str


@dataclass(frozen=True, slots=True)
class Write:
    """What one caller wants kept."""

    workflow_id: str
    attempt: int
    changes: tuple[EncodedChange, ...]
    ending: EncodedEnding | None = None


def encoded_change(change: StepChange) -> EncodedChange:
    """Raises `TypeError` for an output that JSON cannot say."""
    about: dict[str, str | int] = {"step": change.step_id, "attempt": change.attempt}
    if change.error is not None:
        about["error"] = change.error
    return EncodedChange(
        step_id=change.step_id,
        status=change.status.value,
        attempt=change.attempt,
        output=dumps(change.output) if change.status is Status.SUCCEEDED else None,
        error=None if change.error is None else dumps(change.error),
        event=dumps(about),
    )


def encoded_ending(ending: Ending) -> EncodedEnding:
    """The same for an ending."""
    failure = failure_object(ending.failure)
    return EncodedEnding(
        status=ending.status.value,
        failure=None if failure is None else dumps(failure),
        event=dumps({} if failure is None else {"failure": failure}),
    )


@dataclass(slots=True)
class _Row:
    """All that one attempt of one workflow wants kept in this batch."""

    changes: dict[str, EncodedChange] = field(default_factory=dict)  # the last of each step counts
    events: list[tuple[str, str]] = field(default_factory=list)  # all of them happened
    ending: EncodedEnding | None = None


class WriteBatch:
    """The arrays of `statements.WRITE`, and which of their rows belongs to which write."""

    def __init__(self, writes: Sequence[Write]) -> None:
        self._rows: dict[tuple[str, int], _Row] = {}
        for write in writes:
            row = self._rows.setdefault((write.workflow_id, write.attempt), _Row())
            for change in write.changes:
                row.changes[change.step_id] = change
                row.events.append((f"step.{change.status}", change.event))
            if write.ending is not None and row.ending is None:
                row.ending = write.ending
                row.events.append((f"workflow.{write.ending.status}", write.ending.event))
        self.positions = {key: position for position, key in enumerate(self._rows, start=1)}

    def arguments(self) -> tuple[list[Any], ...]:
        """One list for each parameter."""
        rows = list(self._rows.values())
        keys = list(self._rows)
        changes = [(position, change) for position, row in enumerate(rows, 1) for change in row.changes.values()]
        events = [
            (position, number, kind, data)
            for position, row in enumerate(rows, 1)
            for number, (kind, data) in enumerate(row.events, 1)
        ]
        endings = [row.ending for row in rows]
        return (
            [key[0] for key in keys],
            [key[1] for key in keys],
            [len(row.events) for row in rows],
            [ending.status if ending else None for ending in endings],
            [ending.failure if ending else None for ending in endings],
            [position for position, _ in changes],
            [change.step_id for _, change in changes],
            [change.status for _, change in changes],
            [change.attempt for _, change in changes],
            [change.output for _, change in changes],
            [change.error for _, change in changes],
            [event[0] for event in events],
            [event[1] for event in events],
            [event[2] for event in events],
            [event[3] for event in events],
            list(payloads([key[0] for key in keys])),
        )


def payloads(workflow_ids: Sequence[str]) -> Iterator[str]:
    """The ids in as few notices as they fit into."""
    waiting: list[str] = []
    size = 0
    for workflow_id in dict.fromkeys(workflow_ids):
        length = len(workflow_id.encode()) + 1
        if waiting and size + length > LONGEST_PAYLOAD:
            yield "\n".join(waiting)
            waiting, size = [], 0
        waiting.append(workflow_id)
        size += length
    if waiting:
        yield "\n".join(waiting)


class Notes:
    """Changes that may wait for the next write of their attempt; gone with the process."""

    def __init__(self, limit: int = 10_000) -> None:
        self._limit = limit  # attempts; the oldest is forgotten, as a note may be lost
        self._notes: dict[tuple[str, int], list[EncodedChange]] = {}

    def add(self, claim: Claim, change: StepChange) -> None:
        """Keep it for the next write."""
        key = (claim.workflow.id, claim.attempt)
        if key not in self._notes and len(self._notes) >= self._limit:
            del self._notes[next(iter(self._notes))]
        self._notes.setdefault(key, []).append(encoded_change(change))

    def take(self, claim: Claim) -> tuple[EncodedChange, ...]:
        """What waits for this attempt; it waits no more."""
        return tuple(self._notes.pop((claim.workflow.id, claim.attempt), ()))

"""Workflows and JSON columns, both ways."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from generation_service.adapters.postgres.driver import Row
from generation_service.domain.workflow import (
    Event,
    Failure,
    Json,
    JsonObject,
    Record,
    Status,
    Step,
    StepRecord,
    Workflow,
)
from generation_service.ports import Claim

STATUSES: Final = {status.value: status for status in Status}


def dumps(value: object) -> str:
    """JSON text for a column. Raises `TypeError` for what JSON cannot say."""
    return orjson.dumps(value).decode()


def loads(text: str | None) -> Json:
    """The value of a JSON column; NULL is None, as is JSON's null."""
    value: Json = None if text is None else orjson.loads(text)
    return value


def definition(workflow: Workflow) -> str:
    """What makes the workflow again with `workflow()`; id and deadline have columns of their own."""
    return dumps(
        [{"id": s.id, "type": s.type, "inputs": s.inputs, "depends_on": list(s.depends_on)} for s in workflow.steps]
    )


def workflow(row: Row) -> Workflow:
    """The workflow of a row with `id`, `definition` and `deadline_seconds`."""
    steps: list[dict[str, Any]] = orjson.loads(row["definition"])
    return Workflow(
        id=row["id"],
        steps=tuple(Step(s["id"], s["type"], s["inputs"], tuple(s["depends_on"])) for s in steps),
        deadline_seconds=row["deadline_seconds"],
    )


def failure_object(failure: Failure | None) -> "JsonObject | None":
    """A failure as JSON."""
    return None if failure is None else {"kind": failure.kind, "detail": failure.detail, "step": failure.step}


def record(row: Row) -> Record:
    """The record of a row of `statements.RECORD`."""
    found = workflow(row)
    status = STATUSES[row["status"]]
    known = {step[0]: step for step in _steps(row["steps"])}
    failure = orjson.loads(row["failure"]) if row["failure"] is not None else None
    return Record(
        workflow=found,
        status=status,
        attempt=row["attempt"],
        created_at=row["created"],
        started_at=row["started"],
        finished_at=row["finished"],
        steps=tuple(step_record(step.id, known.get(step.id), status) for step in found.steps),
        failure=None if failure is None else Failure(failure["kind"], failure["detail"], failure["step"]),
        cancel_requested=row["cancel_requested"],
    )


def step_record(step_id: str, known: Sequence[Any] | None, workflow_status: Status) -> StepRecord:
    """A step as it is, of a workflow in that status; steps that never began have no row."""
    status = Status.QUEUED if known is None else STATUSES[known[1]]
    if workflow_status.terminal and not status.terminal:
        status = Status.CANCELLED
    if known is None:
        return StepRecord(step_id, status)
    return StepRecord(step_id, status, attempt=known[2], output=known[3], error=known[4])


def claim(row: Row) -> Claim:
    """The claim of a row of `statements.CLAIM`."""
    steps = _steps(row["steps"])
    return Claim(
        workflow=workflow(row),
        attempt=row["attempt"],
        outputs={step[0]: step[3] for step in steps if step[1] == Status.SUCCEEDED.value},
        step_attempts={step[0]: step[2] for step in steps},
        remaining_seconds=row["remaining"],
        queued_seconds=row["waited"],
        cancel_requested=row["cancel_requested"],
    )


def event(row: Row) -> Event:
    """The event of a row."""
    data: Mapping[str, Json] = orjson.loads(row["data"])
    return Event(row["number"], row["kind"], row["at"], data)


def _steps(text: str | None) -> list[list[Any]]:
    """Rows of `[id, status, attempt, output, error]`."""
    steps: list[list[Any]] = [] if text is None else orjson.loads(text)
    return steps

"""The JSON of the API: what a client may send and what it gets, with every list and string bounded.

Only this module knows field names on the wire. Requests are parsed in one pass; answers are plain dictionaries, and the
models beside them describe those for the API's description (a test compares the two).
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, cast

import orjson
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from generation_service.domain.errors import InvalidWorkflowError
from generation_service.domain.workflow import Event, Json, JsonObject, Record, Step, Workflow

BODY_LIMIT_BYTES: Final = 1024 * 1024  # some 250,000 tokens
LONGEST_DEADLINE_SECONDS: Final = 86_400
MOST_STEPS: Final = 64
MOST_NESTING: Final = 32
USUAL_ANSWER_TOKENS: Final = 256

StepId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$")]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class StepBody(_Model):
    """One step of a workflow."""

    id: StepId
    type: str = Field(min_length=1, max_length=63)
    """The name of a step type; `inputs` is what that type takes."""
    inputs: dict[str, Any] = Field(default_factory=dict, max_length=64)
    depends_on: list[StepId] = Field(default_factory=list, max_length=MOST_STEPS)
    """Steps that must be done before this one."""


class Submission(_Model):
    """A workflow to run."""

    steps: list[StepBody] = Field(min_length=1, max_length=MOST_STEPS)
    deadline_seconds: int | None = Field(default=None, ge=1, le=LONGEST_DEADLINE_SECONDS)
    """After this long the workflow is stopped; the service's own deadline if not given."""

    def workflow(self, workflow_id: str, deadline_seconds: int) -> Workflow:
        """The request as a domain value. Raises `InvalidWorkflowError`.

        Args:
            workflow_id: a fresh id.
            deadline_seconds: the service's own deadline; the client can ask for an earlier one, never for a later.
        """
        for index, step in enumerate(self.steps):
            _refuse_what_cannot_be_kept(f"steps[{index}].inputs", step.inputs)
        return Workflow(
            id=workflow_id,
            steps=tuple(Step(step.id, step.type, step.inputs, tuple(step.depends_on)) for step in self.steps),
            deadline_seconds=min(self.deadline_seconds or deadline_seconds, deadline_seconds),
        )


class FailureView(_Model):
    """Why a workflow did not succeed."""

    kind: str
    detail: str
    step: str | None


StatusName = Literal["queued", "running", "succeeded", "failed", "cancelled"]


class StepView(_Model):
    """A step and what became of it."""

    id: str
    type: str
    status: StatusName
    attempt: int
    """Runs begun."""
    output: Any
    """What the step produced; null until it succeeded."""
    error: str | None


class WorkflowView(_Model):
    """A workflow and what became of it."""

    id: str
    status: StatusName
    created_at: str
    """RFC 3339, as all times."""
    started_at: str | None
    finished_at: str | None
    deadline_seconds: float
    attempt: int
    """How many times a replica took it."""
    cancel_requested: bool
    queued_seconds: float | None
    duration_seconds: float | None
    """Admission to end, the time in the queue included."""
    steps: list[StepView]
    error: FailureView | None


class WorkflowPage(_Model):
    """A part of the list of workflows, newest first."""

    items: list[WorkflowView]
    cursor: str | None
    """Send it as `cursor` to get the next part; null on the last."""


class ChatMessage(BaseModel):
    """A message in the OpenAI format; more fields are passed on."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    role: str = Field(min_length=1, max_length=64)
    content: Any = None


class ChatBody(BaseModel):
    """A chat completion in the OpenAI format; fields that are not listed here are passed on to the generator."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    model: str | None = Field(default=None, min_length=1, max_length=200)
    messages: list[ChatMessage] = Field(min_length=1, max_length=1000)
    stream: bool = False


class ProblemField(_Model):
    """A part of the request that is at fault."""

    field: str
    message: str


class Problem(_Model):
    """An error, as RFC 9457 describes."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[ProblemField] | None = None


def submission(body: bytes) -> Submission:
    """Parse a body. Raises pydantic's `ValidationError`."""
    return Submission.model_validate_json(body)


def workflow_view(record: Record) -> dict[str, Json]:
    """What `WorkflowView` describes."""
    outcomes = {step.id: step for step in record.steps}
    steps: list[Json] = []
    for step in record.workflow.steps:
        known = outcomes.get(step.id)
        steps.append(
            {
                "id": step.id,
                "type": step.type,
                "status": "queued" if known is None else known.status.value,
                "attempt": 0 if known is None else known.attempt,
                "output": None if known is None else known.output,
                "error": None if known is None else known.error,
            }
        )
    failure = record.failure
    return {
        "id": record.workflow.id,
        "status": record.status.value,
        "created_at": _time(record.created_at),
        "started_at": _time(record.started_at),
        "finished_at": _time(record.finished_at),
        "deadline_seconds": record.workflow.deadline_seconds,
        "attempt": record.attempt,
        "cancel_requested": record.cancel_requested,
        "queued_seconds": _between(record.created_at, record.started_at),
        "duration_seconds": _between(record.created_at, record.finished_at),
        "steps": steps,
        "error": None if failure is None else {"kind": failure.kind, "detail": failure.detail, "step": failure.step},
    }


def encode(value: object) -> bytes:
    """JSON bytes."""
    return orjson.dumps(value)


def encode_event(event: Event) -> bytes:
    """One server-sent event."""
    data = encode({"kind": event.kind, "at": _time(event.at), **event.data})
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (event.number, event.kind.encode(), data)


def canonical_chat(parsed: Mapping[str, object], model: str) -> bytes:
    """The request with sorted keys, and without what has no influence on the text that comes back.

    A field that the format does not know is kept: leaving out one that matters would mix up answers.
    """
    kept = {name: value for name, value in parsed.items() if name not in {"user", "metadata", "store", "stream"}}
    kept.setdefault("model", model)
    if kept["model"] is None:
        kept["model"] = model
    return orjson.dumps(kept, option=orjson.OPT_SORT_KEYS)


def estimated_tokens(request: bytes) -> int:
    """What a chat completion will cost: its length at four letters a token, and the most it may answer."""
    limit = orjson.loads(request).get("max_tokens")
    return len(request) // 4 + (limit if isinstance(limit, int) else USUAL_ANSWER_TOKENS)


def _refuse_what_cannot_be_kept(field: str, inputs: JsonObject) -> None:
    """Refuse nesting that no reader expects and the one character that databases do not store."""
    waiting: list[tuple[str, Json, int]] = [(field, cast("Json", inputs), 1)]
    while waiting:
        path, value, depth = waiting.pop()
        if depth > MOST_NESTING:
            raise InvalidWorkflowError(field, f"is nested more than {MOST_NESTING} levels deep; flatten it")
        if isinstance(value, str):
            if "\x00" in value:
                raise InvalidWorkflowError(path[:200], "contains the character U+0000, which cannot be kept; remove it")
        elif isinstance(value, dict):
            for name, inner in value.items():
                if "\x00" in name:
                    raise InvalidWorkflowError(path[:200], "has a key with the character U+0000; remove it")
                waiting.append((f"{path}.{name}", inner, depth + 1))
        elif isinstance(value, list):
            waiting.extend((f"{path}[{index}]", inner, depth + 1) for index, inner in enumerate(value))


def _time(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _between(start: float, end: float | None) -> float | None:
    return None if end is None else round(max(0.0, end - start), 6)

"""The workflow API: submit, read, list, follow, cancel, retry."""

import hashlib
import re
import uuid
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from aiohttp import web

from generation_service.adapters.http import wire
from generation_service.adapters.http.endpoints import Endpoint, Parameter, Reply
from generation_service.adapters.http.events import follow
from generation_service.adapters.http.problems import problem
from generation_service.domain.errors import InvalidWorkflowError
from generation_service.domain.workflow import Failure, Record, Status
from generation_service.engine.engine import Engine
from generation_service.ports import Idempotency, StepType
from generation_service.steps.registry import check

LONGEST_WAIT_SECONDS: Final = 600
_WAIT: Final = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6})\"?(?:$|[,;\s])", re.IGNORECASE)
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
_NO_STORE: Final = {"Cache-Control": "no-store"}  # results belong to one caller: no cache on the way may keep them
_FAILED: Final[Mapping[str, int]] = {
    "deadline-exceeded": HTTPStatus.GATEWAY_TIMEOUT,
    "cancelled": HTTPStatus.CONFLICT,
    "draining": HTTPStatus.SERVICE_UNAVAILABLE,
}
_ID: Final = Parameter("id", "path", "The workflow's id.", {"type": "string", "format": "uuid"})
_PROBLEMS: Final = {
    status: Reply(HTTPStatus(status).phrase, wire.Problem) for status in (400, 409, 413, 422, 429, 502, 503, 504)
}


class WorkflowRoutes:
    """Handlers around one engine."""

    def __init__(
        self, engine: Engine, step_types: Mapping[str, StepType], deadline_seconds: int, follower_limit: int
    ) -> None:
        self._engine = engine
        self._step_types = step_types
        self._deadline_seconds = deadline_seconds
        self._follower_limit = follower_limit

    async def submit_workflow(self, request: web.Request) -> web.Response:
        """Queue a workflow; with `Prefer: wait=N` answer with its result if it ends in time."""
        body = await request.read()
        workflow = wire.submission(body).workflow(str(uuid.uuid4()), self._deadline_seconds)
        check(workflow, self._step_types)
        wait = _wait_seconds(request)
        submitted = await self._engine.submit(workflow, _idempotency(request, body))
        record = submitted.record
        if not submitted.created and not record.status.terminal:
            return problem(
                409,
                "still-running",
                "A request with this Idempotency-Key is still being worked on; follow it at Location.",
                headers={"Location": _location(record), "Retry-After": "1"},
            )
        if wait is None or self._crowded:
            return _accepted(record)
        ended = await self._engine.ended(record.workflow.id, wait)
        applied = {"Preference-Applied": f"wait={wait}"}
        if ended is None or not ended.status.terminal:
            return _accepted(ended or record, applied)
        return _result(ended, applied)

    async def get_workflow(self, request: web.Request) -> web.Response:
        """Answer with everything that is known about a workflow."""
        workflow_id = _id(request)
        wait = _wait_seconds(request)
        if wait is None or self._crowded:
            record = await self._engine.store.get(workflow_id)
        else:
            record = await self._engine.ended(workflow_id, wait)
        return _missing(workflow_id) if record is None else _shown(record)

    async def follow_workflow(self, request: web.Request) -> web.StreamResponse:
        """Stream the events of a workflow, past and coming, until it ends."""
        workflow_id = _id(request)
        after = _last_event_id(request)
        if self._crowded:
            return problem(
                503,
                "too-many-followers",
                f"{self._follower_limit} clients wait here already; read the workflow instead, or try again.",
                headers={"Retry-After": "5"},
            )
        record = await self._engine.store.get(workflow_id)
        if record is None:
            return _missing(workflow_id)
        return await follow(request, self._engine, workflow_id, after)

    async def cancel_workflow(self, request: web.Request) -> web.Response:
        """Stop a workflow; one that has ended stays as it is."""
        workflow_id = _id(request)
        record = await self._engine.store.cancel(workflow_id)
        if record is None:
            return _missing(workflow_id)
        return _shown(record) if record.status.terminal else _accepted(record)

    async def retry_workflow(self, request: web.Request) -> web.Response:
        """Queue a workflow again that failed or was cancelled; steps that succeeded are not repeated."""
        workflow_id = _id(request)
        record = await self._engine.retry(workflow_id)
        return _missing(workflow_id) if record is None else _accepted(record)

    async def list_workflows(self, request: web.Request) -> web.Response:
        """List workflows, newest first."""
        query = request.query
        status = _one_of_statuses(query.get("status"))
        limit = _limit(query.get("limit"))
        cursor = query.get("cursor")
        if cursor is not None and not 0 < len(cursor) <= 200:
            raise InvalidWorkflowError("cursor", "is not a cursor of this list; send the one of the last answer")
        try:
            page = await self._engine.store.page(status=status, cursor=cursor, limit=limit)
        except ValueError:
            raise InvalidWorkflowError(
                "cursor", "is not a cursor of this list; send the one of the last answer"
            ) from None
        body = {"items": [wire.workflow_view(record) for record in page.records], "cursor": page.cursor}
        return web.Response(body=wire.encode(body), content_type="application/json", headers=_NO_STORE)

    @property
    def _crowded(self) -> bool:
        """Whether so many wait that one more connection would be one too many; waiting is a wish, not a right."""
        return self._engine.notices.waiting >= self._follower_limit

    def endpoints(self) -> list[Endpoint]:
        """What is served, for the router and the description."""
        prefer = Parameter(
            "Prefer", "header", "`wait=N`: answer when the workflow has ended, or after N seconds.", {"type": "string"}
        )
        key = Parameter(
            "Idempotency-Key",
            "header",
            "Recognises a repetition: the same key and payload get the same answer.",
            {"type": "string", "minLength": 1, "maxLength": 255},
        )
        shown = Reply("The workflow.", wire.WorkflowView)
        accepted = Reply(
            "It is queued or still runs.", wire.WorkflowView, headers={"Location": "Where it can be read."}
        )
        missing = Reply("There is no such workflow.", wire.Problem)
        tag = "workflows"
        return [
            Endpoint(
                "POST", "/v1/workflows", self.submit_workflow, "Submit a workflow", tag,
                {200: shown, 202: accepted, **_PROBLEMS}, (prefer, key), wire.Submission,
            ),
            Endpoint(
                "GET", "/v1/workflows", self.list_workflows, "List workflows", tag,
                {200: Reply("A part of the list.", wire.WorkflowPage), 422: _PROBLEMS[422], 503: _PROBLEMS[503]},
                (
                    Parameter("status", "query", "Only these.", {"enum": [status.value for status in Status]}),
                    Parameter("cursor", "query", "The one of the last answer.", {"type": "string", "maxLength": 200}),
                    Parameter("limit", "query", "How many.", {"type": "integer", "minimum": 1, "maximum": 100}),
                ),
            ),
            Endpoint(
                "GET", "/v1/workflows/{id}", self.get_workflow, "Read a workflow", tag,
                {200: shown, 404: missing, 503: _PROBLEMS[503]}, (_ID, prefer),
            ),
            Endpoint(
                "GET", "/v1/workflows/{id}/events", self.follow_workflow, "Follow a workflow", tag,
                {
                    200: Reply("Server-sent events.", content_type="text/event-stream"),
                    404: missing, 422: _PROBLEMS[422], 503: _PROBLEMS[503],
                },
                (_ID, Parameter("Last-Event-ID", "header", "Go on after this event.", {"type": "integer"})),
            ),
            Endpoint(
                "POST", "/v1/workflows/{id}/cancel", self.cancel_workflow, "Cancel a workflow", tag,
                {200: shown, 202: accepted, 404: missing, 503: _PROBLEMS[503]}, (_ID,),
            ),
            Endpoint(
                "POST", "/v1/workflows/{id}/retry", self.retry_workflow, "Retry a workflow", tag,
                {202: accepted, 404: missing, 409: _PROBLEMS[409], 429: _PROBLEMS[429], 503: _PROBLEMS[503]}, (_ID,),
            ),
        ]  # fmt: skip


def _id(request: web.Request) -> str:
    """The id in the path, in its one spelling; what is no id is simply not found."""
    try:
        return str(uuid.UUID(request.match_info["id"]))
    except ValueError:
        return ""


def _wait_seconds(request: web.Request) -> int | None:
    found = _WAIT.search(request.headers.get("Prefer", ""))
    return None if found is None else min(int(found[1]), LONGEST_WAIT_SECONDS)


def _idempotency(request: web.Request, body: bytes) -> Idempotency | None:
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    key = key.strip().removeprefix('"').removesuffix('"')
    if _KEY.fullmatch(key) is None:
        raise InvalidWorkflowError("Idempotency-Key", "must be 1 to 255 visible ASCII characters")
    return Idempotency(key, hashlib.sha256(body).digest())


def _last_event_id(request: web.Request) -> int:
    text = request.headers.get("Last-Event-ID", "0").strip() or "0"
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise InvalidWorkflowError("Last-Event-ID", "is not the id of an event; send the last one that was received")
    return int(text)


def _one_of_statuses(text: str | None) -> Status | None:
    if text is None:
        return None
    try:
        return Status(text)
    except ValueError:
        known = ", ".join(status.value for status in Status)
        raise InvalidWorkflowError("status", f"is none of {known}") from None


def _limit(text: str | None) -> int:
    if text is None:
        return 20
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= 100):
        raise InvalidWorkflowError("limit", "must be a number from 1 to 100")
    return int(text)


def _location(record: Record) -> str:
    return f"/v1/workflows/{record.workflow.id}"


def _shown(record: Record, headers: Mapping[str, str] | None = None) -> web.Response:
    body = wire.encode(wire.workflow_view(record))
    return web.Response(body=body, content_type="application/json", headers={**_NO_STORE, **(headers or {})})


def _accepted(record: Record, headers: Mapping[str, str] | None = None) -> web.Response:
    response = _shown(record, {"Location": _location(record), **(headers or {})})
    response.set_status(202)
    return response


def _result(record: Record, headers: Mapping[str, str]) -> web.Response:
    """The result, or the failure as the problem that a caller who waits in place expects."""
    where = {"Content-Location": _location(record), **headers}
    if record.status is Status.SUCCEEDED:
        return _shown(record, where)
    failure = record.failure or Failure("failed", "The workflow failed.")
    status = _FAILED.get(failure.kind, HTTPStatus.BAD_GATEWAY)
    return problem(status, failure.kind, failure.detail, headers={**_NO_STORE, **where})


def _missing(workflow_id: str) -> web.Response:
    what = f"There is no workflow {workflow_id}" if workflow_id else "The path has no valid workflow id (a UUID)"
    return problem(404, "not-found", f"{what}; results are kept for a limited time.")

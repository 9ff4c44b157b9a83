"""Every error as an RFC 9457 problem: one shape for the client, whatever went wrong and wherever.

This module is the only place that maps an error to a status. An error that nobody foresaw is logged and answered
with 500 without its text, which may hold a client's data.
"""

import logging
import math
from collections.abc import Mapping
from http import HTTPStatus

import orjson
from aiohttp import web
from pydantic import ValidationError

from generation_service.domain import errors
from generation_service.engine.pools import PoolFullError
from generation_service.ports import GeneratorError, IdempotencyMismatchError, NotRetryableError, StoreUnavailableError
from generation_service.steps.typed import field_of, sentence

logger = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"
_OF_PORTS = (
    StoreUnavailableError,
    PoolFullError,
    GeneratorError,
    IdempotencyMismatchError,
    NotRetryableError,
    ConnectionResetError,
)
LISTED_ERRORS = 20  # a body with thousands of bad fields gets an answer that a person can read

_STATUS: Mapping[type[errors.WorkflowError], tuple[HTTPStatus, str]] = {
    errors.InvalidWorkflowError: (HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-workflow"),
    errors.QueueFullError: (HTTPStatus.TOO_MANY_REQUESTS, "queue-full"),
    errors.DrainingError: (HTTPStatus.SERVICE_UNAVAILABLE, "draining"),
    errors.DeadlineExceededError: (HTTPStatus.GATEWAY_TIMEOUT, "deadline-exceeded"),
    errors.StepFailedError: (HTTPStatus.BAD_GATEWAY, "step-failed"),
    errors.CancelRequestedError: (HTTPStatus.CONFLICT, "cancelled"),
}


def problem(
    status: int,
    kind: str,
    detail: str,
    *,
    fields: list[dict[str, str]] | None = None,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """Build the answer.

    Args:
        status: HTTP status.
        kind: stable last word of `type`, for programs.
        detail: what is wrong and what to do, for people.
        fields: `{"field", "message"}` for each part of the request that is at fault.
        headers: more headers, such as `Retry-After`.
    """
    body: dict[str, object] = {
        "type": f"urn:generation-service:problem:{kind}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if fields:
        body["errors"] = fields
    return web.Response(status=status, body=orjson.dumps(body), content_type=CONTENT_TYPE, headers=headers)


def answer_to(request: web.Request, error: Exception) -> web.Response:
    """The answer to a request that ended with an error of the domain, of validation, of aiohttp or of nobody's plan."""
    match error:
        case errors.WorkflowError():
            return from_domain(error)
        case ValidationError():
            return _from_validation(error)
        case web.HTTPException():
            return _from_http(request, error)
    if isinstance(error, _OF_PORTS):
        return _from_port(error)
    logger.error("unexpected error while answering %s %s", request.method, request.path, exc_info=error)
    return problem(500, "internal", "The service failed unexpectedly; its log says why.")


def from_domain(error: errors.WorkflowError) -> web.Response:
    """The answer to a request for work that was refused or failed."""
    status, kind = _STATUS[type(error)]
    fields: list[dict[str, str]] | None = None
    headers: dict[str, str] = {}
    if isinstance(error, errors.InvalidWorkflowError):
        fields = [{"field": error.field, "message": error.message}]
    elif isinstance(error, errors.QueueFullError | errors.DrainingError):
        headers["Retry-After"] = str(error.retry_after_seconds)
    return problem(status, kind, str(error), fields=fields, headers=headers)


def _from_validation(error: ValidationError) -> web.Response:
    details = error.errors(include_url=False, include_context=False, include_input=False)
    if details[0]["type"] == "json_invalid":
        return problem(
            400, "invalid-json", f"The body is not valid JSON: {details[0]['msg'].removeprefix('Invalid JSON: ')}."
        )
    fields = [
        {"field": field_of("", detail["loc"]) or "(body)", "message": sentence(detail["type"], detail["msg"])}
        for detail in details[:LISTED_ERRORS]
    ]
    listed = "; ".join(f"{entry['field']}: {entry['message']}" for entry in fields)
    more = len(details) - len(fields)
    return problem(422, "invalid-request", f"{listed}; and {more} more" if more else listed, fields=fields)


def _from_port(error: Exception) -> web.Response:
    """What a part behind a port could not do, in HTTP's terms."""
    match error:
        case StoreUnavailableError():
            return problem(503, "store-unavailable", f"{error}", headers={"Retry-After": "2"})
        case PoolFullError():
            return problem(429, "pool-full", f"{error}", headers={"Retry-After": "1"})
        case IdempotencyMismatchError():
            return problem(
                422,
                "idempotency-key-reused",
                "The Idempotency-Key was used for another payload; send a new key with a new request.",
                fields=[{"field": "Idempotency-Key", "message": "was used for another payload"}],
            )
        case ConnectionResetError():  # the client has gone; whatever is returned reaches nobody
            return web.Response(status=499)
        case NotRetryableError():
            return problem(
                409,
                "not-retryable",
                f"The workflow is {error.status.value}; only one that failed or was cancelled can be tried again.",
            )
    return _from_generator(error) if isinstance(error, GeneratorError) else problem(500, "internal", "")


def _from_generator(error: GeneratorError) -> web.Response:
    wait = {} if error.retry_after_seconds is None else {"Retry-After": str(math.ceil(error.retry_after_seconds))}
    if error.status == 429:
        return problem(429, "generator-busy", f"{error}", headers=wait or {"Retry-After": "1"})
    if error.body is not None and error.status is not None and 400 <= error.status < 500:
        # The generator's own words about a bad request, in the format that its clients know.
        return web.Response(status=error.status, body=error.body, content_type="application/json")
    if error.retry_after_seconds is not None:
        return problem(503, "generator-unavailable", f"{error}", headers=wait)
    return problem(502, "generator-failed", f"{error}")


def _from_http(request: web.Request, error: web.HTTPException) -> web.Response:
    # Allow (405) must survive; the others describe the plain text body that is replaced here.
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
    details = {
        404: f"There is nothing at {request.path[:200]!r}; workflows are sent to POST /v1/workflows.",
        405: f"{request.method} is not possible here; use {headers.get('Allow', 'another method')}.",
        413: f"The body is too large; at most {request.client_max_size} bytes are taken.",
    }
    kind = error.reason.lower().replace(" ", "-")
    return problem(error.status, kind, details.get(error.status, error.reason), headers=headers)

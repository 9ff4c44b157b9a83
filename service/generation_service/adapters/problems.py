"""Every error as an RFC 9457 problem: one shape for the client, whatever went wrong and wherever.

The middleware is the only place that maps an error to a status. An error that nobody foresaw is logged and answered
with 500 without its text, which may hold a client's data.
"""

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

from aiohttp import web
from pydantic import ValidationError

from generation_service.domain import errors

logger = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"
LISTED_ERRORS = 20  # a body with thousands of bad fields gets an answer that a person can read

_STATUS: Mapping[type[errors.WorkflowError], tuple[HTTPStatus, str]] = {
    errors.InvalidWorkflowError: (HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-workflow"),
    errors.QueueFullError: (HTTPStatus.TOO_MANY_REQUESTS, "queue-full"),
    errors.DrainingError: (HTTPStatus.SERVICE_UNAVAILABLE, "draining"),
    errors.DeadlineExceededError: (HTTPStatus.GATEWAY_TIMEOUT, "deadline-exceeded"),
    errors.StepFailedError: (HTTPStatus.BAD_GATEWAY, "step-failed"),
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
    return web.Response(status=status, body=json.dumps(body).encode(), content_type=CONTENT_TYPE, headers=headers)


@web.middleware
async def problem_middleware(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answer errors of the domain, of validation and of aiohttp itself as problems."""
    try:
        return await handler(request)
    except errors.WorkflowError as error:
        return _from_domain(error)
    except ValidationError as error:
        return _from_validation(error)
    except web.HTTPException as error:
        return _from_http(request, error)
    except Exception:  # a fault of ours, whatever it is
        logger.exception("unexpected error while answering %s %s", request.method, request.path)
        return problem(500, "internal", "The service failed unexpectedly; its log says why.")


def _from_domain(error: errors.WorkflowError) -> web.Response:
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
        {"field": _path(detail["loc"]), "message": _sentence(detail["type"], detail["msg"])}
        for detail in details[:LISTED_ERRORS]
    ]
    listed = "; ".join(f"{entry['field']}: {entry['message']}" for entry in fields)
    more = len(details) - len(fields)
    return problem(422, "invalid-workflow", f"{listed}; and {more} more" if more else listed, fields=fields)


def _path(location: tuple[int | str, ...]) -> str:
    """`("steps", 0, "inputs")` as `steps[0].inputs`; the body itself is `(body)`."""
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return path.removeprefix(".") or "(body)"


def _sentence(kind: str, message: str) -> str:
    """Pydantic's sentence, or a better one where it does not say what to do."""
    if kind == "extra_forbidden":
        return "is not a known field; remove it or correct its name"
    return message[:1].lower() + message[1:]


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

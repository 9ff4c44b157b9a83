"""The API's description (OpenAPI 3.1), generated from the endpoints and the models they name."""

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from generation_service.adapters.http.endpoints import Endpoint, Reply
from generation_service.adapters.http.problems import CONTENT_TYPE as PROBLEM
from generation_service.adapters.http.wire import Problem
from generation_service.ports import StepType

_REF: Final = "#/components/schemas/{model}"


def describe(
    endpoints: Sequence[Endpoint], step_types: Mapping[str, StepType], name: str, version: str
) -> dict[str, Any]:
    """Build the document.

    Args:
        endpoints: everything that is served.
        step_types: whose inputs are described as schemas `StepInputs.TYPE`.
        name: of the service.
        version: of the software.
    """
    models = sorted(_models(endpoints), key=lambda model: model.__name__)
    _, schemas = models_json_schema([(model, "validation") for model in models], ref_template=_REF)
    components = dict(schemas.get("$defs", {}))
    for type_name, step_type in sorted(step_types.items()):
        schema = dict(step_type.schema)
        inner = schema.pop("$defs", {})
        components.update(inner if isinstance(inner, Mapping) else {})
        components[f"StepInputs.{type_name}"] = schema
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": name,
            "version": version,
            "description": "Runs AI generation workflows: submit, poll, stream, cancel. Errors are RFC 9457 problems.",
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": components},
    }


def _models(endpoints: Iterable[Endpoint]) -> set[type[BaseModel]]:
    found: set[type[BaseModel]] = {Problem}
    for endpoint in endpoints:
        found.update(reply.model for reply in endpoint.replies.values() if reply.model is not None)
        if endpoint.body is not None:
            found.add(endpoint.body)
    return found


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": endpoint.handler.__name__,
        "summary": endpoint.summary,
        "tags": [endpoint.tag],
        "responses": {str(status): _reply(status, reply) for status, reply in sorted(endpoint.replies.items())},
    }
    if endpoint.parameters:
        operation["parameters"] = [
            {
                "name": parameter.name,
                "in": parameter.place,
                "description": parameter.about,
                "required": parameter.required or parameter.place == "path",
                "schema": parameter.schema,
            }
            for parameter in endpoint.parameters
        ]
    if endpoint.body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": _REF.format(model=endpoint.body.__name__)}}},
        }
    return operation


def _reply(status: int, reply: Reply) -> dict[str, Any]:
    described: dict[str, Any] = {"description": reply.about or HTTPStatus(status).phrase}
    if reply.model is not None:
        content_type = PROBLEM if reply.model is Problem else reply.content_type
        described["content"] = {content_type: {"schema": {"$ref": _REF.format(model=reply.model.__name__)}}}
    elif reply.content_type != "application/json":
        described["content"] = {reply.content_type: {"schema": {"type": "string"}}}
    else:
        described["content"] = {reply.content_type: {"schema": {}}}
    described["content"] |= {content_type: {"schema": {}} for content_type in reply.also}
    if reply.headers:
        described["headers"] = {
            name: {"description": about, "schema": {"type": "string"}} for name, about in reply.headers.items()
        }
    return described

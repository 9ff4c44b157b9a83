"""The environment of the service's container: what the operator tells it, what it depends on, what the user says."""

from typing import Any

from generation_operator.api.dependencies import Dependencies, Endpoint
from generation_operator.api.model import as_said
from generation_operator.api.pod import SecretKeyRef
from generation_operator.api.spec import GenerationServiceSpec


def env(name: str, spec: GenerationServiceSpec) -> list[dict[str, Any]]:
    """All variables; the user's come last and win, and may refer to ours as $(NAME)."""
    targets = spec.targets
    provided: list[dict[str, Any]] = [
        {"name": "GENERATION_SERVICE_NAME", "value": name},
        {"name": "GENERATION_SERVICE_PORT", "value": str(spec.port)},
        {"name": "GENERATION_SERVICE_CONCURRENT_WORKFLOWS", "value": str(targets.concurrent_workflows)},
        # One call of the generator each must not make them wait for one another.
        {"name": "GENERATION_SERVICE_AI_API_CONCURRENCY", "value": str(targets.concurrent_workflows)},
        {"name": "GENERATION_SERVICE_WORKFLOW_DEADLINE_SECONDS", "value": str(targets.workflow_duration_seconds)},
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        *_of_dependencies(spec.dependencies),
    ]
    chosen = {variable.name for variable in spec.env}
    return [entry for entry in provided if entry["name"] not in chosen] + [as_said(variable) for variable in spec.env]


def _of_dependencies(dependencies: Dependencies) -> list[dict[str, Any]]:
    generator = dependencies.generator
    entries = [
        _endpoint("GENERATION_SERVICE_DATABASE_URL", dependencies.database),
        _endpoint("GENERATION_SERVICE_REDIS_URL", dependencies.redis),
        _endpoint("GENERATION_SERVICE_GENERATOR_URL", generator),
    ]
    if generator is not None and generator.api_key is not None:
        entries.append(_secret("GENERATION_SERVICE_GENERATOR_API_KEY", generator.api_key))
    if generator is not None and generator.model is not None:
        entries.append(_literal("GENERATION_SERVICE_GENERATOR_MODEL", generator.model))
    return [entry for entry in entries if entry is not None]


def _endpoint(variable: str, endpoint: Endpoint | None) -> dict[str, Any] | None:
    if endpoint is None:
        return None
    if endpoint.secret_key_ref is not None:
        return _secret(variable, endpoint.secret_key_ref)
    return _literal(variable, endpoint.url or "")


def _secret(variable: str, reference: SecretKeyRef) -> dict[str, Any]:
    return {"name": variable, "valueFrom": {"secretKeyRef": as_said(reference)}}


def _literal(variable: str, text: str) -> dict[str, Any]:
    # `$$` is a plain `$` to the kubelet, which else would put variables into a password.
    return {"name": variable, "value": text.replace("$", "$$")}

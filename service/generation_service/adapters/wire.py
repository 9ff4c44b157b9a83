"""The JSON of the API: what a client may send and what it gets, with every list and string bounded.

Only this module knows field names on the wire. It turns bytes into domain values in one pass and back.
"""

import json
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from generation_service.domain.workflow import Prompt, Step, Workflow, WorkflowResult

BODY_LIMIT_BYTES: Final = 256 * 1024
LONGEST_DEADLINE_SECONDS: Final = 86_400


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class GenerateInputs(_Model):
    """What a step of type `generate` takes."""

    prompt: str = Field(min_length=1, max_length=100_000)
    max_tokens: int = Field(default=256, ge=1, le=4096)


class GenerateStep(_Model):
    """One step; more types will join `generate`."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]
    type: Literal["generate"]
    inputs: GenerateInputs


class Submission(_Model):
    """The body of `POST /v1/workflows`."""

    steps: list[GenerateStep] = Field(min_length=1, max_length=16)
    deadline_seconds: int | None = Field(default=None, ge=1, le=LONGEST_DEADLINE_SECONDS)

    def workflow(self, workflow_id: str, deadline_seconds: int) -> Workflow:
        """The request as a domain value.

        Args:
            workflow_id: a fresh id.
            deadline_seconds: the service's own deadline; the client can ask for an earlier one, never for a later.
        """
        return Workflow(
            id=workflow_id,
            steps=tuple(Step(step.id, Prompt(step.inputs.prompt, step.inputs.max_tokens)) for step in self.steps),
            deadline_seconds=min(self.deadline_seconds or deadline_seconds, deadline_seconds),
        )


def encode_result(result: WorkflowResult) -> bytes:
    """The body of a 200 answer."""
    return json.dumps(
        {
            "id": result.id,
            "status": "succeeded",
            "steps": [
                {"id": step.id, "output": {"text": step.output.text, "tokens": step.output.tokens}}
                for step in result.steps
            ],
            "queued_seconds": round(result.queued_seconds, 6),
            "duration_seconds": round(result.duration_seconds, 6),
        }
    ).encode()

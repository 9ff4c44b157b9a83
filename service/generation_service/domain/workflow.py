"""A workflow: steps that run in order, and what came out of them.

A `Workflow` that exists is valid beyond its form: whoever holds one never checks it again.
"""

from dataclasses import dataclass
from enum import Enum

from generation_service.domain.errors import InvalidWorkflowError


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a generator is asked for."""

    text: str
    max_tokens: int


@dataclass(frozen=True, slots=True)
class Generation:
    """What a generator answered."""

    text: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Step:
    """One call of the generator; `id` is the caller's name for it."""

    id: str
    prompt: Prompt


@dataclass(frozen=True, slots=True)
class Workflow:
    """A request for work. Raises `InvalidWorkflowError` when two steps share an id."""

    id: str
    steps: tuple[Step, ...]
    deadline_seconds: float  # from admission to the end, so the time in the queue counts

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for index, step in enumerate(self.steps):
            if step.id in seen:
                raise InvalidWorkflowError(
                    f"steps[{index}].id", f"{step.id!r} is the id of an earlier step; give each step its own."
                )
            seen.add(step.id)


@dataclass(frozen=True, slots=True)
class StepResult:
    """The output of one step."""

    id: str
    output: Generation


@dataclass(frozen=True, slots=True)
class WorkflowResult:
    """A workflow that succeeded: every step has its output."""

    id: str
    steps: tuple[StepResult, ...]
    queued_seconds: float
    duration_seconds: float  # admission to the end, the time in the queue included


class Outcome(Enum):
    """How a request ended, as the success ratio counts it."""

    SUCCESS = "success"
    ERROR = "error"

"""What a workflow is: a small graph of steps, the states it goes through, and what is known about it.

Values only. A `Workflow` that exists is valid beyond its form: ids are unique, every dependency exists, and there is no
cycle; whoever holds one never checks it again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, TypeAlias

from generation_service.domain.errors import InvalidWorkflowError

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
JsonObject: TypeAlias = Mapping[str, "Json"]


class Status(Enum):
    """Where a workflow or a step is; the last three never change again (until a retry is asked for)."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """Whether nothing more happens by itself."""
        return self not in {Status.QUEUED, Status.RUNNING}


@dataclass(frozen=True, slots=True)
class Step:
    """One piece of work; `id` is the caller's name for it."""

    id: str
    type: str  # the name of a step type, see `ports.StepType`
    inputs: JsonObject
    depends_on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Workflow:
    """A request for work. Raises `InvalidWorkflowError` that names the field at fault."""

    id: str
    steps: tuple[Step, ...]
    deadline_seconds: float  # from admission to the end, so the time in the queue counts

    def __post_init__(self) -> None:
        positions = _positions(self.steps)
        for index, step in enumerate(self.steps):
            for position, needed in enumerate(step.depends_on):
                if needed not in positions:
                    raise InvalidWorkflowError(
                        f"steps[{index}].depends_on[{position}]",
                        f"{needed!r} is not the id of a step of this workflow; name one or leave it out.",
                    )
        _refuse_cycles(self.steps, positions)

    def ancestors(self, step_id: str) -> frozenset[str]:
        """Ids of all steps whose output exists for certain when this step starts."""
        by_id = {step.id: step for step in self.steps}
        found: set[str] = set()
        waiting = list(by_id[step_id].depends_on)
        while waiting:
            needed = waiting.pop()
            if needed not in found:
                found.add(needed)
                waiting.extend(by_id[needed].depends_on)
        return frozenset(found)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a workflow did not succeed; `kind` is for programs, `detail` for people."""

    kind: str  # the last word of a problem type: deadline-exceeded, step-failed, worker-lost …
    detail: str
    step: str | None = None


MAX_ATTEMPTS: Final = 5  # a workflow that took that many replicas with it is not given to another one
WORKER_LOST: Final = Failure(
    "worker-lost", f"This workflow was begun {MAX_ATTEMPTS} times and never ended; it is not tried again."
)


@dataclass(frozen=True, slots=True)
class StepRecord:
    """What is known about one step."""

    id: str
    status: Status = Status.QUEUED
    attempt: int = 0  # runs begun, over all attempts of the workflow
    output: Json = None  # only when it succeeded
    error: str | None = None  # of the last run that failed


@dataclass(frozen=True, slots=True)
class Record:
    """What is known about one workflow. Times are seconds since the epoch on the store's clock."""

    workflow: Workflow
    status: Status
    attempt: int  # how many times a replica took it
    created_at: float
    started_at: float | None = None  # of the last attempt
    finished_at: float | None = None
    steps: tuple[StepRecord, ...] = ()  # in the order of the workflow
    failure: Failure | None = None
    cancel_requested: bool = False


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a workflow. Numbers rise by one from 1 within a workflow and never change.

    `kind` is `workflow.STATUS`, `step.STATUS` or `workflow.cancelling`.
    """

    number: int
    kind: str
    at: float  # seconds since the epoch on the store's clock
    data: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StepChange:
    """A step reached another state."""

    step_id: str
    status: Status
    attempt: int
    output: Json = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Ending:
    """How a workflow ends: a terminal status, and the failure unless it succeeded."""

    status: Status
    failure: Failure | None = None


class Outcome(Enum):
    """How a request ended, as the success ratio counts it."""

    SUCCESS = "success"
    ERROR = "error"


def _positions(steps: tuple[Step, ...]) -> dict[str, int]:
    positions: dict[str, int] = {}
    for index, step in enumerate(steps):
        if step.id in positions:
            raise InvalidWorkflowError(
                f"steps[{index}].id", f"{step.id!r} is the id of an earlier step; give each step its own."
            )
        positions[step.id] = index
    return positions


def _refuse_cycles(steps: tuple[Step, ...], positions: Mapping[str, int]) -> None:
    """Take away steps without open dependencies until none is left; what stays is a cycle or hangs on one."""
    needs = {step.id: set(step.depends_on) for step in steps}
    while free := [step_id for step_id, needed in needs.items() if not needed]:
        for step_id in free:
            del needs[step_id]
        for needed in needs.values():
            needed.difference_update(free)
    if needs:
        first = min(needs, key=positions.__getitem__)
        raise InvalidWorkflowError(
            f"steps[{positions[first]}].depends_on",
            f"the steps {', '.join(sorted(needs))} wait for each other; remove one of the dependencies.",
        )

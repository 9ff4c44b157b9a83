"""All step types of this process: the built-in ones and those of other packages.

Another package adds one through the entry point group `generation_service.steps`: the name is the type, the object is a
class without arguments (or an instance) that satisfies `ports.StepType`; `steps.typed.TypedStep` is the easy way.
"""

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Final

from generation_service.domain.errors import InvalidWorkflowError
from generation_service.domain.workflow import Workflow
from generation_service.engine.completions import Completions
from generation_service.ports import Scope, StepType
from generation_service.steps.fan_out import MapStep
from generation_service.steps.generate import GenerateStep
from generation_service.steps.merge import MergeStep
from generation_service.steps.prompt import PromptStep
from generation_service.steps.python import PythonStep
from generation_service.steps.workers import Workers

GROUP: Final = "generation_service.steps"


class StepTypeError(Exception):
    """A registered step type cannot be used; the message names its package and says why."""


def step_types(completions: Completions, workers: Workers, model: str) -> Mapping[str, StepType]:
    """Every step type by name. Raises `StepTypeError`."""
    found: dict[str, StepType] = {}
    built_in: list[StepType] = [PromptStep(), GenerateStep(completions, model), MergeStep(), PythonStep(workers)]
    for step_type in [*built_in, MapStep(found), *_registered()]:
        if step_type.name in found:
            raise StepTypeError(f"two step types are called {step_type.name!r}; rename one or uninstall its package")
        found[step_type.name] = step_type
    return found


def check(workflow: Workflow, known: Mapping[str, StepType]) -> None:
    """Refuse a workflow with a step that cannot work. Raises `InvalidWorkflowError`."""
    for index, step in enumerate(workflow.steps):
        step_type = known.get(step.type)
        if step_type is None:
            raise InvalidWorkflowError(f"steps[{index}].type", f"{step.type!r} is none of {', '.join(sorted(known))}")
        try:
            step_type.check(step.inputs, Scope(workflow.ancestors(step.id)))
        except InvalidWorkflowError as error:
            raise InvalidWorkflowError(f"steps[{index}].{error.field}", error.message) from None


def _registered() -> list[StepType]:
    loaded = []
    for point in entry_points(group=GROUP):
        try:
            thing = point.load()
            step_type = thing() if isinstance(thing, type) else thing
        except Exception as error:
            where = point.dist.name if point.dist is not None else "an unknown package"
            raise StepTypeError(f"the step type {point.name!r} of {where} cannot be loaded: {error}") from error
        if step_type.name != point.name:
            raise StepTypeError(f"the step type registered as {point.name!r} calls itself {step_type.name!r}")
        loaded.append(step_type)
    return loaded

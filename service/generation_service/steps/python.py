"""The step type `python`: a registered function for work that needs a processor, in a process of its own.

Functions come from the entry point group `generation_service.functions` and take and return JSON. A thread would share
the interpreter's lock with the event loop and stop every other request for as long as the function computes.
"""

from typing import Any, ClassVar

from pydantic import Field

from generation_service.domain.errors import InvalidWorkflowError
from generation_service.domain.workflow import Json
from generation_service.ports import Scope, StepContext
from generation_service.steps.typed import Inputs, TypedStep
from generation_service.steps.workers import Workers, function_names


class PythonInputs(Inputs):
    """What a step of type `python` takes."""

    function: str = Field(min_length=1, max_length=200)
    """The name it is registered under."""
    arguments: dict[str, Any] = Field(default_factory=dict, max_length=64)
    """Keyword arguments."""
    steps: dict[str, str] = Field(default_factory=dict, max_length=64)
    """More keyword arguments: name of the argument, id of the step whose output it gets."""


class PythonStep(TypedStep[PythonInputs]):
    """Output: what the function returns."""

    name: ClassVar[str] = "python"
    inputs_type = PythonInputs

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._names = frozenset(function_names())

    def check_more(self, inputs: PythonInputs, scope: Scope) -> None:
        """Check the function's name and the steps."""
        if inputs.function not in self._names:
            known = ", ".join(sorted(self._names)) or "none is registered"
            raise InvalidWorkflowError("inputs.function", f"{inputs.function!r} is not registered; known: {known}")
        for name, step_id in inputs.steps.items():
            if step_id not in scope.steps:
                raise InvalidWorkflowError(
                    f"inputs.steps.{name}", f"the step {step_id!r} is not done before this one; add it to depends_on"
                )

    async def work(self, inputs: PythonInputs, context: StepContext) -> Json:
        """Call the function in a worker process."""
        arguments = inputs.arguments | {name: context.outputs[step_id] for name, step_id in inputs.steps.items()}
        if context.variables:
            arguments = {"item": context.variables.get("item"), **arguments}
        async with context.slot("cpu_intensive"):
            return await self._workers.call(inputs.function, arguments)

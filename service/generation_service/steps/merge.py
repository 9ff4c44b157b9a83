"""The step type `merge`: bring the outputs of several steps together."""

from typing import ClassVar

from pydantic import Field

from generation_service.domain.errors import InvalidWorkflowError
from generation_service.domain.workflow import Json
from generation_service.ports import Scope, StepContext, StepError
from generation_service.steps.typed import Inputs, TypedStep


class MergeInputs(Inputs):
    """What a step of type `merge` takes."""

    steps: list[str] = Field(min_length=1, max_length=64)
    """Ids of the steps to merge, in this order; they must be done before."""
    separator: str = Field(default="\n\n", max_length=1000)
    """Between the texts."""


class MergeStep(TypedStep[MergeInputs]):
    """Output: `{"text": …, "items": […]}`: the texts joined, and the whole outputs."""

    name: ClassVar[str] = "merge"
    durable: ClassVar[bool] = False  # from what is kept already, in microseconds
    inputs_type = MergeInputs

    def check_more(self, inputs: MergeInputs, scope: Scope) -> None:
        """Check that the steps exist by then."""
        for index, step_id in enumerate(inputs.steps):
            if step_id not in scope.steps:
                raise InvalidWorkflowError(
                    f"inputs.steps[{index}]", f"{step_id!r} is not done before this step; add it to depends_on"
                )

    async def work(self, inputs: MergeInputs, context: StepContext) -> Json:
        """Join."""
        outputs = [context.outputs[step_id] for step_id in inputs.steps]
        return {"text": inputs.separator.join(text for output in outputs for text in _texts(output)), "items": outputs}


def _texts(output: Json) -> list[str]:
    """The texts of one output: its own, or those of its items if it is a fan-out's."""
    if isinstance(output, dict):
        if isinstance(text := output.get("text"), str):
            return [text]
        if isinstance(items := output.get("items"), list):
            return [text for item in items for text in _texts(item)]
    raise StepError("only outputs with a text can be merged; use a template to write one from other outputs")

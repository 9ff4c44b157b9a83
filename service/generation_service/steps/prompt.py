"""The step type `prompt`: fill a template with outputs of earlier steps."""

from typing import ClassVar

from pydantic import Field

from generation_service.domain.workflow import Json
from generation_service.ports import Scope, StepContext
from generation_service.steps import templates
from generation_service.steps.typed import Inputs, TypedStep, check_template


class PromptInputs(Inputs):
    """What a step of type `prompt` takes."""

    template: str = Field(min_length=1, max_length=templates.LONGEST_TEMPLATE)
    """Text with gaps such as `{{ steps.a.output.text }}`."""


class PromptStep(TypedStep[PromptInputs]):
    """Output: `{"text": …}`."""

    name: ClassVar[str] = "prompt"
    durable: ClassVar[bool] = False  # from what is kept already, in microseconds
    inputs_type = PromptInputs

    def check_more(self, inputs: PromptInputs, scope: Scope) -> None:
        """Check the template."""
        check_template("inputs.template", inputs.template, scope)

    async def work(self, inputs: PromptInputs, context: StepContext) -> Json:
        """Fill it."""
        return {"text": templates.render(inputs.template, context.outputs, context.variables)}

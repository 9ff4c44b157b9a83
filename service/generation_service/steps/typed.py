"""A step type from a pydantic model of its inputs: what most step types, ours and users', are made of."""

import logging
from abc import ABC, abstractmethod
from typing import ClassVar, Generic, TypeVar, cast

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from generation_service.domain.errors import InvalidWorkflowError
from generation_service.domain.workflow import Json, JsonObject
from generation_service.ports import Scope, StepContext, StepError
from generation_service.steps import templates

logger = logging.getLogger(__name__)

# A step's output is kept in a row and read again by every later attempt.
LARGEST_OUTPUT_BYTES = 1024 * 1024


class Inputs(BaseModel):
    """Base of all inputs: unknown fields are errors, nothing is converted."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


InputsType = TypeVar("InputsType", bound=Inputs)


class TypedStep(ABC, Generic[InputsType]):
    """`ports.StepType` over a model; subclasses set `name`, `inputs_type` and write `work`."""

    name: ClassVar[str]
    attempts: ClassVar[int] = 1
    durable: ClassVar[bool] = True
    inputs_type: type[InputsType]

    @property
    def schema(self) -> JsonObject:
        """JSON schema of the inputs."""
        return cast("JsonObject", self.inputs_type.model_json_schema(ref_template="#/components/schemas/{model}"))

    def check(self, inputs: JsonObject, scope: Scope) -> None:
        """Refuse inputs that cannot work. Raises `InvalidWorkflowError` with a field below the step."""
        self.check_more(self._parsed(inputs), scope)

    async def run(self, inputs: JsonObject, context: StepContext) -> Json:
        """Do the work. Raises `StepError`, also for a fault in the step's own code, which is logged."""
        try:
            output = await self.work(self._parsed(inputs), context)
            size = len(orjson.dumps(output))
        except StepError:
            raise
        except Exception as error:
            logger.exception("a step of type %s failed unexpectedly", self.name)
            raise StepError(
                f"{type(error).__name__} in the step type {self.name}; the service's log says more"
            ) from None
        if size > LARGEST_OUTPUT_BYTES:
            raise StepError(f"the output has {size} bytes; at most {LARGEST_OUTPUT_BYTES} are kept")
        return output

    def check_more(self, inputs: InputsType, scope: Scope) -> None:
        """Check what the model cannot. Raises `InvalidWorkflowError`."""

    @abstractmethod
    async def work(self, inputs: InputsType, context: StepContext) -> Json:
        """Do the work and return the output, which must be JSON. Raises `StepError`."""

    def _parsed(self, inputs: JsonObject) -> InputsType:
        try:
            return self.inputs_type.model_validate(inputs)
        except ValidationError as error:
            detail = error.errors(include_url=False, include_context=False, include_input=False)[0]
            raise InvalidWorkflowError(
                field_of("inputs", detail["loc"]), sentence(detail["type"], detail["msg"])
            ) from None


def field_of(start: str, location: tuple[int | str, ...]) -> str:
    """`("steps", 0, "id")` as `steps[0].id`."""
    path = start + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return path.removeprefix(".")


def sentence(kind: str, message: str) -> str:
    """Pydantic's sentence, or a better one where it does not say what to do."""
    if kind == "extra_forbidden":
        return "is not a known field; remove it or correct its name"
    message = message.removeprefix("Value error, ")
    return message[:1].lower() + message[1:]


def check_template(field: str, template: str | None, scope: Scope) -> None:
    """Check an optional template of the field. Raises `InvalidWorkflowError`."""
    if template is None:
        return
    try:
        templates.check(template, scope)
    except templates.TemplateRefusedError as error:
        raise InvalidWorkflowError(field, str(error)) from None

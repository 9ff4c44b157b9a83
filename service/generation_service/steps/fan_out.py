"""The step type `map`: do one kind of step for each item of a list, several at once."""

import asyncio
from collections.abc import Mapping
from typing import Any, ClassVar, Final, Self

from pydantic import Field, model_validator

from generation_service.domain.errors import InvalidWorkflowError
from generation_service.domain.workflow import Json
from generation_service.ports import Scope, StepContext, StepError, StepType
from generation_service.steps.typed import Inputs, TypedStep

MOST_ITEMS: Final = 256


class InnerStep(Inputs):
    """The step that is done for each item."""

    type: str = Field(min_length=1, max_length=63)
    inputs: dict[str, Any] = Field(default_factory=dict, max_length=64)


class MapInputs(Inputs):
    """What a step of type `map` takes: exactly one of `items` and `items_from`."""

    items: list[Any] | None = Field(default=None, min_length=1, max_length=MOST_ITEMS)
    """The list itself."""
    items_from: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}(\.[A-Za-z0-9_-]{1,63}){0,8}$"
    )
    """Where the list is: the id of a step, then keys of its output, such as `lines.items`."""
    step: InnerStep
    """Done once for each item; its templates know `item` and `index`."""
    concurrency: int = Field(default=4, ge=1, le=32)
    """Items at the same time; pools bound them further."""

    @model_validator(mode="after")
    def _one_list(self) -> Self:
        if (self.items is None) == (self.items_from is None):
            raise ValueError("give exactly one of items and items_from")
        return self


class MapStep(TypedStep[MapInputs]):
    """Output: `{"items": […]}`, the outputs in the order of the list."""

    name: ClassVar[str] = "map"
    inputs_type = MapInputs

    def __init__(self, step_types: Mapping[str, StepType]) -> None:
        self._step_types = step_types

    def check_more(self, inputs: MapInputs, scope: Scope) -> None:
        """Check the source of the list and the inner step."""
        source = (inputs.items_from or "").partition(".")[0]
        if source and source not in scope.steps:
            raise InvalidWorkflowError(
                "inputs.items_from", f"the step {source!r} is not done before this one; add it to depends_on"
            )
        inner = self._step_types.get(inputs.step.type)
        if inner is None or inputs.step.type == self.name:
            known = ", ".join(sorted(name for name in self._step_types if name != self.name))
            raise InvalidWorkflowError("inputs.step.type", f"{inputs.step.type!r} cannot be mapped; use one of {known}")
        try:
            inner.check(inputs.step.inputs, Scope(scope.steps, scope.variables | {"item", "index"}))
        except InvalidWorkflowError as error:
            raise InvalidWorkflowError(f"inputs.step.{error.field}", error.message) from None

    async def work(self, inputs: MapInputs, context: StepContext) -> Json:
        """Do all items; the first failure stops the others and is the step's."""
        items = inputs.items if inputs.items is not None else _list_at(inputs.items_from or "", context.outputs)
        turn = asyncio.Semaphore(inputs.concurrency)

        async def one(index: int, item: Json) -> Json:
            async with turn:
                variables: dict[str, Json] = {"item": item, "index": index}
                return await context.run_step(inputs.step.type, inputs.step.inputs, variables)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(index, item)) for index, item in enumerate(items)]
        except ExceptionGroup as failures:
            first = failures.exceptions[0]
            if isinstance(first, StepError):
                raise StepError(
                    f"an item failed: {first}",
                    retryable=first.retryable,
                    retry_after_seconds=first.retry_after_seconds,
                ) from None
            raise first from None
        return {"items": [task.result() for task in tasks]}


def _list_at(path: str, outputs: Mapping[str, Json]) -> list[Json]:
    """The list behind `STEP.KEY.KEY…`. Raises `StepError`."""
    step_id, *keys = path.split(".")
    value: Json = outputs[step_id]
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    if not isinstance(value, list):
        raise StepError(f"items_from: there is no list at {path!r}")
    if len(value) > MOST_ITEMS:
        raise StepError(f"items_from: the list has {len(value)} items; at most {MOST_ITEMS} are mapped")
    return value

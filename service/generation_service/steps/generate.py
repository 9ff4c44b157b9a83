"""The step type `generate`: ask the generator, through the same cache and pool as chat completions."""

from typing import ClassVar, Final, Self

import orjson
from pydantic import Field, model_validator

from generation_service.domain.workflow import Json
from generation_service.engine.completions import ChatRequest, Completions
from generation_service.engine.pools import PoolFullError
from generation_service.ports import CacheUse, GeneratorError, Scope, StepContext, StepError
from generation_service.steps import templates
from generation_service.steps.typed import Inputs, TypedStep, check_template

LONGEST_PROMPT: Final = 100_000


class GenerateInputs(Inputs):
    """What a step of type `generate` takes: exactly one of `prompt` and `template`."""

    prompt: str | None = Field(default=None, min_length=1, max_length=LONGEST_PROMPT)
    """The text as it is; braces have no meaning in it."""
    template: str | None = Field(default=None, min_length=1, max_length=templates.LONGEST_TEMPLATE)
    """Text with gaps such as `{{ steps.a.output.text }}`."""
    system: str | None = Field(default=None, min_length=1, max_length=LONGEST_PROMPT)
    """Instructions that come before the prompt."""
    model: str | None = Field(default=None, min_length=1, max_length=200)
    """A model that the generator knows; its own default otherwise."""
    max_tokens: int = Field(default=256, ge=1, le=4096)
    temperature: float | None = Field(default=None, ge=0, le=2, strict=False)
    cache: bool = True
    """False: neither read nor keep the answer in the cache."""

    @model_validator(mode="after")
    def _one_text(self) -> Self:
        if (self.prompt is None) == (self.template is None):
            raise ValueError("give exactly one of prompt and template")
        return self


class GenerateStep(TypedStep[GenerateInputs]):
    """Output: `{"text": …, "tokens": …, "cache": "HIT-L1"}`."""

    name: ClassVar[str] = "generate"
    # The adapter has tried again within the call already; the second attempt is for what takes longer to pass.
    attempts: ClassVar[int] = 2
    inputs_type = GenerateInputs

    def __init__(self, completions: Completions, model: str) -> None:
        self._completions = completions
        self._model = model

    def check_more(self, inputs: GenerateInputs, scope: Scope) -> None:
        """Check the template."""
        check_template("inputs.template", inputs.template, scope)

    async def work(self, inputs: GenerateInputs, context: StepContext) -> Json:
        """Ask."""
        text = inputs.prompt
        if inputs.template is not None:
            text = templates.render(inputs.template, context.outputs, context.variables)
        messages = [{"role": "user", "content": text}]
        if inputs.system is not None:
            messages.insert(0, {"role": "system", "content": inputs.system})
        body: dict[str, object] = {
            "max_tokens": inputs.max_tokens,
            "messages": messages,
            "model": inputs.model or self._model,
        }
        if inputs.temperature is not None:
            body["temperature"] = inputs.temperature
        use = CacheUse.NORMAL if inputs.cache else CacheUse.NONE
        try:
            answer = await self._completions.complete(
                ChatRequest.of(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)), context.remaining_seconds, use
            )
        except GeneratorError as error:
            raise StepError(
                str(error), retryable=_may_pass(error.status), retry_after_seconds=error.retry_after_seconds
            ) from error
        except PoolFullError as error:
            raise StepError(str(error), retryable=True) from error
        except TimeoutError:
            raise StepError("the time was over before the generator was asked", retryable=False) from None
        return {**_text_and_tokens(answer.value), "cache": answer.status.value}


def _may_pass(status: int | None) -> bool:
    """Whether the same request may succeed later: not when the generator calls the request itself bad."""
    return status is None or status in {408, 429} or status >= 500


def _text_and_tokens(body: bytes) -> dict[str, Json]:
    try:
        answer = orjson.loads(body)
        text = answer["choices"][0]["message"]["content"] or ""
        tokens = answer.get("usage", {}).get("completion_tokens", 0)
    except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError):
        raise StepError("the generator's answer is not a chat completion; is GENERATOR_URL right?") from None
    if not isinstance(text, str) or not isinstance(tokens, int):
        raise StepError("the generator's answer is not a chat completion; is GENERATOR_URL right?")
    return {"text": text, "tokens": tokens}

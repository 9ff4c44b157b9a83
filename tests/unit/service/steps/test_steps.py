"""The built-in step types: what they refuse, what they give, and what they pass on."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from generation_service.domain.errors import InvalidWorkflowError
from generation_service.domain.workflow import Json, JsonObject, Step, Workflow
from generation_service.engine.completions import Completions
from generation_service.engine.pools import Pool
from generation_service.ports import StepError, StepType
from generation_service.steps.registry import check, step_types
from generation_service.steps.workers import Workers
from service_fakes import FakeCache, FakeClock, FakeGenerator, NoWarmer


@dataclass
class FakeContext:
    types: Mapping[str, StepType]
    outputs: Mapping[str, Json] = field(default_factory=dict)
    variables: JsonObject = field(default_factory=dict)
    remaining_seconds: float = 30.0
    pools: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def slot(self, pool: str) -> AsyncIterator[None]:
        self.pools.append(pool)
        yield

    async def run_step(self, step_type: str, inputs: JsonObject, variables: JsonObject) -> Json:
        inner = FakeContext(self.types, self.outputs, {**self.variables, **variables})
        return await self.types[step_type].run(inputs, inner)


class World:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.generator = FakeGenerator(self.clock)
        self.workers = Workers()
        completions = Completions(self.generator, FakeCache(), Pool("ai_api", 5, 100), NoWarmer())
        self.types = step_types(completions, self.workers, "default")

    async def run(self, name: str, inputs: dict[str, Any], **outputs: Json) -> Json:
        task = asyncio.ensure_future(self.types[name].run(inputs, FakeContext(self.types, outputs)))
        await self.clock.pass_time(100)
        return await task

    def refused(self, *steps: Step) -> tuple[str, str]:
        with pytest.raises(InvalidWorkflowError) as caught:
            check(Workflow("w", steps, 30), self.types)
        return caught.value.field, caught.value.message


async def test_prompt_fills_a_template() -> None:
    assert await World().run("prompt", {"template": "x {{ steps.a.output.text }}"}, a={"text": "y"}) == {"text": "x y"}


async def test_generate_asks_the_generator_and_tells_where_the_answer_came_from() -> None:
    world = World()
    assert await world.run("generate", {"prompt": "hello"}) == {"text": "HELLO", "tokens": 5, "cache": "MISS"}
    assert await world.run("generate", {"prompt": "hello"}) == {"text": "HELLO", "tokens": 5, "cache": "HIT-L1"}
    assert world.generator.started == ["hello"]


async def test_prompt_of_generate_is_taken_as_it_is_and_its_template_is_filled() -> None:
    world = World()
    assert await world.run("generate", {"prompt": "{{ x }}"}) == {"text": "{{ X }}", "tokens": 7, "cache": "MISS"}
    filled = await world.run("generate", {"template": "{{ steps.a.output }}"}, a="hi")
    assert filled == {"text": "HI", "tokens": 2, "cache": "MISS"}


async def test_generator_errors_say_whether_trying_again_helps() -> None:
    world = World()
    with pytest.raises(StepError) as busy:
        await world.run("generate", {"prompt": "busy"})
    assert (busy.value.retryable, busy.value.retry_after_seconds) == (True, 3)
    with pytest.raises(StepError) as bad:
        await world.run("generate", {"prompt": "fail"})
    assert not bad.value.retryable


async def test_map_does_each_item_in_order_of_the_list() -> None:
    world = World()
    output = await world.run(
        "map",
        {
            "items_from": "lines.items",
            "step": {"type": "generate", "inputs": {"template": "{{ item }}{{ index }}:{{ index }}"}},
            "concurrency": 2,
        },
        lines={"items": ["a", "b", "c"]},
    )
    assert isinstance(output, dict)
    assert [item["text"] for item in output["items"]] == ["A0", "B1", "C2"]
    assert world.generator.most_running == 2


@pytest.mark.parametrize("lines", [{"items": "text"}, {}, None, {"items": list(range(257))}])
async def test_map_says_what_is_wrong_with_its_list(lines: Json) -> None:
    with pytest.raises(StepError, match="items_from"):
        await World().run(
            "map", {"items_from": "l.items", "step": {"type": "prompt", "inputs": {"template": "x"}}}, l=lines
        )


async def test_failing_item_fails_the_map_and_stops_the_others() -> None:
    world = World()
    with pytest.raises(StepError, match="an item failed: the model is not loaded"):
        await world.run(
            "map",
            {"items": ["fail:1", "slow:50"], "step": {"type": "generate", "inputs": {"template": "{{ item }}"}}},
        )
    assert world.generator.stopped == ["slow"]


async def test_merge_joins_texts_and_those_of_fan_outs() -> None:
    output = await World().run(
        "merge", {"steps": ["a", "m"], "separator": "-"}, a={"text": "1"}, m={"items": [{"text": "2"}, {"text": "3"}]}
    )
    assert output == {"text": "1-2-3", "items": [{"text": "1"}, {"items": [{"text": "2"}, {"text": "3"}]}]}


async def test_merge_of_outputs_without_text_says_so() -> None:
    with pytest.raises(StepError, match="only outputs with a text"):
        await World().run("merge", {"steps": ["a"]}, a={"n": 1})


@pytest.mark.parametrize(
    ("step", "field", "said"),
    [
        (Step("x", "nothing", {}), "steps[0].type", "none of generate, map, merge, prompt, python"),
        (Step("x", "prompt", {}), "steps[0].inputs.template", "required"),
        (Step("x", "prompt", {"template": "a", "b": 1}), "steps[0].inputs.b", "not a known field"),
        (Step("x", "prompt", {"template": "{{ steps.y.output }}"}), "steps[0].inputs.template", "'y'"),
        (Step("x", "generate", {}), "steps[0].inputs", "exactly one of prompt and template"),
        (Step("x", "generate", {"prompt": "a", "max_tokens": "8"}), "steps[0].inputs.max_tokens", "integer"),
        (Step("x", "generate", {"prompt": "a", "temperature": 9}), "steps[0].inputs.temperature", "less than"),
        (Step("x", "merge", {"steps": ["y"]}), "steps[0].inputs.steps[0]", "depends_on"),
        (Step("x", "map", {"items": [1], "step": {"type": "map"}}), "steps[0].inputs.step.type", "cannot be mapped"),
        (
            Step("x", "map", {"items": [1], "step": {"type": "prompt", "inputs": {"template": "{{ it }}"}}}),
            "steps[0].inputs.step.inputs.template",
            "known here: steps, index, item",
        ),
        (Step("x", "map", {"step": {"type": "prompt"}}), "steps[0].inputs", "exactly one of items and items_from"),
        (Step("x", "map", {"items_from": "y.z", "step": {"type": "prompt"}}), "steps[0].inputs.items_from", "'y'"),
        (Step("x", "python", {"function": "os.system"}), "steps[0].inputs.function", "known: split_lines, word_count"),
        (
            Step("x", "python", {"function": "word_count", "steps": {"text": "y"}}),
            "steps[0].inputs.steps.text",
            "depends_on",
        ),
    ],
)
def test_step_that_cannot_work_is_refused_with_its_field(step: Step, field: str, said: str) -> None:
    named, message = World().refused(step)
    assert named == field
    assert said in message


async def test_python_runs_registered_functions_in_another_process() -> None:
    world = World()
    try:
        lines = await world.types["python"].run(
            {"function": "split_lines", "steps": {"text": "a"}}, FakeContext(world.types, {"a": {"text": "x\n\ny"}})
        )
        assert lines == {"items": ["x", "y"]}
        with pytest.raises(StepError, match="'word_count' raised TypeError: text must be"):
            await world.types["python"].run(
                {"function": "word_count", "arguments": {"text": 1}}, FakeContext(world.types)
            )
    finally:
        world.workers.close()


async def test_cancelled_call_ends_its_process_and_the_next_call_gets_a_fresh_one() -> None:
    workers = Workers()
    try:
        assert await workers.call("word_count", {"text": "a"}) == {"words": 1, "most_common": [["a", 1]]}
        [before] = workers.processes
        # Much text keeps the function busy for seconds, so the cancellation hits it at work.
        busy = asyncio.create_task(workers.call("word_count", {"text": "a b c " * 10_000_000}))
        await asyncio.sleep(0.3)
        busy.cancel()
        with pytest.raises(asyncio.CancelledError):
            await busy
        assert workers.processes == []
        assert await workers.call("word_count", {"text": "b"}) == {"words": 1, "most_common": [["b", 1]]}
        assert workers.processes != [before]
    finally:
        workers.close()
    assert workers.processes == []

"""What every generator does, whatever is behind it."""

import asyncio
from contextlib import aclosing

import orjson
import pytest

from generation_service.ports import Generator, GeneratorError


def ask(text: str = "hello", **fields: object) -> bytes:
    return orjson.dumps({"model": "any", "messages": [{"role": "user", "content": text}], "max_tokens": 4} | fields)


class GeneratorContract:
    """Subclasses give the fixture `generator`."""

    async def test_whole_answer_is_a_chat_completion(self, generator: Generator) -> None:
        answer = orjson.loads((await generator.complete(ask(), 30)).body)
        assert answer["object"] == "chat.completion"
        assert answer["choices"][0]["message"]["role"] == "assistant"
        assert isinstance(answer["choices"][0]["message"]["content"], str)
        assert 1 <= answer["usage"]["completion_tokens"] <= 4

    async def test_stream_is_made_of_chunks_and_ends_with_a_reason(self, generator: Generator) -> None:
        async with aclosing(generator.stream(ask(stream=True), 30)) as parts:
            chunks = [orjson.loads(part) async for part in parts]
        assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
        text = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"])
        assert text
        reasons = [chunk["choices"][0]["finish_reason"] for chunk in chunks if chunk["choices"]]
        assert reasons[-1] in {"stop", "length"}

    async def test_request_that_is_none_is_refused_with_the_generators_own_words(self, generator: Generator) -> None:
        with pytest.raises(GeneratorError) as caught:
            await generator.complete(b"{", 30)
        assert caught.value.status == 400
        assert caught.value.body is not None
        assert "error" in orjson.loads(caught.value.body)
        async with aclosing(generator.stream(b"{", 30)) as parts:
            with pytest.raises(GeneratorError):
                await anext(parts)

    async def test_cancelled_call_ends_at_once_and_the_next_one_works(self, generator: Generator) -> None:
        task = asyncio.create_task(generator.complete(ask("long", max_tokens=500), 30))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await generator.complete(ask(), 30)).body

    async def test_stream_can_be_left_after_its_first_part(self, generator: Generator) -> None:
        async with aclosing(generator.stream(ask("long", max_tokens=200, stream=True), 30)) as parts:
            assert await anext(parts)
        assert await generator.healthy()

    async def test_calls_at_the_same_time_do_not_mix(self, generator: Generator) -> None:
        answers = await asyncio.gather(*(generator.complete(ask(f"n{number}"), 30) for number in range(8)))
        assert all(orjson.loads(answer.body)["choices"] for answer in answers)

    async def test_it_says_what_it_is(self, generator: Generator) -> None:
        assert generator.description
        assert generator.breaker_state == 0

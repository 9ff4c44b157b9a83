"""The generator contract on the built-in generator, a backend over HTTP, and the local model."""

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from aiohttp.test_utils import TestServer

from contract.generator_contract import GeneratorContract, ask
from generation_service.adapters.clock import LoopClock
from generation_service.adapters.embedded.generator import start_embedded_generator
from generation_service.adapters.generators.built_in import BuiltInGenerator
from generation_service.adapters.generators.openai import GeneratorSettings, OpenAIGenerator
from generation_service.ports import Generator
from generation_service.testing.backend import BackendSettings, create_backend


def built_in(latency_seconds: float = 0.05) -> BuiltInGenerator:
    return BuiltInGenerator(LoopClock(), latency_seconds=latency_seconds, jitter_percent=0, tokens=64)


class TestBuiltIn(GeneratorContract):
    @pytest.fixture
    def generator(self) -> Generator:
        return built_in()

    async def test_same_request_gets_the_same_answer_in_every_replica(self) -> None:
        first, second = await built_in().complete(ask(), 30), await built_in().complete(ask(), 30)
        other = await built_in().complete(ask("other"), 30)
        assert first.body == second.body != other.body
        assert orjson.loads(first.body)["model"] == "built-in", "it never passes for a model"

    @pytest.mark.parametrize(
        "fields", [{"max_tokens": 0}, {"max_tokens": "8"}, {"n": 2}, {"messages": []}, {"messages": "hi"}]
    )
    async def test_request_that_cannot_be_answered_is_refused(self, fields: dict[str, Any]) -> None:
        with pytest.raises(Exception, match="must be"):
            await built_in().complete(ask(**fields), 30)


class TestOpenAI(GeneratorContract):
    @pytest.fixture
    async def generator(self) -> AsyncIterator[Generator]:
        async with TestServer(create_backend(BackendSettings(latency_ms=30, tokens_per_second=1000))) as server:
            generator = OpenAIGenerator(str(server.make_url("/")), settings=GeneratorSettings(), clock=LoopClock())
            await generator.start()
            yield generator
            await generator.close()


class TestLocalModel(GeneratorContract):
    @pytest.fixture
    async def generator(self) -> AsyncIterator[Generator]:
        said: list[str] = []
        embedded = await start_embedded_generator(built_in(), LoopClock(), said.append)
        assert embedded.stand_in is None, f"{embedded.stand_in}; `make venv` installs the model"
        yield embedded.generator
        await embedded.stop()

"""What answers when no generator is named: the local model, or the built-in generator where it cannot be had."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from generation_service.adapters.embedded import EmbeddedError, Progress
from generation_service.adapters.embedded.model import NAME, EmbeddedModel
from generation_service.adapters.generators.openai import GeneratorSettings, OpenAIGenerator
from generation_service.ports import Clock, Generator


@dataclass(frozen=True, slots=True)
class EmbeddedGenerator:
    """A generator that is ready, and how to end it."""

    generator: Generator
    stop: Callable[[], Awaitable[None]]
    stand_in: str | None  # why it is not the model


async def start_embedded_generator(built_in: Generator, clock: Clock, progress: Progress) -> EmbeddedGenerator:
    """Start the local model; the built-in generator takes its place where that is impossible, and says why."""
    model = EmbeddedModel(progress)

    async def stop() -> None:
        await model.stop()

    try:
        url = await model.start()
    except EmbeddedError as error:
        return EmbeddedGenerator(built_in, stop, f"answers are made up by the built-in generator ({error})")
    generator = OpenAIGenerator(url, settings=GeneratorSettings(), clock=clock, description=f"local:{NAME}")
    await generator.start()

    async def stop_both() -> None:
        await generator.close()
        await model.stop()

    return EmbeddedGenerator(generator, stop_both, None)

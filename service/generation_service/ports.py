"""What the engine needs from the world: somebody who generates, a clock, and somebody who counts.

Small enough that a test's fake is a few lines. Adapters satisfy them; nothing here knows how.
"""

from collections.abc import Callable
from typing import Protocol

from generation_service.domain.workflow import Generation, Outcome, Prompt


class GeneratorError(Exception):
    """The generator could not answer; the message is shown to the caller."""


class Generator(Protocol):
    """Turns a prompt into text."""

    async def generate(self, prompt: Prompt) -> Generation:
        """Answer the prompt; stop at once when cancelled. Raises `GeneratorError`."""


class Timer(Protocol):
    """A call that is to happen later."""

    def cancel(self) -> None:
        """Do not make the call, if it is still to come."""


class Clock(Protocol):
    """Time as durations: only differences of `now()` mean anything."""

    def now(self) -> float:
        """Seconds on a clock that never goes back."""

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Arrange for one call of `callback` after `seconds`."""

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""


class Observer(Protocol):
    """Is told when workflows come, how long they were worked on, and how every one ended, rejected ones too."""

    def arrived(self) -> None:
        """Count one workflow that asks for admission."""

    def ran(self, seconds: float) -> None:
        """Count one workflow that leaves its slot; `seconds` is how long it kept it."""

    def finished(self, outcome: Outcome, seconds: float) -> None:
        """Count one workflow; `seconds` is the time from its arrival at the admission to its end."""

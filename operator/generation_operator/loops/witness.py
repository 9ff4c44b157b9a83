"""What the loops tell whoever wants to know: metrics, the decision log. A port, so that no loop knows of either."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from generation_operator.loops.actuation import Turn


class Phase(StrEnum):
    """The parts of a tick."""

    OBSERVE = "observe"
    DECIDE = "decide"
    ACTUATE = "actuate"
    PUBLISH = "publish"


class Witness(Protocol):
    """Is told; must neither wait nor raise."""

    def ticked(self, phase: Phase, seconds: float) -> None:
        """A tick has spent this time on that part of it."""

    def decided(self, turns: Sequence[Turn], news: Sequence[Turn]) -> None:
        """It was decided on these services; of those in `news` something has changed that people should know."""


class Nobody:
    """A `Witness` that does not care."""

    def ticked(self, phase: Phase, seconds: float) -> None:
        """Nothing."""

    def decided(self, turns: Sequence[Turn], news: Sequence[Turn]) -> None:
        """Nothing."""

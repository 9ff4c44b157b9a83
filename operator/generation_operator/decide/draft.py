"""A decision while it passes through the stages.

Every stage takes a draft and returns another one with exactly one more line. A stage says what it did through the three
methods below and in no other way, so that binder, limit, reason and line can never contradict each other.
"""

from dataclasses import dataclass, replace
from typing import Self

from generation_operator.decide.types import Line, Reason, Replicas, Stage


@dataclass(frozen=True, slots=True)
class Draft:
    """What the stages so far came to; the fields are those of `Decision`."""

    current: Replicas
    desired: Replicas
    valid: bool
    binder: Stage
    limited_by: Stage | None
    reason: Reason
    message: str
    lines: tuple[Line, ...] = ()

    @property
    def lowers(self) -> bool:
        """Whether the stages so far ask for fewer replicas."""
        return self.desired < self.current

    def passed(self, stage: Stage, text: str) -> Self:
        """The stage has no objection: nothing but its line is added."""
        return self._with_line(stage, self.desired, text)

    def set_by(self, stage: Stage, to: int, reason: Reason, message: str) -> Self:
        """The stage decides the count."""
        return replace(self._with_line(stage, to, message), binder=stage, reason=reason, message=message)

    def held_by(self, stage: Stage, to: int, reason: Reason, message: str) -> Self:
        """The stage holds back what an earlier one asked for."""
        return replace(self.set_by(stage, to, reason, message), limited_by=stage)

    def _with_line(self, stage: Stage, to: int, text: str) -> Self:
        line = Line(stage, self.desired, Replicas(to), text)
        return replace(self, desired=Replicas(to), lines=(*self.lines, line))

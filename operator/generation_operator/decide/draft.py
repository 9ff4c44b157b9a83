"""A decision while it passes through the stages.

Every stage takes a draft and returns another one with exactly one more line. A stage says what it did through the three
methods below and in no other way, so that binder, limit, reason and line can never contradict each other.
"""

from typing import NamedTuple

from generation_operator.decide.types import Line, Reason, Replicas, Stage


class Draft(NamedTuple):
    """What the stages so far came to; the fields are those of `Decision`.

    A tuple and not a dataclass: the simulator makes millions of them, and a frozen dataclass takes five times as long.
    """

    current: Replicas
    desired: Replicas
    valid: bool
    binder: Stage
    limited_by: Stage | None
    reason: Reason
    message: str
    lines: tuple[Line, ...] = ()
    floor: Replicas = Replicas(0)  # what a burn or a schedule asks for; no cooldown holds it back

    @property
    def lowers(self) -> bool:
        """Whether the stages so far ask for fewer replicas."""
        return self.desired < self.current

    def passed(self, stage: Stage, text: str) -> "Draft":
        """The stage has no objection: nothing but its line is added."""
        current, desired, valid, binder, limited_by, reason, message, lines, floor = self
        lines = (*lines, Line(stage, desired, desired, text))
        return Draft(current, desired, valid, binder, limited_by, reason, message, lines, floor)

    def set_by(self, stage: Stage, to: int, reason: Reason, message: str) -> "Draft":
        """The stage decides the count."""
        count = Replicas(to)
        lines = (*self.lines, Line(stage, self.desired, count, message))
        return Draft(self.current, count, self.valid, stage, self.limited_by, reason, message, lines, self.floor)

    def held_by(self, stage: Stage, to: int, reason: Reason, message: str) -> "Draft":
        """The stage holds back what an earlier one asked for."""
        return self.set_by(stage, to, reason, message)._replace(limited_by=stage)

    def with_floor(self, floor: int) -> "Draft":
        """Later stages that hold steps back let the count rise to this one."""
        return self._replace(floor=Replicas(max(floor, self.floor)))

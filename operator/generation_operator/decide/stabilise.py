"""Hold back removals of the policy `Targets` that the evidence does not carry yet.

Three things speak against a removal: replicas were asked for so recently that they have not even become ready; the last
minutes would have needed them; and experience. How far back the last minutes reach is learnt: when replicas had to be
brought back soon after they were removed it was too short, when they were not it may become shorter.
"""

from typing import Final

from generation_operator.decide.draft import Draft
from generation_operator.decide.memory import MAX_RAISES, Memory, Raise
from generation_operator.decide.types import Reason, Seconds, Stage

_SHORTEST: Final = 0.4  # times the base hold
_LONGEST: Final = 4.0
_LONGER: Final = 1.25  # after replicas had to be brought back
_SHORTER: Final = 0.8
_REGRET_STARTUPS: Final = 2.0  # brought back within this many start-up times: the removal did not pay


def stabilised(draft: Draft, memory: Memory, now: Seconds) -> tuple[Draft, Memory]:
    """Let a removal wait until it has been right for long enough; additions pass.

    Args:
        draft: what the stages so far came to.
        memory: with the hindsight of this decision.
        now: Unix seconds.
    """
    raises = tuple(entry for entry in memory.raises if 0 <= now - entry.at < memory.startup_seconds)
    if draft.desired > draft.current:
        # What asked for less before is covered by this one.
        raises = (*(entry for entry in raises if entry.replicas > draft.desired), Raise(now, draft.desired))[
            -MAX_RAISES:
        ]
    memory = memory._replace(raises=raises)
    recent = max((entry.replicas for entry in raises), default=0)
    held = min(draft.current, max(draft.desired, recent, memory.hindsight))
    if not draft.lowers or held == draft.desired:
        text = "no removal is due" if not draft.lowers else "the recent past would not have needed them either"
        return draft.passed(Stage.STABILISE, text), _learnt(memory, draft, now)
    why = "asked for less than a start-up time ago" if recent >= held else "needed by the arrivals of the last minutes"
    draft = draft.held_by(Stage.STABILISE, held, Reason.STABILISING, f"Held at {held}, {why}: {draft.message}")
    return draft, _learnt(memory, draft, now)


def _learnt(memory: Memory, draft: Draft, now: float) -> Memory:
    """Lengthen or shorten the hold by what became of the last removal."""
    soon = _REGRET_STARTUPS * memory.startup_seconds
    if draft.lowers:
        return memory._replace(lowered_at=now)
    if memory.lowered_at is None:
        return memory
    if draft.desired > draft.current:
        scale = min(_LONGEST, memory.hold_scale * _LONGER) if now - memory.lowered_at < soon else memory.hold_scale
        return memory._replace(hold_scale=scale, lowered_at=None)
    if now - memory.lowered_at >= soon:
        return memory._replace(hold_scale=max(_SHORTEST, memory.hold_scale * _SHORTER), lowered_at=None)
    return memory

"""The decision log: one JSON object per line for each decision that brought something new, with a stable schema.

For people who ask weeks later why there were so many replicas, and for programs that replay decisions. It goes to
standard output; the process's own log goes to standard error.
"""

import json
from collections.abc import Sequence
from typing import Any, Final, TextIO

from generation_operator.decide.types import Signal
from generation_operator.loops.actuation import Turn
from generation_operator.loops.witness import Phase, Witness

# Fields may be added; none is renamed, removed or given another meaning without a new version here.
SCHEMA: Final = "generation.dev/decision/v1"


class DecisionLog:
    """A writer of decisions.

    Args:
        stream: where lines are written.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, news: Sequence[Turn]) -> None:
        """One line for each of these decisions. A log that cannot be written is no reason not to scale."""
        lines = "".join(json.dumps(entry(turn), separators=(",", ":")) + "\n" for turn in news)
        try:
            self._stream.write(lines)
            self._stream.flush()
        except OSError:
            return


class Logged:
    """A `Witness` that logs what is new and passes everything on."""

    def __init__(self, witness: Witness, log: DecisionLog) -> None:
        self._witness = witness
        self._log = log

    def ticked(self, phase: Phase, seconds: float) -> None:
        """A part of a tick has ended."""
        self._witness.ticked(phase, seconds)

    def decided(self, turns: Sequence[Turn], news: Sequence[Turn]) -> None:
        """A tick decided on these services."""
        self._witness.decided(turns, news)
        self._log.write(news)


def entry(turn: Turn) -> dict[str, Any]:
    """One decision as it is logged."""
    decision = turn.decision
    return {
        "schema": SCHEMA,
        "id": decision.id,
        "at": round(decision.at, 3),  # Unix seconds
        "namespace": turn.service.key.namespace,
        "service": turn.service.key.name,
        "policy": str(turn.service.spec.scaling.policy),
        "mode": str(turn.service.mode),
        "current": decision.current,
        "desired": decision.desired,
        "ready": turn.observation.ready,
        "written": turn.written,
        "writeError": turn.write_error,
        "valid": decision.valid,
        "binder": str(decision.binder),
        "limitedBy": None if decision.limited_by is None else str(decision.limited_by),
        "reason": str(decision.reason),
        "message": decision.message,
        "guard": {"replicas": turn.observation.guard.replicas, "reason": turn.observation.guard.reason},
        "signals": [_signal(signal) for signal in decision.signals],
        "stages": [
            {"stage": str(line.stage), "before": line.before, "after": line.after, "text": line.text}
            for line in decision.lines
        ],
    }


def _signal(signal: Signal) -> dict[str, Any]:
    return {
        "name": str(signal.name),
        "state": str(signal.state),
        "value": signal.value,
        "age": None if signal.age is None else round(signal.age, 3),
    }

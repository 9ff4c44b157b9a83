"""The policy `Score`: the performance guide's scorer, every number from the resource.

Four signals, each with a threshold and a weight, add up to a score per direction. More replicas come first; comparisons
are strict, so a value at its threshold adds nothing and a score at its limit moves nothing. It is kept exactly, with
its known weaknesses (a slow response alone can never scale up): it is the compatible policy, not the recommended one.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from generation_operator.api.score import ScoreDown, ScorePolicy, ScoreUp
from generation_operator.decide.draft import Draft
from generation_operator.decide.types import Reason, Signal, SignalName, SignalState, Stage


@dataclass(frozen=True, slots=True)
class Score:
    """Points of one direction and what they consist of."""

    points: int
    parts: tuple[str, ...]  # "Cpu 91 % > 80 % (25)"

    def __str__(self) -> str:
        """The guide's words, then the signals: "(score: 55): ResponseTime 1.2 s > 1 s (30), Cpu 91 % > 80 % (25)"."""
        return f"(score: {self.points}): {', '.join(self.parts)}"


class _Term(NamedTuple):
    name: SignalName
    threshold: float
    weight: int


_UNITS: Final = {
    SignalName.RESPONSE_TIME: " s",
    SignalName.CPU: " %",
    SignalName.MEMORY: " %",
    SignalName.REQUEST_RATE: "/s",
}


def scored(draft: Draft, policy: ScorePolicy, signals: Mapping[SignalName, Signal]) -> Draft:
    """Ask for a step when a score exceeds its limit.

    Args:
        draft: what the stages so far came to.
        policy: thresholds, weights, limits and steps.
        signals: all signals by name, as `signals.trusted` returns them.
    """
    if not draft.valid:
        return draft.passed(Stage.SCORE, "no scores: metrics not usable")
    up, down = up_score(policy.up, signals), down_score(policy.down, signals)
    if up.points > policy.up.score_above:
        to = draft.current + policy.up.step_replicas
        return draft.set_by(Stage.SCORE, to, Reason.HIGH_LOAD, f"High load detected {up}")
    if down.points > policy.down.score_above:
        # Not below zero, so that the line shows a count that could exist; minReplicas comes with the bounds.
        to = max(draft.current - policy.down.step_replicas, 0)
        return draft.set_by(Stage.SCORE, to, Reason.LOW_LOAD, f"Low load detected {down}")
    message = (
        "Metrics within acceptable range "
        f"(up score: {up.points}, acts above {policy.up.score_above}; "
        f"down score: {down.points}, acts above {policy.down.score_above})"
    )
    return draft.set_by(Stage.SCORE, draft.current, Reason.WITHIN_RANGE, message)


def up_score(up: ScoreUp, signals: Mapping[SignalName, Signal]) -> Score:
    """The points of the signals above their thresholds."""
    limits, weights = up.thresholds, up.weights
    terms = (
        _Term(SignalName.RESPONSE_TIME, limits.response_time_milliseconds / 1000, weights.response_time),
        _Term(SignalName.CPU, limits.cpu_percent, weights.cpu),
        _Term(SignalName.MEMORY, limits.memory_percent, weights.memory),
        _Term(SignalName.QUEUE_LENGTH, limits.queue_length, weights.queue_length),
    )
    return _total(">", ((term, value) for term, value in _evidence(terms, signals) if value > term.threshold))


def down_score(down: ScoreDown, signals: Mapping[SignalName, Signal]) -> Score:
    """The points of the signals below their thresholds."""
    limits, weights = down.thresholds, down.weights
    terms = (
        _Term(SignalName.RESPONSE_TIME, limits.response_time_milliseconds / 1000, weights.response_time),
        _Term(SignalName.CPU, limits.cpu_percent, weights.cpu),
        _Term(SignalName.MEMORY, limits.memory_percent, weights.memory),
        _Term(SignalName.REQUEST_RATE, limits.requests_per_second, weights.requests_per_second),
    )
    return _total("<", ((term, value) for term, value in _evidence(terms, signals) if value < term.threshold))


def _evidence(terms: tuple[_Term, ...], signals: Mapping[SignalName, Signal]) -> Iterator[tuple[_Term, float]]:
    """The terms whose signal has a value to compare; one without traffic has none."""
    for term in terms:
        signal = signals[term.name]
        if signal.state is SignalState.FRESH and signal.value is not None:
            yield term, signal.value


def _total(sign: str, counted: Iterable[tuple[_Term, float]]) -> Score:
    points, parts = 0, []
    for term, value in counted:
        unit = _UNITS.get(term.name, "")
        points += term.weight
        parts.append(f"{term.name} {_shown(value, term)}{unit} {sign} {term.threshold:.6g}{unit} ({term.weight})")
    return Score(points, tuple(parts))


def _shown(value: float, term: _Term) -> str:
    """Three digits are enough for people, unless they would make the value look like its threshold."""
    rough = f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:.6g}" if float(rough) == term.threshold else rough

"""What the status says about the targets.

Observed values move with every tick, the status must not: an entry is replaced when its verdict changes, and tells the
value that changed it. A missed target counts as met again only when it is clearly met, else one that is just reached
would be news at every tick.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from generation_operator.api.conditions import Condition, ConditionReason, ConditionStatus, ConditionType
from generation_operator.api.resource import GenerationService
from generation_operator.observe.targets import TargetName, Verdict
from generation_operator.reconcile.judging import judged

_CLEARLY: Final = 0.05  # of the target

_UNITS: Final = {
    TargetName.WORKFLOW_DURATION: " s",
    TargetName.CONCURRENT_WORKFLOWS: "",
    TargetName.CACHED_RESPONSE: " ms",
    TargetName.MEMORY: "Mi",
    TargetName.CACHE_HIT: " %",
    TargetName.SUCCESS: " %",
}


def entries(previous: Sequence[Mapping[str, Any]], verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """`status.targets`: the entries of before where they still say the same."""
    before = {str(entry.get("name")): dict(entry) for entry in previous}
    if not verdicts:
        return list(before.values())  # not looked at since the start: what was judged stands
    return [_entry(before.get(verdict.name, {}), verdict) for verdict in verdicts]


def targets_met(service: GenerationService, told: Sequence[Mapping[str, Any]]) -> Condition:
    """Whether every target of which something was observed is met.

    observed | missed | TargetsMet
    none     | -      | Unknown NothingObserved
    some     | none   | True    AllTargetsMet
    some     | some   | False   TargetMissed
    """
    judgements = {str(entry["name"]): entry["met"] for entry in told if "met" in entry}
    missed = [name for name, met in judgements.items() if not met]
    if not judgements:
        verdict = ConditionStatus.UNKNOWN, ConditionReason.NOTHING_OBSERVED, "no fresh signal speaks of a target"
    elif missed:
        message = f"missed: {', '.join(missed)}; what was observed is in status.targets"
        verdict = ConditionStatus.FALSE, ConditionReason.TARGET_MISSED, message
    else:
        message = "every target that something was observed of is met"
        verdict = ConditionStatus.TRUE, ConditionReason.ALL_TARGETS_MET, message
    return judged(service, ConditionType.TARGETS_MET, *verdict)


def _entry(before: Mapping[str, Any], verdict: Verdict) -> dict[str, Any]:
    was = before.get("met")
    met = verdict.meets(_CLEARLY) if was is False else verdict.met
    entry: dict[str, Any] = {"name": str(verdict.name), "target": _text(verdict.name, verdict.target)}
    if met is not None and verdict.observed is not None:
        entry |= {"observed": _text(verdict.name, verdict.observed), "met": met}
    if verdict.budget_remaining_percent is not None:
        told = before.get("budgetRemainingPercent")
        entry["budgetRemainingPercent"] = _in_tens(verdict.budget_remaining_percent, told)
    says = ("name", "target", "met", "budgetRemainingPercent")
    same = all(before.get(field) == entry.get(field) for field in says)
    return dict(before) if same else entry


def _in_tens(percent: int, told: object) -> int:
    """Rounded down to tens. What was told stands while it is right within 2 %: a value at its edge is no news."""
    if isinstance(told, int) and told - 2 <= percent < told + 12:
        return told
    return percent // 10 * 10


def _text(name: TargetName, value: float) -> str:
    if name is TargetName.MEMORY:
        value /= 2**20
    rounded = round(value, 1)
    return f"{int(rounded) if rounded == int(rounded) else rounded}{_UNITS[name]}"

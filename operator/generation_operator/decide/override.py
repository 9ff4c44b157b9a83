"""A person's word: an exact count until a time, above policy and guards.

Bounds and the budget still hold, and so does the need of the HPA beside us: it would raise again what was lowered below
it, and the two would pull against each other.
"""

from typing import Final

from generation_operator.decide.draft import Draft
from generation_operator.decide.types import Override, Reason, Seconds, Stage
from generation_operator.decide.words import replicas

BEATEN: Final = "not asked: an override is in force"


def in_force(spec: Override | None, observed: Override | None, now: Seconds) -> Override | None:
    """The override that counts: the spec's, else what somebody wrote directly, while it lasts."""
    for override in (spec, observed):
        if override is not None and now < override.until:
            return override
    return None


def overridden(draft: Draft, override: Override | None, now: Seconds) -> Draft:
    """Set the count of the override."""
    if override is None:
        return draft.passed(Stage.OVERRIDE, "no override is in force")
    why = f" ({override.why})" if override.why else ""
    message = f"Override{why}: {replicas(override.replicas)} for another {override.until - now:.0f} s"
    return draft.set_by(Stage.OVERRIDE, override.replicas, Reason.OVERRIDE, message)

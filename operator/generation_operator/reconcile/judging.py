"""How a condition of a service is made: at its generation, with a message that the API server takes."""

from typing import Final

from generation_operator.api.conditions import Condition, ConditionReason, ConditionStatus, ConditionType
from generation_operator.api.resource import GenerationService

MESSAGE_LENGTH: Final = 32768  # one text too long would keep the whole status from being written


def judged(
    service: GenerationService, kind: ConditionType, status: ConditionStatus, reason: ConditionReason, message: str
) -> Condition:
    """One condition."""
    return Condition(kind, status, reason, message[:MESSAGE_LENGTH], service.generation)

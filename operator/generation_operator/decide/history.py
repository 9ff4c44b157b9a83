"""What a decision would remember if it had been made all along: the arrivals of the last eight days.

After a start, nothing is known of yesterday; the forecast of the season would have to wait for a day, or a week, until
it knows as much as before. So the past is asked for once, and put where it would be.
"""

from collections.abc import Mapping

from generation_operator.decide.forecast import SLOT_SECONDS, SLOTS, UNSEEN
from generation_operator.decide.memory import Memory, Profile
from generation_operator.decide.types import Seconds


def slots_before(now: Seconds) -> range:
    """Numbers of the slots that can be remembered and are over, counted since the epoch."""
    present = int(now // SLOT_SECONDS)
    return range(present - SLOTS + 1, present)


def recalled(memory: Memory, rates: Mapping[int, float], now: Seconds) -> Memory:
    """The memory with the past in it; what it has seen itself it keeps.

    Args:
        memory: what is remembered.
        rates: workflows per second by slot number; not below zero.
        now: Unix seconds.
    """
    profile = memory.profile
    if not profile.rates:
        profile = Profile(UNSEEN, int(now // SLOT_SECONDS))
    past = range(profile.slot - SLOTS + 1, profile.slot)
    changes = [
        (slot % SLOTS, rate) for slot, rate in rates.items() if slot in past and profile.rates[slot % SLOTS] is None
    ]
    return memory._replace(profile=profile._replace(rates=profile.rates.having(changes))) if changes else memory

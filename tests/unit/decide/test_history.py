"""The past, put where it would be if it had been seen."""

from collections.abc import Mapping
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation_operator.decide.arrivals import Estimate
from generation_operator.decide.forecast import SLOT_SECONDS, SLOTS, forecast, profiled
from generation_operator.decide.history import recalled, slots_before
from generation_operator.decide.memory import Memory, Profile
from generation_operator.decide.types import Seconds

DAY: Final = 288
SLOT: Final = 5_000_000
NOW: Final = Seconds(SLOT * SLOT_SECONDS + 100)
RATES = st.floats(0, 1000, width=32)


def seen(rates: Mapping[int, float], now: Seconds) -> Memory:
    """What ticking through all of it would remember."""
    profile = Profile()
    for slot in sorted(rates):
        profile = profiled(profile, SLOT_SECONDS, rates[slot] * SLOT_SECONDS, (slot + 1) * SLOT_SECONDS - 1)
    return Memory(profile=profiled(profile, 0.0, 0.0, now))


def season(memory: Memory) -> str:
    told, _ = forecast(memory, Estimate(1.0, 0.0, 0.0), NOW, 30.0)
    return told.text


@given(st.dictionaries(st.integers(SLOT - SLOTS + 1, SLOT - 1), RATES, min_size=1, max_size=20))
def test_what_is_recalled_is_what_would_have_been_seen(rates: dict[int, float]) -> None:
    live = seen(rates, NOW)
    assert list(recalled(Memory(), rates, NOW).profile.rates) == pytest.approx(list(live.profile.rates), nan_ok=True)


def test_yesterday_is_known_after_a_restart() -> None:
    assert "no season yet" in season(Memory())
    assert "season 42/s" in season(recalled(Memory(), {SLOT - DAY: 42.0}, NOW))


def test_what_was_seen_meanwhile_is_kept() -> None:
    live = seen({SLOT - DAY: 7.0}, NOW)
    assert recalled(live, {SLOT - DAY: 42.0}, NOW) == live
    both = recalled(live, {SLOT - DAY: 42.0, SLOT - DAY - 1: 3.0}, NOW).profile
    assert (both.rates[(SLOT - DAY) % SLOTS], both.rates[(SLOT - DAY - 1) % SLOTS]) == (7.0, 3.0)


@pytest.mark.parametrize("slot", [SLOT, SLOT + 1, SLOT - SLOTS])
def test_the_present_the_future_and_what_is_too_old_are_not_recalled(slot: int) -> None:
    assert recalled(Memory(), {slot: 42.0}, NOW) == Memory()


def test_what_is_asked_for_is_over_and_can_be_remembered() -> None:
    slots = slots_before(NOW)
    assert (slots[0], slots[-1]) == (SLOT - SLOTS + 1, SLOT - 1)

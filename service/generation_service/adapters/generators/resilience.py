"""When to ask a generator, when to ask again, and when to leave it alone. Decisions only: nothing here does I/O.

Not purgatory for the breaker: it counts its pause on the wall clock, so a clock that is set back by an hour keeps a
healthy generator shut off for that hour, and it counts failures in a row, so one that fails every second call never
opens it.
"""

from collections import deque
from enum import IntEnum
from typing import Final

from generation_service.ports import Clock

WINDOW: Final = 20  # calls that are looked at
LEAST: Final = 5  # of them, before anything is concluded
SHARE: Final = 0.5  # that failed


class BreakerState(IntEnum):
    """As the metric shows it."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class Breaker:
    """Closed: ask. Open: do not, for a while. Half open: one call tries whether it works again.

    Args:
        clock: monotonic.
        open_seconds: how long to leave it alone; longer spares a generator that restarts, and the answers meanwhile.
    """

    def __init__(self, clock: Clock, open_seconds: float) -> None:
        self._clock = clock
        self._open_seconds = open_seconds
        self._failures: deque[bool] = deque(maxlen=WINDOW)
        self._opened_at: float | None = None
        self._trying = False

    @property
    def state(self) -> BreakerState:
        """What it does now."""
        if self._opened_at is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if self.seconds_left > 0 else BreakerState.HALF_OPEN

    @property
    def seconds_left(self) -> float:
        """Until the next try; 0 when one may be made."""
        if self._opened_at is None:
            return 0.0
        return max(0.0, self._opened_at + self._open_seconds - self._clock.now())

    def admit(self) -> bool:
        """Whether to make a call now. Each admitted call must be followed by one of the three below."""
        if self._opened_at is None:
            return True
        if self._trying or self.seconds_left > 0:
            return False
        self._trying = True
        return True

    def succeeded(self) -> None:
        """The call worked."""
        if self._opened_at is not None:
            self._opened_at = None
            self._failures.clear()
        self._trying = False
        self._failures.append(False)

    def failed(self) -> None:
        """The call failed by the generator's fault."""
        self._trying = False
        self._failures.append(True)
        share = sum(self._failures) / len(self._failures)
        if self._opened_at is not None or (len(self._failures) >= LEAST and share >= SHARE):
            self._opened_at = self._clock.now()

    def abandoned(self) -> None:
        """The call ended without saying anything about the generator: its caller left, or the request was bad."""
        self._trying = False


class RetryBudget:
    """Retries are a share of the requests, so that a generator in trouble does not get a multiple of them.

    Every request pays in a tenth of a retry; up to ten may gather, for a short outage after a quiet time.
    """

    COST: Final = 10  # requests that pay for a retry
    MOST: Final = 10  # retries that may gather

    def __init__(self) -> None:
        self._paid = self.MOST * self.COST

    def request(self) -> None:
        """Note a request."""
        self._paid = min(self.MOST * self.COST, self._paid + 1)

    def spend(self) -> bool:
        """Whether a retry can be afforded; pays for it."""
        if self._paid < self.COST:
            return False
        self._paid -= self.COST
        return True

"""How often a server may be asked, for the answers to take it no more than a share of its time."""

from collections import deque
from typing import Final

# What an answer takes is the shortest time of the last eight: on a busy machine most of the time is waiting, and
# pausing for that as well made eight seconds of one.
_LAST: Final = 8


class Share:
    """Learns from what the last answers took.

    Args:
        share: of the time, above 0 and up to 1.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._took: deque[float] = deque(maxlen=_LAST)

    def took(self, seconds: float) -> None:
        """An answer has taken so long."""
        self._took.append(seconds)

    @property
    def period(self) -> float:
        """Seconds from one question to the next, at least; 0 before the first answer."""
        return min(self._took, default=0.0) / self._share

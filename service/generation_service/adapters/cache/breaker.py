"""Decides whether Redis is worth asking.

Not purgatory, which guards the generators: it counts failures in a row (a server that fails every second call never
opens it), counts its pause on the wall clock (set back by an hour, it stays open for an hour) and lets requests pay
for the trial. Here the share of failures counts, there is no clock at all, and the trial is a probe in the background,
so an outage costs a request nothing once it is known.
"""

from collections import deque

_WINDOW = 20  # calls that are looked at
_FAILURES = 5  # of these open it: one full batch of time-outs, or every fourth call


class Breaker:
    """Closed: ask. Open: do not."""

    def __init__(self) -> None:
        self._failures: deque[bool] = deque(maxlen=_WINDOW)
        self._closed = True
        self.opened = 0  # times

    @property
    def closed(self) -> bool:
        """Whether to ask."""
        return self._closed

    def succeeded(self) -> None:
        """Note a call that worked."""
        self._failures.append(False)

    def failed(self) -> None:
        """Note a call that failed or took too long."""
        self._failures.append(True)
        if self._closed and sum(self._failures) >= _FAILURES:
            self._closed = False
            self.opened += 1

    def close(self) -> None:
        """Ask again: a probe was answered."""
        if not self._closed:
            self._failures.clear()
            self._closed = True

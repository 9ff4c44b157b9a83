"""End the work of the current task from outside, for a reason that the caller gets to see.

`asyncio.timeout` does this for one reason and one clock; a workflow also ends when its replica must go, and tests have
a clock of their own. A cancellation by somebody else (the client hung up) always wins and stays a cancellation.
"""

import asyncio
from types import TracebackType


class Interruption:
    """A `with` block that `interrupt(cause)` leaves by raising `cause`. For one use."""

    def __init__(self) -> None:
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._cause: Exception | None = None

    def __enter__(self) -> None:
        self._task = asyncio.current_task()
        if self._task is not None:
            self._cancelling = self._task.cancelling()

    def interrupt(self, cause: Exception) -> None:
        """Stop the block at its current await; only the first cause counts, and none once the block was left."""
        if self._task is not None and self._cause is None:
            self._cause = cause
            self._task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        if task is None or self._cause is None:
            return
        # Our own request to cancel is taken back; if another one remains, it is not ours to swallow.
        if task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise self._cause from error

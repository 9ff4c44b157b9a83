"""Tells whether a value that was on its way may still be kept.

Between asking Redis for a value and getting it, another replica may write the key; its notice comes on another
connection and can be faster than the value. Whoever reads takes a ticket first; the ticket is good only if no notice
for the key came since, and no time in which notices were lost.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ticket:
    """One read under way."""

    key: str
    version: int
    epoch: int


@dataclass(slots=True)
class _Readers:
    count: int = 0
    version: int = 0


class InFlight:
    """Counts readers per key; holds nothing for keys that nobody reads."""

    def __init__(self) -> None:
        self._readers: dict[str, _Readers] = {}
        self._epoch = 0

    def __len__(self) -> int:
        return len(self._readers)

    def begin(self, key: str) -> Ticket:
        """Before the question is sent."""
        readers = self._readers.setdefault(key, _Readers())
        readers.count += 1
        return Ticket(key, readers.version, self._epoch)

    def end(self, ticket: Ticket) -> bool:
        """Exactly once for each ticket; True: the value may be kept, if that is done before the next await."""
        readers = self._readers[ticket.key]
        readers.count -= 1
        if not readers.count:
            del self._readers[ticket.key]
        return readers.version == ticket.version and self._epoch == ticket.epoch

    def spoil(self, key: str) -> None:
        """Readers of the key that have begun may not keep what they get."""
        readers = self._readers.get(key)
        if readers is not None:
            readers.version += 1

    def spoil_all(self) -> None:
        """As `spoil`, for all keys."""
        self._epoch += 1

"""Split a stream of server-sent events into the data of each, wherever the network cut it into pieces."""

from typing import Final

LARGEST_EVENT_BYTES: Final = 1024 * 1024


class EventTooLargeError(Exception):
    """An event does not end."""


class EventSplitter:
    """Feed it bytes, get the data of the events that became whole. Comments and other fields are dropped."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of each event that ends in this piece. Raises `EventTooLargeError`."""
        lines = (self._rest + piece).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > LARGEST_EVENT_BYTES:
            raise EventTooLargeError
        found = []
        for line in lines:
            content = line.removesuffix(b"\r")
            if not content:
                if self._data:
                    found.append(b"\n".join(self._data))
                    self._data = []
                    self._size = 0
            elif content.startswith(b"data:"):
                value = content[5:].removeprefix(b" ")
                self._data.append(value)
                self._size += len(value)
                if self._size > LARGEST_EVENT_BYTES:
                    raise EventTooLargeError
        return found

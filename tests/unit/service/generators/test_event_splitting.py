"""Server-sent events come out whole, wherever the network cut them."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation_service.adapters.generators.event_stream import LARGEST_EVENT_BYTES, EventSplitter, EventTooLargeError

STREAM = b': hello\n\ndata: {"a":1}\n\nevent: x\ndata:two\r\n\r\ndata: l1\ndata: l2\n\nid: 7\n\ndata: [DONE]\n\n'
EVENTS = [b'{"a":1}', b"two", b"l1\nl2", b"[DONE]"]


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_pieces_make_no_difference(cuts: list[int]) -> None:
    splitter = EventSplitter()
    edges = [0, *sorted(cuts), len(STREAM)]
    found = [data for start, end in itertools.pairwise(edges) for data in splitter.feed(STREAM[start:end])]
    assert found == EVENTS


@given(st.binary(max_size=300))
def test_any_bytes_are_survived(piece: bytes) -> None:
    for data in EventSplitter().feed(piece):
        assert isinstance(data, bytes)


@pytest.mark.parametrize("piece", [b"data: " + b"x" * (LARGEST_EVENT_BYTES + 1), b"data: xxxxxxxx\n" * 200_000])
def test_event_without_end_is_refused_before_memory_is_full(piece: bytes) -> None:
    splitter = EventSplitter()
    with pytest.raises(EventTooLargeError):
        splitter.feed(piece)

"""The codec gives back what it got, and takes what it does not know for a miss."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation_service.adapters.cache.codec import Answer, decode, encode

NOW = 1_000.0
SERVER = 1_700_000_000.0


def raw(**changes: object) -> bytes:
    fields: dict[str, object] = {"value": b"v", "expires_at": NOW + 60, "ttl_seconds": 60.0, "cost_seconds": 0.5}
    return encode(Answer(**(fields | changes)), now=NOW, server_now=SERVER)  # type: ignore[arg-type]


@given(
    st.binary(max_size=200),
    st.integers(1, 10**9),
    st.integers(0, 10**6),
    st.booleans(),
)
def test_what_is_read_is_what_was_written(value: bytes, ttl_ms: int, cost_ms: int, negative: bool) -> None:
    answer = Answer(value, NOW + ttl_ms / 1000, ttl_ms / 1000, cost_ms / 1000, negative)
    read = decode(encode(answer, now=NOW, server_now=SERVER), now=NOW, server_now=SERVER)
    assert read is not None
    assert (read.value, read.ttl_seconds, read.cost_seconds, read.negative) == (
        value,
        ttl_ms / 1000,
        cost_ms / 1000,
        negative,
    )
    assert read.expires_at == pytest.approx(answer.expires_at, abs=0.002)


@given(st.binary(max_size=64))
def test_foreign_bytes_are_a_miss_or_an_answer_but_never_an_error(garbage: bytes) -> None:
    read = decode(garbage, now=NOW, server_now=SERVER)
    assert read is None or type(read.value) is bytes


@pytest.mark.parametrize(
    "damaged",
    [
        pytest.param(b"", id="empty"),
        pytest.param(raw()[:21], id="cut-off-header"),
        pytest.param(b"\x02" + raw()[1:], id="later-version"),
        pytest.param(raw()[:1] + b"\x80" + raw()[2:], id="unknown-flag"),
        pytest.param(raw(expires_at=NOW), id="over"),
        pytest.param(b"\x80\x05\x95cposix\nsystem\n" + b"." * 20, id="pickle"),
    ],
)
def test_what_is_not_understood_is_a_miss(damaged: bytes) -> None:
    assert decode(damaged, now=NOW, server_now=SERVER) is None


def test_age_counts_from_the_making_and_is_never_negative() -> None:
    answer = Answer(b"v", expires_at=160.0, ttl_seconds=60.0, cost_seconds=0.0)
    assert [answer.age(now) for now in (99.0, 100.0, 130.0)] == [0.0, 0.0, 30.0]

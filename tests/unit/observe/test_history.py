"""The past from Prometheus: in pieces, and never more than what can be believed."""

from datetime import datetime
from typing import Any

import pytest
from prometheus_api_client import PrometheusApiClientException

from generation_operator.api.resource import Key
from generation_operator.observe.history import HistoryError, PrometheusHistory, parse_matrix

KEY = Key("n", "a")
METRIC = {"namespace": "n", "service": "a"}


class Client:
    """Answers with the slot's number as the rate."""

    def __init__(self) -> None:
        self.asked: list[tuple[float, float, str]] = []
        self.closed = False

    def custom_query_range(self, query: str, start_time: datetime, end_time: datetime, step: str) -> object:
        assert "workflows_arrived_total[300s]" in query
        first, last = start_time.timestamp(), end_time.timestamp()
        self.asked.append((first, last, step))
        samples = [[at, str(at / 300 - 1)] for at in range(int(first), int(last) + 1, 300)]
        return [{"metric": METRIC, "values": samples}]

    def close(self) -> None:
        self.closed = True


async def test_slots_are_asked_for_in_pieces_at_their_ends() -> None:
    client = Client()
    history = PrometheusHistory(lambda _: client, points=20, pause_seconds=0)
    found = await history.read("http://p", range(1000, 1005), services=10, own={})
    assert client.asked == [(300300, 300600, "300"), (300900, 301200, "300"), (301500, 301500, "300")]
    assert found == {KEY: {slot: float(slot) for slot in range(1000, 1005)}}
    assert client.closed


class Broken(Client):
    def custom_query_range(self, query: str, start_time: datetime, end_time: datetime, step: str) -> object:
        raise OSError("http://user:password@p is not there")


async def test_a_failure_says_what_kind_it_is_and_nothing_secret() -> None:
    with pytest.raises(HistoryError, match=r"^OSError$"):
        await PrometheusHistory(lambda _: Broken()).read("http://p", range(1, 3), services=1, own={})


class Own(Client):
    """Answers an own query with what a test says."""

    def __init__(self, result: object) -> None:
        super().__init__()
        self._result = result

    def custom_query_range(self, query: str, start_time: datetime, end_time: datetime, step: str) -> object:
        if query != "jobs":
            return super().custom_query_range(query, start_time, end_time, step)
        if isinstance(self._result, Exception):
            raise self._result
        return self._result


OTHER = Key("n", "other")


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ([{"metric": {}, "values": [[300300, "1.5"], [300600, "NaN"], [300900, "2"]]}], {1000: 1.5, 1002: 2.0}),
        ([], {}),
        ([{"metric": {"a": "1"}, "values": []}, {"metric": {"a": "2"}, "values": []}], {}),
        (PrometheusApiClientException("HTTP Status Code 400 (b'bad')"), {}),
    ],
)
async def test_an_own_query_is_asked_for_its_service_alone(result: object, expected: dict[int, float]) -> None:
    history = PrometheusHistory(lambda _: Own(result), points=20, pause_seconds=0)
    found = await history.read("http://p", range(1000, 1003), services=1, own={OTHER: "jobs"})
    assert found[OTHER] == expected
    assert found[KEY] == {slot: float(slot) for slot in range(1000, 1003)}


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ([], {}),
        ([{"metric": METRIC, "values": [[600, "2.5"], [900, "NaN"], [1200, "-1"], [1500, "+Inf"]]}], {KEY: {1: 2.5}}),
        ([{"metric": {}, "values": [[600, "1"]]}], {}),
    ],
)
def test_matrix(result: Any, expected: Any) -> None:
    assert parse_matrix(result, 300.0) == expected


@pytest.mark.parametrize("result", [None, {}, [1], [{"metric": METRIC}], [{"metric": METRIC, "values": [["x", "1"]]}]])
def test_what_is_no_matrix_is_refused(result: Any) -> None:
    with pytest.raises(ValueError, match=r"not a matrix|could not convert"):
        parse_matrix(result, 300.0)

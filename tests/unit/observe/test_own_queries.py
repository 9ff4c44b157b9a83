"""Queries that resources bring themselves."""

import asyncio
import threading
from collections.abc import Mapping

import pytest
from prometheus_api_client import PrometheusApiClientException

from generation_operator.api.resource import Key
from generation_operator.decide.types import SignalName
from generation_operator.observe.own_queries import Own, OwnQueries, SeveralSeriesError, one_number

A, B = Key("x", "a"), Key("y", "b")
QUEUE, RATE = SignalName.QUEUE_LENGTH, SignalName.REQUEST_RATE


class FakeClient:
    """Answers by the text of the query; an exception is raised, an event waited for."""

    def __init__(self, answers: Mapping[str, object]) -> None:
        self._answers = answers
        self.asked: list[str] = []

    def custom_query(self, query: str) -> object:
        self.asked.append(query)
        answer = self._answers[query]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, threading.Event):
            answer.wait(5)
            return []
        return answer


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def series(*values: str) -> list[dict[str, object]]:
    return [{"metric": {}, "value": [1_700_000_000, value]} for value in values]


@pytest.mark.parametrize(
    ("result", "number"),
    [([], None), (series("3"), 3.0), ([1_700_000_000.5, "4"], 4.0), (series("+Inf"), float("inf"))],
)
def test_one_number_is_read_from_a_scalar_or_a_single_series(result: object, number: float | None) -> None:
    assert one_number(result) == number


@pytest.mark.parametrize("result", [{}, None, "7", [1, 2], [{"values": []}], series("many")])
def test_what_is_no_number_is_an_error(result: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        one_number(result)


def test_which_of_several_series_is_meant_is_not_guessed() -> None:
    with pytest.raises(SeveralSeriesError):
        one_number(series("1", "2"))


async def test_values_are_given_by_resource_and_signal() -> None:
    client, own = FakeClient({"q": series("3"), "r": series("NaN"), "none": []}), OwnQueries(Clock())
    found = await own.ask(client, {A: {QUEUE: "q", RATE: "none"}, B: {RATE: "r"}}, 5.0)
    assert found[A] == Own({QUEUE: 3.0})
    assert str(found[B].values[RATE]) == "nan"
    own.close()


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (PrometheusApiClientException("HTTP Status Code 400 (b'parse error')"), "was refused (HTTP status 400)"),
        (ConnectionRefusedError("detail"), "was not answered (ConnectionRefusedError)"),
        (series("1", "2"), "gives several series; aggregate them to one"),
        ({"secret": 1}, "gives no number"),
    ],
)
async def test_a_query_that_fails_is_named_and_costs_no_other_its_value(answer: object, says: str) -> None:
    client, own = FakeClient({"bad": answer, "good": series("2")}), OwnQueries(Clock())
    found = await own.ask(client, {A: {QUEUE: "bad", RATE: "good"}, B: {RATE: "good"}}, 5.0)
    assert found[A].values == {RATE: 2.0}
    assert (found[A].error or "").startswith(f"QueryFailed: spec.metrics.queries[QueueLength] {says}")
    assert found[B] == Own({RATE: 2.0})
    own.close()


async def test_who_was_not_answered_in_time_is_first_the_next_time() -> None:
    release, clock = threading.Event(), Clock()
    client, own = FakeClient({"slow": release, "also": release, "quick": series("1")}), OwnQueries(clock)
    c = Key("z", "c")
    found = await own.ask(client, {A: {QUEUE: "slow"}, B: {QUEUE: "also"}, c: {QUEUE: "quick"}}, 0.05)
    assert all("not answered in time" in (outcome.error or "") for outcome in found.values())
    release.set()
    await asyncio.sleep(0)
    found = await own.ask(client, {c: {QUEUE: "quick"}}, 5.0)
    assert found[c] == Own({QUEUE: 1.0})
    clock.now += 1
    client.asked.clear()
    await own.ask(client, {A: {QUEUE: "slow"}, B: {QUEUE: "also"}, c: {QUEUE: "quick"}}, 5.0)
    assert client.asked[-1] == "quick"
    own.close()


async def test_nothing_is_asked_for_nobody() -> None:
    own = OwnQueries(Clock())
    assert await own.ask(FakeClient({}), {}, 5.0) == {}
    own.close()

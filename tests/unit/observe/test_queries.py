"""The text of the queries and the reading of instant vectors."""

import math
import re
from typing import Any

import pytest

from generation_operator.api.resource import Key
from generation_operator.decide.signals import DEMAND, REQUIRED
from generation_operator.decide.types import SignalName
from generation_operator.observe.queries import LONG_WINDOWS, Evidence, by_service, missed_over, queries
from prometheus_queries import batch


def entry(value: Any, **labels: str) -> dict[str, Any]:
    return {"metric": labels, "value": [1_700_000_000.1, value]}


def test_there_is_a_query_for_all_that_the_policies_and_their_guards_need() -> None:
    misses = {name for name in SignalName if name.startswith("MissRatio")}
    demand = {*DEMAND, SignalName.WORKFLOW_SERVICE_TIME}
    assert set(batch(60, 60)) == {*REQUIRED, *demand, *misses, SignalName.ERROR_RATIO, *Evidence}


@pytest.mark.parametrize(("name", "seconds"), LONG_WINDOWS.items())
def test_a_miss_ratio_has_the_window_that_its_name_says(name: SignalName, seconds: int) -> None:
    amount, unit = name.removeprefix("MissRatio")[:-1], name[-1]
    assert int(amount) * {"m": 60, "h": 3600}[unit] == seconds
    assert f'increase(generation_service_requests_total{{outcome="error"}}[{seconds}s])' in missed_over(seconds)
    assert f"increase(generation_service_requests_total[{seconds}s])" in missed_over(seconds)


def test_a_rate_joins_with_the_service_of_its_pod() -> None:
    assert queries(75, 60)[SignalName.REQUEST_RATE] == (
        "sum by (namespace, service) (rate(generation_service_requests_total[75s])"
        " * on (namespace, pod) group_left (service)"
        " topk by (namespace, pod) (1, group by (namespace, pod, service) (generation_service_info)))"
    )


def test_a_pod_reports_when_its_newest_sample_is_not_too_old() -> None:
    assert queries(60, 45)[Evidence.REPORTING] == (
        "count by (namespace, service)"
        " (time() - max by (namespace, pod, service) (timestamp(generation_service_info)) <= 45)"
    )


def test_the_window_and_the_age_are_all_that_differs() -> None:
    for query, text in queries(17, 19).items():
        assert re.sub(r"\[17s\]", "[60s]", text).replace("<= 19)", "<= 60)") == queries(60, 60)[query]


def test_values_are_found_by_service() -> None:
    result = [
        entry("1.5", namespace="x", service="a"),
        entry("2", namespace="y", service="a"),
        entry("NaN", namespace="x", service="b"),
        entry("+Inf", namespace="x", service="c"),
    ]
    values = dict(by_service(result))
    assert math.isnan(values.pop(Key("x", "b")))
    assert values == {Key("x", "a"): 1.5, Key("y", "a"): 2.0, Key("x", "c"): math.inf}


def test_samples_of_nobody_are_left_out() -> None:
    assert list(by_service([entry("1"), entry("1", namespace="x"), entry("1", service="a")])) == []


@pytest.mark.parametrize(
    "result",
    [
        None,
        "up",
        {"a": 1},
        [1_700_000_000.1, "1"],  # a scalar
        [{"metric": {}, "values": [[1, "1"]]}],  # a matrix
        [{"metric": {}, "histogram": [1, {}]}],
        [{"metric": None, "value": [1, "1"]}],
        [{"metric": {"namespace": "x", "service": "a"}, "value": [1]}],
        [{"metric": {"namespace": "x", "service": "a"}, "value": [1, 2]}],
        [{"metric": {"namespace": "x", "service": "a"}, "value": [1, "many"]}],
    ],
)
def test_what_is_no_instant_vector_is_refused(result: object) -> None:
    with pytest.raises(ValueError, match=r"instant vector|float"):
        list(by_service(result))

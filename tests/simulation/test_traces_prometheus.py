"""Saved answers of Prometheus range queries."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from generation_operator.simulate import traces


def series(values: list[Any], *, start: float = 1_700_000_000, step: float = 15, name: str = "") -> dict[str, Any]:
    metric = {"__name__": name} if name else {}
    return {"metric": metric, "values": [[start + step * row, str(value)] for row, value in enumerate(values)]}


def answer(*result: dict[str, Any], **replaced: Any) -> dict[str, Any]:
    return {"status": "success", "data": {"resultType": "matrix", "result": list(result), **replaced}}


def read(folder: Path, content: object, how: str | None = None, indent: int | None = None) -> traces.CountTrace:
    path = folder / "export.json"
    text = content if isinstance(content, str | bytes) else json.dumps(content, indent=indent)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    source = traces.read(path, how)
    assert isinstance(source, traces.CountTrace)
    return source


@pytest.mark.parametrize("indent", [None, 2])
def test_a_rate_becomes_counts_per_step(tmp_path: Path, indent: int | None) -> None:
    source = read(tmp_path, answer(series([2, 4.5, "3"])), indent=indent)
    assert source.edges.tolist() == [0.0, 15.0, 30.0, 45.0]
    assert source.counts.tolist() == [30.0, 67.5, 45.0]
    assert source.repairs == ()


def test_the_data_alone_will_do(tmp_path: Path) -> None:
    assert read(tmp_path, answer(series([2, 4]))["data"]).counts.tolist() == [30.0, 60.0]


def test_series_are_added_up_also_where_one_begins_later(tmp_path: Path) -> None:
    late = series([1.0], start=1_700_000_015)
    source = read(tmp_path, answer(series([2, 4, 6]), late))
    assert source.counts.tolist() == [30.0, 75.0, 90.0]
    assert source.repairs == ("2 series added up",)


def test_samples_that_are_no_number_are_holes(tmp_path: Path) -> None:
    source = read(tmp_path, answer(series([2, 2, "NaN", 4, 4])))
    assert source.counts.tolist() == [30.0, 30.0, 45.0, 60.0, 60.0]
    assert source.repairs == ("1 holes in the data (15 s in all) are bridged by straight lines",)


def test_a_counter_is_known_by_its_name(tmp_path: Path) -> None:
    source = read(tmp_path, answer(series([100, 130, 130], name="nginx_http_requests_total")))
    assert source.edges.tolist() == [0.0, 15.0, 30.0]
    assert source.counts.tolist() == [30.0, 0.0]


def test_a_sum_of_counters_is_known_by_its_numbers(tmp_path: Path) -> None:
    source = read(tmp_path, answer(series([100 + 7 * row for row in range(12)])))
    assert source.counts.tolist() == [7.0] * 11
    assert source.repairs == ("taken as a counter, which only rises (say prometheus-rate if it is a rate)",)


@pytest.mark.parametrize(
    "values", [[5] * 20, [5, 6, 5, 7, 6, 8, 7, 9, 8, 9, 9, 10], [0.5 * row for row in range(20)], [1, 2, 3]]
)
def test_a_rate_is_not_mistaken_for_a_counter(tmp_path: Path, values: list[float]) -> None:
    np.testing.assert_allclose(read(tmp_path, answer(series(values))).counts, 15 * np.array(values))


def test_what_a_file_holds_can_be_said(tmp_path: Path) -> None:
    content = answer(series([100 + 7 * row for row in range(12)], name="requests_total"))
    assert read(tmp_path, content, "prometheus-rate").counts[0] == 1500.0
    assert read(tmp_path, answer(series([1, 4, 6])), "prometheus-counter").counts.tolist() == [3.0, 2.0]


def test_a_counter_that_begins_anew_has_counted_what_it_shows(tmp_path: Path) -> None:
    source = read(tmp_path, answer(series([90, 100, 4, 10], name="x_total")))
    assert source.counts.tolist() == [10.0, 4.0, 6.0]
    assert source.repairs == ("1 counter resets",)


def test_a_counter_with_a_hole_spreads_what_it_missed(tmp_path: Path) -> None:
    source = read(tmp_path, answer(series([0, 10, "NaN", 50], name="x_total"), series([0, 0, 0, 0], name="x_total")))
    assert source.counts.tolist() == [10.0, 20.0, 20.0]


def test_an_export_of_one_long_line_is_told_by_its_beginning(tmp_path: Path) -> None:
    assert len(read(tmp_path, answer(series([1.5] * 10_000))).counts) == 10_000


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param('{"status":"success","data":{', "line 1: is not JSON", id="cut off"),
        pytest.param(
            {"status": "error", "error": "bad query", "data": {}}, "refused the query: bad query", id="an error"
        ),
        pytest.param(answer(resultType="vector"), "data.resultType: is 'vector', not 'matrix'", id="an instant query"),
        pytest.param(answer(result=5), "data.result: is not a list", id="no list"),
        pytest.param(answer(), "data.result: has no samples", id="no series"),
        pytest.param(answer(series([math.nan, math.nan])), "data.result: has no samples", id="nothing known"),
        pytest.param(answer(series([1])), "samples of one moment only", id="one sample"),
        pytest.param(answer({"metric": {}}), "data.result[0].values: is not a list", id="no values"),
        pytest.param(answer(series([1, "many"])), "data.result[0].values[1]: is", id="a word"),
        pytest.param(answer({"metric": {}, "values": [[1, "1"], 5]}), "data.result[0].values[1]: is 5", id="a number"),
        pytest.param(answer(series([1, "+Inf"])), "data.result[0].values[1]:", id="infinite"),
        pytest.param(answer(series([1, 2], step=-15)), "data.result[0].values: times do not rise", id="backwards"),
        pytest.param(answer(series([1, 2]), series([1, -2])), "data.result[1]: a rate below 0", id="negative"),
        pytest.param(answer(series([1, 2], step=1e9)), "spans 11,574 days", id="decades"),
        pytest.param('{"status":"success",' + '"a":' + "[" * 60_000, "export.json", id="nested without end"),
        pytest.param("[1, 2]", "export.json: is not a JSON object", id="a list"),
        pytest.param(b'{"status":"success","a":"\xff"}', "is not UTF-8 text", id="not UTF-8"),
    ],
)
def test_what_is_no_range_query_is_refused_with_the_field(tmp_path: Path, content: object, says: str) -> None:
    with pytest.raises(traces.TraceError) as refusal:
        read(tmp_path, content, "prometheus")
    assert says in str(refusal.value)
    assert "export.json" in str(refusal.value)


def test_a_document_has_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    path.write_text(json.dumps(answer(series([1] * 100))), encoding="utf-8")
    with pytest.raises(traces.TraceError, match="is larger than 1,000 bytes; export a shorter range"):
        traces.read(path, limits=traces.Limits(document_bytes=1000))

"""Access logs of nginx, Envoy and JSON writers: when requests came and how long they took."""

import math
from pathlib import Path

import numpy as np
import pytest

from generation_operator.simulate import traces

COMBINED = '203.0.113.7 - - [10/Oct/2024:13:55:{:02d} +0000] "GET /a HTTP/1.1" 200 23 "-" "curl/8"'
ENVOY = (
    '[2024-10-10T13:55:{:06.3f}Z] "POST /a HTTP/2" 200 - 154 0 {} 100 "10.0.35.28" "agent" "id" "host" '
    '"tcp://10.0.2.1:80"'
)
ISTIO = (
    '[2024-10-10T13:55:{:06.3f}Z] "POST /a HTTP/2" 200 - via_upstream - "-" 154 0 {} 100 "10.0.35.28" "agent" "id" '
    '"host" "10.0.2.1:80" outbound|80||a.svc 10.0.0.1:5 10.0.0.2:6 10.0.0.3:7 - default'
)


def read_log(folder: Path, *lines: str) -> traces.RequestTrace:
    path = folder / "access.log"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    source = traces.read(path)
    assert isinstance(source, traces.RequestTrace)
    return source


def service_of(source: traces.RequestTrace) -> list[float]:
    assert source.service is not None
    return [float(seconds) for seconds in source.service]


def test_combined_logs_have_a_resolution_of_a_second_and_no_service_times(tmp_path: Path) -> None:
    source = read_log(tmp_path, COMBINED.format(1), COMBINED.format(1), COMBINED.format(4))
    assert source.arrivals.tolist() == [0.0, 0.0, 3.0]
    assert source.service is None
    assert source.resolution == 1.0
    assert source.repairs == ("times are whole seconds, requests are spread within their second",)


@pytest.mark.parametrize(
    "suffix", [" 2.500", " 2.500 0.120", " rt=2.500 uct=0.1", ' request_time="2.500"', " request_time=2.500, x=1"]
)
def test_nginx_stamps_the_end_so_a_request_came_that_much_earlier(tmp_path: Path, suffix: str) -> None:
    source = read_log(tmp_path, COMBINED.format(10) + suffix, COMBINED.format(20) + suffix)
    assert source.arrivals.tolist() == [0.5, 10.5]
    assert service_of(source) == [2.5, 2.5]


@pytest.mark.parametrize("line", [ENVOY, ISTIO])
def test_envoy_stamps_the_start_and_gives_milliseconds(tmp_path: Path, line: str) -> None:
    source = read_log(tmp_path, line.format(5.25, 2500), line.format(6.5, 40))
    assert source.arrivals.tolist() == pytest.approx([0.25, 1.5])
    assert service_of(source) == [2.5, 0.04]
    assert source.resolution == 0.0


@pytest.mark.parametrize(
    ("lines", "arrivals", "service"),
    [
        pytest.param(
            (
                '{"start_time":"2024-10-10T13:55:05.250Z","duration":2500}',
                '{"start_time":"2024-10-10T15:55:06.500+02:00","duration":"40"}',
            ),
            [0.25, 1.5],
            [2.5, 0.04],
            id="Envoy",
        ),
        pytest.param(
            (
                '{"time":"2024-10-10T13:55:05+00:00","request_time":0.5}',
                '{"time":"2024-10-10T13:55:06Z","request_time":"0.25"}',
            ),
            [0.5, 1.75],
            [0.5, 0.25],
            id="nginx with time_iso8601",
        ),
        pytest.param(
            ('{"msec":"1700000000.125","request_time":"-"}', '{"msec":1700000001.5,"request_time":0.25}'),
            [0.125, 1.25],
            [math.nan, 0.25],
            id="nginx with msec, one without a duration",
        ),
        pytest.param(
            ('{"timestamp":1700000000250,"status":"200"}', '{"timestamp":1700000001500,"status":"200"}'),
            [0.25, 1.5],
            None,
            id="milliseconds since 1970",
        ),
        pytest.param(
            ('{"time_local":"10/Oct/2024:13:55:05 +0000"}', '{"time_local":"10/Oct/2024:13:55:06 +0000"}'),
            [0.0, 1.0],
            None,
            id="time_local",
        ),
    ],
)
def test_json_logs(tmp_path: Path, lines: tuple[str, ...], arrivals: list[float], service: list[float] | None) -> None:
    source = read_log(tmp_path, *lines)
    assert source.arrivals.tolist() == pytest.approx(arrivals)
    if service is None:
        assert source.service is None
    else:
        np.testing.assert_allclose(service_of(source), service)


def test_time_zones_are_honoured_so_a_change_of_clock_is_no_jump(tmp_path: Path) -> None:
    before = '1.2.3.4 - - [27/Oct/2024:02:59:59 +0200] "GET / HTTP/1.1" 200 1'
    after = '1.2.3.4 - - [27/Oct/2024:02:00:01 +0100] "GET / HTTP/1.1" 200 1'
    half = '1.2.3.4 - - [27/Oct/2024:06:30:03 +0530] "GET / HTTP/1.1" 200 1'
    west = '1.2.3.4 - - [26/Oct/2024:21:30:05 -0330] "GET / HTTP/1.1" 200 1'
    source = read_log(tmp_path, before, after, half, west)
    assert source.arrivals.tolist() == [0.0, 2.0, 4.0, 6.0]
    assert not any("back in time" in repair for repair in source.repairs)


def test_lines_that_go_back_in_time_are_sorted_and_counted(tmp_path: Path) -> None:
    source = read_log(tmp_path, COMBINED.format(9), COMBINED.format(3), COMBINED.format(5))
    assert source.arrivals.tolist() == [0.0, 2.0, 6.0]
    assert source.repairs[0] == "1 lines go back in time, sorted"


def test_a_few_broken_lines_are_skipped_and_the_first_is_named(tmp_path: Path) -> None:
    lines = [COMBINED.format(i % 60) for i in range(50)]
    source = read_log(tmp_path, *lines, "what is this", *lines, *lines)
    assert len(source.arrivals) == 150
    assert "1 lines without a request skipped, the first is line 51" in source.repairs


def test_a_log_that_is_still_being_written_may_end_in_the_middle_of_a_line(tmp_path: Path) -> None:
    source = read_log(tmp_path, COMBINED.format(1), COMBINED.format(2), COMBINED.format(3)[:22])
    assert len(source.arrivals) == 2


def test_bytes_that_are_not_text_do_not_hide_the_other_lines(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_bytes(
        COMBINED.format(1).encode() + b"\n" + COMBINED.format(2).encode().replace(b"curl", b"\xff\xfe") + b"\n"
    )
    source = traces.read(path)
    assert isinstance(source, traces.RequestTrace)
    assert len(source.arrivals) == 2


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        pytest.param(
            (COMBINED.format(1), "nonsense", COMBINED.format(2)),
            "line 2: no time of a request in it (1 of the 3",
            id="one of three",
        ),
        pytest.param(
            (COMBINED.format(1), COMBINED.replace("Oct", "Okt").format(2), COMBINED.format(2)),
            "line 2: no time of a request",
            id="a month in another language",
        ),
        pytest.param(
            (COMBINED.format(1), COMBINED.replace("10/Oct", "31/Feb").format(2), COMBINED.format(2)),
            "line 2: no time of a request",
            id="a day that does not exist",
        ),
        pytest.param(
            (COMBINED.format(1), COMBINED.replace("2024", "1994").format(2)), "spans 10,958 days", id="a wrong year"
        ),
        pytest.param(('{"level":"info","msg":"hello"}',), "neither a Prometheus", id="a JSON log of something else"),
        pytest.param(
            ('2024-10-10 13:55:05,123 INFO the "thing" works',), "no known kind of trace", id="a log of something else"
        ),
    ],
)
def test_a_log_that_is_not_understood_is_refused_with_its_first_such_line(
    tmp_path: Path, lines: tuple[str, ...], says: str
) -> None:
    with pytest.raises(traces.TraceError) as refusal:
        read_log(tmp_path, *lines)
    assert says in str(refusal.value)
    assert "access.log" in str(refusal.value)


@pytest.mark.parametrize("took", ["999999999", "1e400", "-5"])
def test_a_duration_that_cannot_be_is_unknown(tmp_path: Path, took: str) -> None:
    source = read_log(
        tmp_path,
        f'{{"time":"2024-10-10T13:55:05Z","request_time":"{took}"}}',
        '{"time":"2024-10-10T13:55:06Z","request_time":"0.5"}',
    )
    np.testing.assert_array_equal(service_of(source), [np.nan, 0.5])


def test_a_log_has_a_limit_too(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_text("".join(COMBINED.format(second) + "\n" for second in range(4)), encoding="utf-8")
    with pytest.raises(traces.TraceError, match="line 4: more than 3 requests; cut the log"):
        traces.read(path, limits=traces.Limits(requests=3))


def test_a_log_of_nothing_but_broken_lines_is_given_up_early(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_text(COMBINED.format(1) + "\n" + "x\n" * 10_500, encoding="utf-8")
    with pytest.raises(traces.TraceError, match=r"line 2: .*10000 of the 10001 lines"):
        traces.read(path)

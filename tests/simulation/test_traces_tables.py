"""CSV traces: what is read, what is mended and said, what is refused and with which words."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from generation_operator.simulate import traces


def written(folder: Path, content: str | bytes, name: str = "trace.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read_requests(folder: Path, content: str | bytes) -> traces.RequestTrace:
    source = traces.read(written(folder, content))
    assert isinstance(source, traces.RequestTrace)
    return source


def read_counts(folder: Path, content: str | bytes) -> traces.CountTrace:
    source = traces.read(written(folder, content))
    assert isinstance(source, traces.CountTrace)
    return source


def test_requests_with_own_times_and_tokens_are_read_whatever_the_order_of_columns(tmp_path: Path) -> None:
    source = read_requests(tmp_path, "kind,output_tokens,Arrival_S,exec_s,input_tokens\na,5,0.5,2,10\nb,6,1.25,3,11\n")
    assert source.arrivals.tolist() == [0.5, 1.25]
    assert source.service is not None
    assert source.service.tolist() == [2.0, 3.0]
    assert source.input_tokens is not None
    assert source.input_tokens.tolist() == [10.0, 11.0]
    assert source.output_tokens is not None
    assert source.output_tokens.tolist() == [5.0, 6.0]
    assert (source.duration, source.resolution, source.repairs) == (2.0, 0.0, ())


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("arrival_s\r\n0.5\r\n1.5\r\n", id="CRLF"),
        pytest.param("\ufeffarrival_s\n0.5\n1.5\n", id="BOM"),
        pytest.param(
            "\n# made by hand\narrival_s\n\n0.5\n  # half time\n1.5", id="blank lines, comments, no last newline"
        ),
        pytest.param('"arrival_s"\n"0.5"\n 1.5 \n', id="quotes and spaces"),
        pytest.param(gzip.compress(b"arrival_s\n0.5\n") + gzip.compress(b"1.5\n"), id="two gzip members"),
    ],
)
def test_harmless_variations_are_read_without_a_word(tmp_path: Path, content: str | bytes) -> None:
    source = read_requests(tmp_path, content)
    assert source.arrivals.tolist() == [0.5, 1.5]
    assert source.repairs == ()


def test_rows_out_of_order_are_sorted_with_everything_that_belongs_to_them(tmp_path: Path) -> None:
    source = read_requests(tmp_path, "arrival_s,exec_s\n3.5,30\n1.5,10\n2.5,20\n")
    assert source.arrivals.tolist() == [1.5, 2.5, 3.5]
    assert source.service is not None
    assert source.service.tolist() == [10.0, 20.0, 30.0]
    assert source.repairs == ("1 rows out of order, sorted",)


def test_requests_that_never_ran_have_an_unknown_service_time(tmp_path: Path) -> None:
    source = read_requests(tmp_path, "arrival_s,exec_s\n0.5,0\n1.5,\n2.5,4\n")
    assert source.service is not None
    np.testing.assert_array_equal(source.service, [np.nan, np.nan, 4.0])
    assert source.repairs == ("2 rows without exec_s, drawn from the others",)


def test_a_column_of_service_times_without_any_counts_as_not_recorded(tmp_path: Path) -> None:
    assert read_requests(tmp_path, "arrival_s,exec_s\n0.5,0\n1.5,\n").service is None


def test_times_since_1970_are_counted_from_the_first(tmp_path: Path) -> None:
    source = read_requests(tmp_path, "arrival_s\n1700000000.25\n1700000001.5\n")
    assert source.arrivals.tolist() == [0.25, 1.5]
    assert "since 1970" in source.repairs[0]


def test_whole_seconds_are_known_to_be_coarse(tmp_path: Path) -> None:
    source = read_requests(tmp_path, "arrival_s\n0\n1.000\n1\n")
    assert source.resolution == 1.0
    assert source.duration == 2.0


def test_a_repeated_header_is_skipped_and_said(tmp_path: Path) -> None:
    source = read_requests(tmp_path, "arrival_s\n0.5\narrival_s\n1.5\n")
    assert source.arrivals.tolist() == [0.5, 1.5]
    assert source.repairs == ("1 repeated header lines skipped",)


def test_counts_become_bins_that_touch(tmp_path: Path) -> None:
    source = read_counts(tmp_path, "t_s,count,utc\n0,6,a\n60,12,b\n120,0,c\n")
    assert source.edges.tolist() == [0.0, 60.0, 120.0, 180.0]
    assert source.counts.tolist() == [6.0, 12.0, 0.0]
    assert source.duration == 180.0


def test_a_hole_in_counts_is_bridged_by_the_mean_of_its_neighbours(tmp_path: Path) -> None:
    source = read_counts(tmp_path, "t_s,count\n0,10\n10,20\n40,40\n50,40\n")
    assert source.edges.tolist() == [0.0, 10.0, 20.0, 40.0, 50.0, 60.0]
    assert source.counts.tolist() == [10.0, 20.0, 60.0, 40.0, 40.0]
    assert source.repairs == ("1 holes in the data (20 s in all) are bridged by straight lines",)


def test_counts_may_be_stamped_with_seconds_since_1970(tmp_path: Path) -> None:
    source = read_counts(tmp_path, "t_s,count\n1700000000,1\n1700000060,2\n")
    assert source.edges.tolist() == [0.0, 60.0, 120.0]
    assert "since 1970" in source.repairs[0]


def test_counts_out_of_order_are_sorted_and_said(tmp_path: Path) -> None:
    source = read_counts(tmp_path, "t_s,count\n60,2\n0,1\n")
    assert source.counts.tolist() == [1.0, 2.0]
    assert source.repairs == ("1 rows out of order, sorted",)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param("", "trace.csv: is empty", id="no bytes"),
        pytest.param("\n\n# nothing\n", "trace.csv: is empty", id="only comments"),
        pytest.param("arrival_s\n", "trace.csv: has no requests", id="header only"),
        pytest.param("t_s,count\n", "has 0 bins; two at least", id="header of counts only"),
        pytest.param("t_s,count\n0,5\n", "has 1 bins; two at least", id="one bin"),
        pytest.param("arrival_s\n0.5\n-1\n", "line 3: arrival_s is -1, below 0", id="negative"),
        pytest.param("arrival_s\n0.5\nnan\n", "line 3: arrival_s is nan, not a finite number", id="NaN"),
        pytest.param("arrival_s\n0.5\ninf\n", "line 3: arrival_s is inf, not a finite number", id="infinite"),
        pytest.param("arrival_s\n0.5\n1e300\n", "line 3: arrival_s is 1e+300, larger than", id="huge"),
        pytest.param("arrival_s\n0.5\nsoon\n", "line 3: arrival_s is 'soon', not a number", id="a word"),
        pytest.param("arrival_s,x\n0.5,1\n,1\n", "line 3: arrival_s is empty", id="an empty cell"),
        pytest.param("arrival_s,x\n0.5\n", "line 2: has 1 cells, the header has 2", id="too few cells"),
        pytest.param("arrival_s\n0,5\n", "line 2: has 2 cells, the header has 1", id="decimal comma"),
        pytest.param('arrival_s,x\n0.5,"a\n1.5,b"\n', "line 2: is not CSV", id="a quotation over two lines"),
        pytest.param("arrival_s,exec_s\n0.5,-2\n", "line 2: exec_s is -2, below 0", id="negative service"),
        pytest.param("arrival_s,arrival_s\n0,0\n", "line 1: column 'arrival_s' occurs twice", id="a column twice"),
        pytest.param("arrival_s,input_tokens\n0,5\n", "'input_tokens' needs 'output_tokens'", id="half the tokens"),
        pytest.param("t_s,requests\n0,5\n", "line 1: column 'count' is missing (found: t_s, requests)", id="no counts"),
        pytest.param("arrival_s;exec_s\n0;1\n", "no known kind of trace", id="semicolons"),
        pytest.param("0.5\n1.5\n", "starts with '0.5', which is no known kind of trace", id="no header"),
        pytest.param("t_s,count\n0,5\n60,nan\n", "line 3: count is nan", id="NaN count"),
        pytest.param("t_s,count\n0,5\n60,-1\n", "line 3: count is -1, below 0", id="negative count"),
        pytest.param("t_s,count\n0,5\n60,1\n60,1\n", "t_s 60 occurs twice", id="a bin twice"),
        pytest.param("t_s,count\n0,5\n1e-9,1\n", "shorter than a millisecond", id="a bin of no length"),
        pytest.param("arrival_s\n0\n1e9\n", "spans 11,574 days", id="decades"),
        pytest.param("t_s,count\n0,1\n60,1\n1e9,1\n", "spans 11,574 days", id="decades of bins"),
        pytest.param(b"arrival_s\n0.5\n\xff\xfe\n", "line 3: is not UTF-8 text", id="not UTF-8"),
        pytest.param("arrival_s\n0.5\n".encode("utf-16"), "is UTF-16 text; convert", id="UTF-16"),
        pytest.param(b"BZh91AY", "is packed with bzip2; unpack it", id="bzip2"),
        pytest.param(gzip.compress(b"arrival_s\n0.5\n")[:-6], "is a damaged gzip file", id="a gzip cut off"),
        pytest.param(
            gzip.compress(b"arrival_s\n0.5\n")[:12] + b"\x00\xff" * 20,
            "is a damaged gzip file",
            id="a gzip overwritten",
        ),
        pytest.param("arrival_s\n" + "1" * 70_000, "line 2: is longer than 65,536 bytes", id="an endless line"),
    ],
)
def test_what_cannot_be_used_is_refused_with_place_and_reason(tmp_path: Path, content: str | bytes, says: str) -> None:
    with pytest.raises(traces.TraceError) as refusal:
        traces.read(written(tmp_path, content))
    assert says in str(refusal.value)
    assert "trace.csv" in str(refusal.value)
    assert ";" in str(refusal.value) or "at least" in str(refusal.value), "a refusal has a remedy"


@pytest.mark.parametrize(
    ("limits", "content", "says"),
    [
        pytest.param(traces.Limits(requests=2), b"arrival_s\n1\n2\n3\n", "line 4: more than 2 rows", id="rows"),
        pytest.param(traces.Limits(total_bytes=20), b"arrival_s\n1\n2\n3\n4\n5\n6\n", "too large", id="bytes"),
        pytest.param(
            traces.Limits(skipped_lines=9), b"arrival_s\n1\n" + b"\n" * 20, "line 12: more than 9 blank", id="blanks"
        ),
        pytest.param(
            traces.Limits(total_bytes=10_000_000),
            gzip.compress(b"arrival_s\n" + b"#" * 60_000 + (b"\n" + b"#" * 60_000) * 400),
            "too large (10,000,000 bytes unpacked",
            id="a decompression bomb",
        ),
    ],
)
def test_reading_is_bounded(tmp_path: Path, limits: traces.Limits, content: bytes, says: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(traces.TraceError) as refusal:
        traces.read(path, "requests", limits=limits)
    assert says in str(refusal.value)


def test_a_file_without_a_header_is_empty_also_when_its_format_is_named(tmp_path: Path) -> None:
    with pytest.raises(traces.TraceError, match=r"trace\.csv: is empty"):
        traces.read(written(tmp_path, "\n# nothing\n"), "counts")


def test_a_name_that_promises_gzip_is_held_to_it(tmp_path: Path) -> None:
    with pytest.raises(traces.TraceError, match="is not a gzip file although its name says so"):
        traces.read(written(tmp_path, "arrival_s\n0\n", "trace.csv.gz"))


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(traces.TraceError, match=r"absent\.csv: cannot be read: No such file"):
        traces.read(tmp_path / "absent.csv")
    with pytest.raises(traces.TraceError, match="cannot be read: Is a directory"):
        traces.read(tmp_path)


def test_a_format_can_be_named_and_a_wrong_name_is_answered_with_the_right_ones(tmp_path: Path) -> None:
    path = written(tmp_path, "arrival_s,t_s,count\n0.5,0,1\n1.5,60,2\n")
    assert isinstance(traces.read(path), traces.RequestTrace)
    assert isinstance(traces.read(path, traces.Format.COUNTS), traces.CountTrace)
    with pytest.raises(traces.TraceError, match=r"format 'parquet' is unknown; choose one of requests, counts,"):
        traces.read(path, "parquet")

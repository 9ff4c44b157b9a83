"""The load generator: plans, traces, live figures, failures by kind, and addresses it refuses."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port
from hypothesis import given
from hypothesis import strategies as st

from demo.arrivals import from_profile, from_trace, read_trace
from demo.load import Load, LoadError, LoadSettings, Profile, Spacing, Statistics, checked_url, main, quantile

FAST = LoadSettings(profile=Profile(((0, 50), (0.4, 50))), spacing=Spacing.EVEN, timeout_seconds=5)  # 20 requests


@asynccontextmanager
async def answering(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/v1/workflows", handler)
    async with TestServer(app) as server:
        yield str(server.make_url("/v1/workflows"))


async def ok(request: web.Request) -> web.Response:
    await request.read()
    return web.json_response({})


# --- plans


def test_even_arrivals_follow_the_line() -> None:
    steady = list(from_profile(Profile(((0, 2), (3, 2))), Spacing.EVEN, seed=1))
    assert steady == pytest.approx([0.25, 0.75, 1.25, 1.75, 2.25, 2.75])
    rising = list(from_profile(Profile(((0, 0), (4, 2))), Spacing.EVEN, seed=1))  # t²/4 requests after t seconds
    assert rising == pytest.approx([2**0.5, 6**0.5, 10**0.5, 14**0.5])


def test_arrivals_go_on_after_a_pause_and_over_a_corner() -> None:
    arrivals = list(from_profile(Profile(((0, 1), (2, 1), (3, 0), (9, 0), (10, 2), (11, 2))), Spacing.EVEN, seed=1))
    assert arrivals == pytest.approx([0.5, 1.5, 3, 10, 10.5, 11])  # after 2 + 0.5 + 0 + 1 + 2 requests it is over


def test_poisson_arrivals_have_the_rate_and_repeat_with_their_seed() -> None:
    profile = Profile(((0, 100), (50, 100)))
    arrivals = list(from_profile(profile, Spacing.POISSON, seed=7))
    assert len(arrivals) == pytest.approx(5000, abs=250)
    assert arrivals == list(from_profile(profile, Spacing.POISSON, seed=7))
    assert arrivals != list(from_profile(profile, Spacing.POISSON, seed=8))
    gaps = [later - earlier for earlier, later in pairwise(arrivals)]
    mean = sum(gaps) / len(gaps)
    deviation = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert deviation / mean == pytest.approx(1, abs=0.1)  # of an exponential distribution


RATES = st.lists(st.floats(0, 50), min_size=2, max_size=6).filter(lambda rates: max(rates) > 0)


@given(rates=RATES, step=st.floats(0.1, 5), seed=st.integers(0, 100), spacing=st.sampled_from(Spacing))
def test_arrivals_are_ascending_and_inside_the_profile(
    rates: list[float], step: float, seed: int, spacing: Spacing
) -> None:
    profile = Profile(tuple((index * step, rate) for index, rate in enumerate(rates)))
    arrivals = list(from_profile(profile, spacing, seed))
    assert all(earlier <= later + 1e-6 for earlier, later in pairwise(arrivals))
    assert all(0 <= arrival <= profile.seconds + 1e-6 for arrival in arrivals)
    if spacing is Spacing.EVEN:
        area = sum((one + two) / 2 * step for one, two in pairwise(rates))
        assert abs(len(arrivals) - area) <= 1


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "point 1: '' is not seconds:rate"),
        ("0:10,30", "point 2: '30' is not seconds:rate"),
        ("0:10,x:1", "point 2: 'x:1' is not seconds:rate"),
        ("0:10", "at least two points"),
        ("5:10,9:10", "starts at second 0"),
        ("0:10,0:20", "point 2: 0 s does not come after 0 s"),
        ("0:10,9:10,4:1", "point 3: 4 s does not come after 9 s"),
        ("0:10,9:-1", "point 2: rate -1 is outside"),
        ("0:nan,9:1", "point 1: rate nan is outside"),
        ("0:1,9:1e9", "point 2: rate 1e\\+09 is outside"),
        ("0:1,inf:1", "point 2: inf s is outside"),
        ("0:0,9:0", "rate is 0 at every point"),
    ],
)
def test_bad_profile_names_the_point(text: str, complaint: str) -> None:
    with pytest.raises(LoadError, match=complaint):
        Profile.parse(text)


def test_profile_is_read_from_text() -> None:
    assert Profile.parse("0:15,30:150.5") == Profile(((0, 15), (30, 150.5)))


# --- traces


def written(folder: Path, text: str, name: str = "trace.csv") -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


@pytest.mark.parametrize("name", ["trace.csv", "trace.csv.gz"])
def test_trace_is_read_plain_or_compressed(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, "tokens,arrival_s\n5,0.5\n6,0.5\n\n7,2\n", name)
    assert read_trace(path) == [0.5, 0.5, 2]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", r":1: there is no column 'arrival_s'"),
        ("t_s,count\n0,1\n", r":1: there is no column 'arrival_s' in the header line; found \['t_s', 'count'\]"),
        ("arrival_s\n0\nabc\n", r":3: arrival_s 'abc' is not a number of seconds"),
        ("arrival_s\n0\nnan\n", r":3: arrival_s 'nan' is not"),
        ("arrival_s\n-1\n", r":2: arrival_s -1 comes before 0"),
        ("arrival_s\n0\n5\n4\n", r":4: arrival_s 4 comes before 5; sort the file"),
        ("tokens,arrival_s\n1,0\n1\n", r":3: the line has 1 columns, 'arrival_s' is number 2"),
    ],
)
def test_bad_trace_names_the_line(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(LoadError, match=complaint):
        read_trace(written(tmp_path, text))


def test_trace_that_is_no_text_or_no_archive_or_no_file(tmp_path: Path) -> None:
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "plain.csv.gz").write_text("arrival_s\n1\n")
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(b"arrival_s\n" + b"1\n" * 1000)[:-9])
    for name in ("binary.csv", "plain.csv.gz", "cut.csv.gz", "absent.csv"):
        with pytest.raises(LoadError, match=name):
            read_trace(tmp_path / name)


@pytest.mark.parametrize("recorded", [[], [1.0], [3.0, 3.0]])
def test_trace_without_duration_is_refused(recorded: list[float]) -> None:
    with pytest.raises(LoadError, match="two arrivals at different times"):
        from_trace(recorded, seconds=10, peak_rate=1, seed=1)


@pytest.mark.parametrize("peak_rate", [2.0, 10.0, 45.0])
def test_trace_is_fitted_to_length_and_height(peak_rate: float) -> None:
    # 1000 s: quiet with one request per 2 s, and ten times that in the middle tenth.
    recorded = sorted([2.0 * index for index in range(501)] + [450 + 0.2 * index for index in range(500)])
    arrivals = list(from_trace(recorded, seconds=200, peak_rate=peak_rate, seed=3))
    assert all(earlier <= later for earlier, later in pairwise(arrivals))
    assert arrivals[0] >= 0
    assert arrivals[-1] < 200
    busy = sum(90 <= arrival < 110 for arrival in arrivals) / 20
    quiet = sum(arrival < 80 for arrival in arrivals) / 80
    assert busy == pytest.approx(peak_rate, rel=0.25)
    assert quiet == pytest.approx(peak_rate / 11, rel=0.35)  # the shape stays
    assert arrivals == list(from_trace(recorded, seconds=200, peak_rate=peak_rate, seed=3))


# --- figures


def test_quantile_is_a_value_that_occurred() -> None:
    assert quantile([], 0.95) is None
    assert quantile([7.0], 0.5) == 7
    assert quantile([float(value) for value in range(100, 0, -1)], 0.95) == 95
    assert quantile([1.0, 2.0], 0.5) == 1


def test_live_figures_slide_and_the_summary_does_not() -> None:
    statistics = Statistics(window_seconds=10)
    assert statistics.live(99).rate == 0
    statistics.start(100)
    for index in range(20):  # two per second
        statistics.sending(100 + index / 2, due=100 + index / 2)
    for index in range(10):
        statistics.succeeded(104 + index / 2, 0.1 * (index + 1))
    statistics.failed("timeout", "late")
    live = statistics.live(110)  # what happened at 100 exactly is just gone
    assert (live.rate, live.completed_rate, live.in_flight, live.failed) == (1.9, 1.0, 9, 1)
    assert (live.p50_seconds, live.p95_seconds) == (0.5, 1.0)
    later = statistics.live(118)
    assert (later.rate, later.p95_seconds, later.sent) == (0.3, 1.0, 20)
    assert (later.completed_rate, later.p50_seconds) == (0.1, 1.0)
    assert statistics.live(130).p95_seconds is None
    summary = statistics.summary(130, cut_short=False)
    assert (summary.sent, summary.succeeded, summary.failed, summary.seconds) == (20, 10, 1, 30)
    assert summary.p50_seconds == 0.5
    assert summary.failure_texts == ("1 x timeout: late",)


def test_young_run_is_measured_over_its_own_age() -> None:
    statistics = Statistics(window_seconds=10)
    statistics.start(0)
    for index in range(8):
        statistics.sending(index / 4, due=index / 4)
    assert statistics.live(2).rate == 4
    assert Statistics(window_seconds=10, started_at=0).live(0).rate == 0


def test_only_the_first_texts_of_a_kind_are_kept() -> None:
    statistics = Statistics(window_seconds=10)
    for number in range(8):
        statistics.failed("HTTP 503", f"{number}" + "x" * 1000)
    (failure,) = statistics.summary(1, cut_short=False).failures
    assert failure.count == 8
    assert [text[0] for text in failure.texts] == ["0", "1", "2", "3", "4"]
    assert {len(text) for text in failure.texts} == {300}


def test_sending_late_is_told() -> None:
    statistics = Statistics(window_seconds=10)
    statistics.sending(5.0, due=4.5)
    statistics.sending(6.0, due=6.0)
    assert statistics.summary(7, cut_short=False).latest_seconds == 0.5


# --- sending


async def test_load_sends_the_plan_and_counts_answers() -> None:
    bodies: list[bytes] = []

    async def keep(request: web.Request) -> web.Response:
        bodies.append(await request.read())
        return await ok(request)

    async with answering(keep) as url:
        load = Load(FAST)
        summary = await load.run(url)
    assert (summary.sent, summary.succeeded, summary.failed, summary.cut_short) == (20, 20, 0, False)
    assert summary.seconds >= 0.39
    assert len(set(bodies)) == 20  # no two prompts alike
    assert load.live().in_flight == 0
    assert summary.p95_seconds is not None


async def test_slow_answers_do_not_slow_the_sending() -> None:
    release = asyncio.Event()

    async def slow(request: web.Request) -> web.Response:
        await release.wait()
        return await ok(request)

    async with answering(slow) as url:
        load = Load(FAST)
        running = asyncio.create_task(load.run(url))
        async with asyncio.timeout(5):
            while True:
                if load.live().in_flight == 20:
                    break
                await asyncio.sleep(0.01)
        release.set()
        assert (await running).succeeded == 20


async def test_number_of_requests_is_bounded() -> None:
    async with answering(ok) as url:
        summary = await Load(replace(FAST, max_requests=3)).run(url)
    assert (summary.sent, summary.cut_short) == (3, True)


async def test_failures_are_kept_by_kind() -> None:
    count = 0

    async def moody(request: web.Request) -> web.StreamResponse:
        nonlocal count
        count += 1
        if count % 4 == 0:
            return web.Response(status=503, text="draining")
        if count % 4 == 1:
            raise web.HTTPFound("http://127.0.0.1:1/")  # must not be followed
        if count % 4 == 2:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        await asyncio.sleep(30)
        return web.Response()

    async with answering(moody) as url:
        summary = await Load(replace(FAST, timeout_seconds=0.3)).run(url)
    kinds = {failure.kind: failure for failure in summary.failures}
    assert {kind: failure.count for kind, failure in kinds.items()} == {
        "HTTP 503": 5,
        "HTTP 302": 5,
        "connection lost": 5,
        "timeout": 5,
    }
    assert kinds["HTTP 503"].texts == ("draining",) * 5
    assert kinds["timeout"].texts[0] == "no answer within 0.3 s"
    assert (summary.succeeded, summary.p95_seconds) == (0, None)


async def test_nobody_listening_is_a_failure_not_a_crash() -> None:
    summary = await Load(FAST).run(f"http://127.0.0.1:{unused_port()}/v1/workflows")
    assert [(failure.kind, failure.count) for failure in summary.failures] == [("no connection", 20)]


async def test_cancelling_ends_the_run_and_its_requests() -> None:
    async def never(request: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return await ok(request)

    async with answering(never) as url:
        running = asyncio.create_task(Load(FAST).run(url))
        await asyncio.sleep(0.1)
        running.cancel()
        async with asyncio.timeout(2):
            with pytest.raises(asyncio.CancelledError):
                await running


async def test_trace_is_replayed_within_the_profile(tmp_path: Path) -> None:
    path = written(tmp_path, "arrival_s\n" + "".join(f"{second}\n" for second in range(100)))
    async with answering(ok) as url:
        summary = await Load(replace(FAST, trace=path)).run(url)
    assert summary.sent == pytest.approx(20, abs=10)  # one in five of 100, by chance
    assert summary.seconds >= 0.3


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8000/v1/workflows",
        "http://localhost:8000",
        "http://10.96.0.7/v1/workflows",
        "http://172.31.0.1",
        "http://192.168.1.1",
        "http://[::1]:8000/",
        "http://[fd00::1]/",
    ],
)
def test_test_addresses_are_taken(url: str) -> None:
    assert checked_url(url) == url


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("https://127.0.0.1/", "is not an http:// URL"),
        ("127.0.0.1:8000", "is not an http:// URL"),
        ("http:///v1/workflows", "is not an http:// URL"),
        ("http://127.0.0.1:port/", "is not a URL"),
        ("http://[::1/", "is not a URL"),
        ("http://example.com/", "is a name"),
        ("http://localhost.example.com/", "is a name"),
        ("http://2130706433/", "is a name"),
        ("http://localhost@203.0.113.7/", "not a loopback or private"),
        ("http://8.8.8.8/", "not a loopback or private"),
        ("http://169.254.169.254/", "not a loopback or private"),
        ("http://172.32.0.1/", "not a loopback or private"),
        ("http://0.0.0.0/", "not a loopback or private"),
        ("http://[2001:db8::1]/", "not a loopback or private"),
    ],
)
async def test_other_addresses_are_refused_before_anything_is_sent(url: str, complaint: str) -> None:
    load = Load(FAST)
    with pytest.raises(LoadError, match=complaint):
        await load.run(url)
    assert load.live().sent == 0


def test_command_line_refuses_bad_input_in_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["http://8.8.8.8/"]) == 2
    assert main(["http://127.0.0.1/", "--profile", "0:1"]) == 2
    assert capsys.readouterr().err.count("\n") == 2


async def test_command_line_reports_failures_by_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    async with answering(ok) as url:
        assert await asyncio.to_thread(main, [url, "--profile", "0:20,0.3:20", "--spacing", "even"]) == 0
    assert "6 sent" in capsys.readouterr().out
    assert await asyncio.to_thread(main, [url, "--profile", "0:20,0.3:20", "--spacing", "even"]) == 1
    assert "6 x no connection" in capsys.readouterr().out

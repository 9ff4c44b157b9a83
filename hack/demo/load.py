"""An open-loop load generator for workflows: sends when the plan says so, however slow the answers are.

It is for test addresses only: a URL that is not on this machine or in a private network is refused, and redirects are
not followed. Every failure is kept with its kind; latencies count from the planned moment of sending, so a generator
that falls behind makes its figures worse, never better.
"""

import argparse
import asyncio
import ipaddress
import math
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from demo.arrivals import LoadError, Profile, Spacing, from_profile, from_trace, read_trace

__all__ = ["Failure", "Live", "Load", "LoadError", "LoadSettings", "Profile", "Spacing", "Summary", "checked_url"]

TEXTS_PER_KIND: Final = 5
LONGEST_TEXT: Final = 300
# Not `is_private`: that also holds for link-local addresses, where clouds keep their credentials.
TEST_NETWORKS: Final = tuple(
    ipaddress.ip_network(network)
    for network in ("127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
)


@dataclass(frozen=True, slots=True)
class LoadSettings:
    """What is sent and how long an answer may take."""

    profile: Profile = field(default_factory=lambda: Profile(((0, 10), (60, 10))))
    trace: Path | None = None  # replayed within the profile's length and up to its peak rate
    spacing: Spacing = Spacing.POISSON
    seed: int = 1
    timeout_seconds: float = 60.0
    max_requests: int = 200_000
    window_seconds: float = 10.0  # of the live figures


@dataclass(frozen=True, slots=True)
class Live:
    """How it goes, over the last `window_seconds` where it is a rate or a latency."""

    rate: float  # requests per second sent
    completed_rate: float  # answers per second, good ones
    sent: int
    succeeded: int
    failed: int
    in_flight: int
    p50_seconds: float | None  # None: no good answer in the window
    p95_seconds: float | None


@dataclass(frozen=True, slots=True)
class Failure:
    """One kind of failure, with the texts of the first few."""

    kind: str
    count: int
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """The whole run."""

    seconds: float
    sent: int
    succeeded: int
    failures: tuple[Failure, ...]
    p50_seconds: float | None
    p95_seconds: float | None
    max_seconds: float | None
    latest_seconds: float  # how far behind its plan a request was sent, at worst
    cut_short: bool  # `max_requests` was reached before the plan's end

    @property
    def failed(self) -> int:
        """Requests without a good answer."""
        return sum(failure.count for failure in self.failures)

    @property
    def failure_texts(self) -> tuple[str, ...]:
        """One sentence per kind."""
        return tuple(f"{failure.count} x {failure.kind}: {failure.texts[0]}" for failure in self.failures)


def quantile(values: Sequence[float], fraction: float) -> float | None:
    """The smallest value that at least this fraction of the values does not exceed; None without values."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[math.ceil(fraction * len(ordered)) - 1]


@dataclass(slots=True)
class Statistics:
    """Counts; every method is told the time."""

    window_seconds: float
    started_at: float | None = None
    sent: int = 0
    latest_seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    failures: dict[str, tuple[int, list[str]]] = field(default_factory=dict)
    _sent_at: deque[float] = field(default_factory=deque)
    _succeeded: deque[tuple[float, float]] = field(default_factory=deque)

    def start(self, now: float) -> None:
        """The run begins."""
        self.started_at = now

    def sending(self, now: float, due: float) -> None:
        """A request goes out that was due at `due`."""
        self.sent += 1
        self.latest_seconds = max(self.latest_seconds, now - due)
        self._sent_at.append(now)
        self._forget(now)

    def succeeded(self, now: float, seconds: float) -> None:
        """A good answer came after `seconds`."""
        self.latencies.append(seconds)
        self._succeeded.append((now, seconds))
        self._forget(now)

    def failed(self, kind: str, text: str) -> None:
        """There was no good answer."""
        count, texts = self.failures.get(kind, (0, []))
        if len(texts) < TEXTS_PER_KIND:
            texts.append(text[:LONGEST_TEXT])
        self.failures[kind] = (count + 1, texts)

    def live(self, now: float) -> Live:
        """The last window."""
        self._forget(now)
        # A run younger than the window is measured over its own age, from 1 s on: less would make the first rate huge.
        age = now - self.started_at if self.started_at is not None else 0.0
        width = min(self.window_seconds, max(1.0, age))
        seconds = [latency for _, latency in self._succeeded]
        failed = sum(count for count, _ in self.failures.values())
        return Live(
            rate=len(self._sent_at) / width,
            completed_rate=len(self._succeeded) / width,
            sent=self.sent,
            succeeded=len(self.latencies),
            failed=failed,
            in_flight=self.sent - len(self.latencies) - failed,
            p50_seconds=quantile(seconds, 0.5),
            p95_seconds=quantile(seconds, 0.95),
        )

    def summary(self, now: float, *, cut_short: bool) -> Summary:
        """Everything so far."""
        return Summary(
            seconds=now - self.started_at if self.started_at is not None else 0.0,
            sent=self.sent,
            succeeded=len(self.latencies),
            failures=tuple(Failure(kind, count, tuple(texts)) for kind, (count, texts) in self.failures.items()),
            p50_seconds=quantile(self.latencies, 0.5),
            p95_seconds=quantile(self.latencies, 0.95),
            max_seconds=max(self.latencies, default=None),
            latest_seconds=self.latest_seconds,
            cut_short=cut_short,
        )

    def _forget(self, now: float) -> None:
        oldest = now - self.window_seconds
        while self._sent_at and self._sent_at[0] <= oldest:
            self._sent_at.popleft()
        while self._succeeded and self._succeeded[0][0] <= oldest:
            self._succeeded.popleft()


class Load:
    """One run. `live()` may be asked at any time, before and after it too; cancelling `run` ends it at once."""

    def __init__(self, settings: LoadSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._statistics = Statistics(settings.window_seconds)
        # Answer in place: the load counts results, not receipts.
        self._headers = {"Content-Type": "application/json", "Prefer": f"wait={math.ceil(settings.timeout_seconds)}"}

    def live(self) -> Live:
        """How it goes now."""
        return self._statistics.live(self._clock())

    async def run(self, url: str) -> Summary:
        """Send the whole plan to `url` and wait for the last answer. Raises `LoadError` before anything is sent."""
        target = checked_url(url)
        arrivals = self._arrivals()
        cut_short = False
        async with (
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),  # a limit would make the loop closed
                timeout=aiohttp.ClientTimeout(total=self._settings.timeout_seconds),
                cookie_jar=aiohttp.DummyCookieJar(),
            ) as session,
            asyncio.TaskGroup() as requests,
        ):
            start = self._clock()
            self._statistics.start(start)
            for number, arrival in enumerate(arrivals):
                if number >= self._settings.max_requests:
                    cut_short = True
                    break
                due = start + arrival
                await asyncio.sleep(max(0.0, due - self._clock()))
                self._statistics.sending(self._clock(), due)
                requests.create_task(self._request(session, target, number, due))
        return self._statistics.summary(self._clock(), cut_short=cut_short)

    def _arrivals(self) -> Iterator[float]:
        settings = self._settings
        if settings.trace is None:
            return from_profile(settings.profile, settings.spacing, settings.seed)
        return from_trace(
            read_trace(settings.trace),
            seconds=settings.profile.seconds,
            peak_rate=settings.profile.peak_rate,
            seed=settings.seed,
        )

    async def _request(self, session: aiohttp.ClientSession, url: str, number: int, due: float) -> None:
        try:
            async with session.post(
                url, data=workflow(number), headers=self._headers, allow_redirects=False
            ) as response:
                body = await response.read()
        except TimeoutError:
            self._statistics.failed("timeout", f"no answer within {self._settings.timeout_seconds:g} s")
        except aiohttp.ClientConnectorError as error:
            self._statistics.failed("no connection", str(error))
        except (aiohttp.ClientError, OSError) as error:
            self._statistics.failed("connection lost", str(error) or type(error).__name__)
        else:
            if response.status == 200:
                now = self._clock()
                self._statistics.succeeded(now, now - due)
            else:
                self._statistics.failed(f"HTTP {response.status}", body[:LONGEST_TEXT].decode(errors="replace"))


def workflow(number: int) -> bytes:
    """A request body; every prompt differs, so that nothing is answered from a cache by accident."""
    return (
        b'{"steps":[{"id":"a","type":"generate","inputs":{"prompt":"request %d of the load","max_tokens":16}}]}'
        % number
    )


def checked_url(url: str) -> str:
    """The URL, if it is plain HTTP to this machine or a private address. Raises `LoadError`."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise LoadError(f"{url!r} is not a URL: {error}") from None
    if parts.scheme != "http" or not host:
        raise LoadError(f"{url!r} is not an http:// URL with a host")
    if host == "localhost":
        return url
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise LoadError(
            f"{host!r} is a name; load is only sent to localhost or to an address, such as 10.0.0.1"
        ) from None
    if not any(address in network for network in TEST_NETWORKS):
        raise LoadError(f"{host} is not a loopback or private address; load is only sent to test addresses")
    return url


async def _show(load: Load, url: str) -> Summary:
    running = asyncio.create_task(load.run(url))
    while not running.done():
        await asyncio.wait([running], timeout=1)
        live = load.live()
        p95 = "-" if live.p95_seconds is None else f"{live.p95_seconds:.3f} s"
        print(
            f"{live.rate:7.1f}/s sent {live.completed_rate:7.1f}/s answered  p95 {p95:>9}  "
            f"in flight {live.in_flight:4d}  failed {live.failed}",
            flush=True,
        )
    return await running


def main(arguments: Sequence[str] | None = None) -> int:
    """Send load from the command line; exit code 0 if every request was answered well, 1 if not, 2 for bad input."""
    parser = argparse.ArgumentParser(prog="python -m demo.load", description="Send workflows at a planned rate.")
    parser.add_argument("url", help="such as http://127.0.0.1:8000/v1/workflows")
    parser.add_argument("--profile", default="0:10,60:10", help="seconds:rate,… with straight lines between")
    parser.add_argument("--trace", type=Path, help="CSV with a column arrival_s, fitted into the profile")
    parser.add_argument("--spacing", type=Spacing, choices=list(Spacing), default=Spacing.POISSON)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--timeout-seconds", type=float, default=60.0)
    options = parser.parse_args(arguments)
    try:
        settings = LoadSettings(
            profile=Profile.parse(options.profile),
            trace=options.trace,
            spacing=options.spacing,
            seed=options.seed,
            timeout_seconds=options.timeout_seconds,
        )
        summary = asyncio.run(_show(Load(settings), options.url))
    except LoadError as error:
        print(f"demo.load: {error}", file=sys.stderr)
        return 2
    print(f"{summary.sent} sent in {summary.seconds:.1f} s, {summary.succeeded} answered, {summary.failed} failed")
    if summary.p95_seconds is not None:
        print(f"p50 {summary.p50_seconds:.3f} s, p95 {summary.p95_seconds:.3f} s, max {summary.max_seconds:.3f} s")
    for text in summary.failure_texts:
        print(text)
    return 1 if summary.failed else 0


if __name__ == "__main__":
    sys.exit(main())

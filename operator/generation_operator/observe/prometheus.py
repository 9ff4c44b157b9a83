"""Read Prometheus for all services at once, without ever blocking the event loop.

The client library is blocking, so its calls run in threads. Each Prometheus has threads of its own: one that is slow,
dead or hostile (its URL comes from a resource, so from a user) can hold up nobody's metrics but those of its own
services. For the same reason nothing that it answers, and no password in its URL, is ever repeated in a message.
"""

import asyncio
import contextlib
import re
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, NamedTuple, Protocol
from urllib.parse import urlsplit

import requests
from prometheus_api_client import PrometheusApiClientException, PrometheusConnect
from urllib3.util.retry import Retry

from generation_operator.api.resource import Key
from generation_operator.decide.types import SignalName
from generation_operator.observe.miss_ratios import MissRatios
from generation_operator.observe.news import News, NewsQueries
from generation_operator.observe.own_queries import Own, OwnQueries, Queries
from generation_operator.observe.queries import Answers, Evidence, Who, by_service, queries, whole
from generation_operator.observe.signals import Ask, Reading

CONNECT_SECONDS: Final = 2.0
QUERY_SECONDS: Final = 5.0
# 6 s from one answer of a Prometheus to the next. One that goes on answering gets four times that for all queries
# together: those for 5,000 services took it 3 s when nobody else needed the processor, and 6.5 s were seen.
READ_SECONDS: Final = 6.0
_READS: Final = 4
# A server whose every answer was a failure, and that took longer than 1 s to fail, is not waited for until it answers a
# question that costs nothing, asked beside the next reads: a dead address should take its time only once, and one that
# is well again be read again with the second tick.
SLOW_SECONDS: Final = 1.0
_PROBE: Final = "vector(1)"
# A probe of a dead address takes up to 14 s, two tries of 7: three, so that there is a new one with each tick of 5 s.
_PROBES: Final = 3
# 8 MB: 40,000 services at 200 bytes each.
ANSWER_BYTES: Final = 8_000_000
_CHUNK_BYTES: Final = 65_536
# 4: queries of one Prometheus at a time. It shares the evaluation with dashboards and alerts (20 at a time by default).
_THREADS: Final = 4
# One retry, at once, and never as late as a `Retry-After` of the other side says.
_RETRY: Final = Retry(
    total=1, status_forcelist=(500, 502, 503, 504), raise_on_status=False, respect_retry_after_header=False
)


class Client(Protocol):
    """The one blocking call that is needed of the client library."""

    def custom_query(self, query: str) -> object:
        """The `result` of an instant query."""

    def close(self) -> None:
        """Close idle connections."""


class _Group(NamedTuple):
    """Services that the same queries can be asked for."""

    window_seconds: int
    max_age_seconds: int


Outcome = Answers | str  # a text says why there are no answers


def connect(url: str) -> Client:
    """The client for one server. Raises `ValueError`: this is no URL of a server."""
    client: Client = connection(url)
    return client


def connection(url: str) -> PrometheusConnect:
    """A client of prometheus-api-client; nothing is sent yet. Its session is shared by threads that only send GETs.

    Raises:
        ValueError: this is no URL of a server.
    """
    parts = urlsplit(url)
    if not parts.hostname or parts.port == 0:  # an impossible port raises by itself
        raise ValueError("a URL needs a host")
    session = requests.Session()
    session.hooks["response"].append(_bounded)
    return PrometheusConnect(url.rstrip("/"), retry=_RETRY, timeout=(CONNECT_SECONDS, QUERY_SECONDS), session=session)


def _bounded(response: requests.Response, **_: object) -> None:
    """Read the body now, and no more of it than an answer can have: an endless one would fill the process's memory.

    The library's time-out is for one read from the socket; a server that drips would hold a thread for ever.
    """
    body, deadline = bytearray(), time.monotonic() + READ_SECONDS
    for chunk in response.iter_content(_CHUNK_BYTES):
        body += chunk
        if len(body) > ANSWER_BYTES or time.monotonic() > deadline:
            response.close()
            raise requests.exceptions.ContentDecodingError("the answer is too long or takes too long")
    response._content = bytes(body)  # noqa: SLF001 - where requests itself keeps what it has read


class PrometheusSource:
    """A `MetricsSource` on any number of Prometheus servers.

    Args:
        connect: makes the client of one server.
        read_seconds: how long one read of a server waits for the next answer; all take at most four times that.
        slow_seconds: how long a failure may take before it counts as a slow one.
        clock: monotonic, in seconds.
    """

    def __init__(
        self,
        connect: Callable[[str], Client] = connect,
        *,
        read_seconds: float = READ_SECONDS,
        slow_seconds: float = SLOW_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connect = connect
        self._read_seconds = read_seconds
        self._slow_seconds = slow_seconds
        self._clock = clock
        self._servers: dict[str, _Server] = {}

    async def read(self, asks: Sequence[Ask]) -> Mapping[Key, Reading]:
        """One reading for each service, from one batch of queries per server, window and maximum age."""
        by_url: dict[str, dict[_Group, list[Key]]] = defaultdict(lambda: defaultdict(list))
        own: dict[str, dict[Key, Queries]] = defaultdict(dict)
        readings: dict[Key, Reading] = {}
        for ask in asks:
            if ask.url is None:
                readings[ask.key] = Reading(error=_NO_URL)
            else:
                by_url[ask.url][_Group(ask.window_seconds, ask.max_age_seconds)].append(ask.key)
                if ask.queries:
                    own[ask.url][ask.key] = ask.queries
        reads = (self._read_server(url, groups, own.get(url, {})) for url, groups in by_url.items())
        for batch in await asyncio.gather(*reads):
            readings.update(batch)
        return readings

    async def news(self, asks: Sequence[Ask]) -> Mapping[Key, News]:
        """What was scraped since the last call, of services that have been read before.

        Nothing of a server that fails: `read` says so, and why. Servers that none of the services names are let go.
        """
        self._forget(keep={ask.url for ask in asks})
        by_url: dict[str, set[Key]] = defaultdict(set)
        for ask in asks:
            if ask.url is not None and ask.url in self._servers:
                by_url[ask.url].add(ask.key)
        found: dict[Key, News] = {}
        for batch in await asyncio.gather(*(self._servers[url].news(keys) for url, keys in by_url.items())):
            found.update(batch)
        return found

    def close(self) -> None:
        """Let go of all servers; a query that is on its way ends by its own timeout."""
        self._forget(keep=set())

    async def _read_server(
        self, url: str, groups: Mapping[_Group, Sequence[Key]], own: Mapping[Key, Queries]
    ) -> dict[Key, Reading]:
        server = self._servers.get(url)
        if server is None:
            server = self._servers[url] = _Server(url, self._connect, self._clock)
        started = self._clock()
        if server.failure and not server.answers_again():
            return {key: Reading(error=server.failure) for keys in groups.values() for key in keys}
        # The most shared settings first: an unusual one should not delay what many use.
        ordered = sorted(groups, key=lambda group: (-len(groups[group]), group))
        outcomes, found = await asyncio.gather(
            server.ask({group: groups[group] for group in ordered}, self._read_seconds),
            server.ask_own(own, self._read_seconds),
        )
        failures = [outcome for outcome in outcomes.values() if isinstance(outcome, str)]
        if len(failures) == len(outcomes) and self._clock() - started > self._slow_seconds:
            server.failure = failures[0]
        return {
            key: _reading(outcomes[group], key, found.get(key, Own())) for group, keys in groups.items() for key in keys
        }

    def _forget(self, keep: AbstractSet[str | None]) -> None:
        for url in self._servers.keys() - keep:
            self._servers.pop(url).close()


class _Server:
    """One Prometheus: its client and its threads."""

    def __init__(self, url: str, connect: Callable[[str], Client], clock: Callable[[], float]) -> None:
        self.failure = ""  # why it is not waited for
        self._url = url
        self._connect = connect
        self._clock = clock
        self._client: Client | None = None
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="prometheus")
        self._misses: dict[_Group, MissRatios] = {}
        self._own = OwnQueries(clock)
        self._news = NewsQueries(clock)
        self._probe_threads = ThreadPoolExecutor(_PROBES, thread_name_prefix="prometheus-probe")
        self._probes: list[Future[object]] = []

    async def ask(self, groups: Mapping[_Group, Sequence[Key]], seconds: float) -> dict[_Group, Outcome]:
        """The answers for the services of each group, or why there are none."""
        try:
            client = self._client = self._client or self._connect(self._url)
        except Exception:  # noqa: BLE001 - whatever a URL of a user does to the library is that user's problem
            return dict.fromkeys(groups, f"{_failed(self._url)} is no URL of a server; {_REMEDY}")
        self._misses = {group: self._misses.get(group) or MissRatios(self._clock) for group in groups}
        loop, patience = asyncio.get_running_loop(), _Patience(seconds, self._clock)
        jobs = {
            group: loop.run_in_executor(self._threads, self._answers, client, group, keys, patience)
            for group, keys in groups.items()
        }
        try:
            await patience.wait(jobs.values())
            return {group: job.result() if job.done() else _late(self._url) for group, job in jobs.items()}
        finally:
            for job in jobs.values():
                job.cancel()

    async def ask_own(self, queries: Mapping[Key, Queries], seconds: float) -> Mapping[Key, Own]:
        """What the resources' own queries give; nothing when there is no such server."""
        try:
            client = self._client = self._client or self._connect(self._url)
        except Exception:  # noqa: BLE001 - `ask` says so
            return {}
        return await self._own.ask(client, queries, seconds)

    async def news(self, keys: Collection[Key]) -> dict[Key, News]:
        """What was scraped since the last call; nothing before the first read, or while the server fails."""
        if self._client is None or self.failure:
            return {}
        return await self._news.ask(self._client, keys)

    def answers_again(self) -> bool:
        """Whether a server that has failed answered one of the probes; sends another one if not."""
        ended = [probe for probe in self._probes if probe.done()]
        self._probes = [probe for probe in self._probes if not probe.done()]
        if any(probe.exception() is None for probe in ended):
            self.failure = ""
            return True
        if self._client is not None and len(self._probes) < _PROBES:
            self._probes.append(self._probe_threads.submit(self._client.custom_query, _PROBE))
        return False

    def close(self) -> None:
        self._own.close()
        self._news.close()
        for threads in (self._threads, self._probe_threads):
            threads.shutdown(wait=False, cancel_futures=True)
        if self._client is not None:
            with contextlib.suppress(Exception):
                self._client.close()

    def _answers(self, client: Client, group: _Group, keys: Sequence[Key], patience: "_Patience") -> Outcome:
        """Runs in a thread: one query after the other, and none any more when nobody waits for the answer.

        Of each answer only the numbers are kept: fifteen whole ones about 5,000 services take 25 MB.
        """
        answers: Answers = {key: {} for key in keys}
        misses = self._misses[group]

        def asked(text: str) -> Iterator[tuple[Who, float]]:
            if patience.left < 0:
                raise _NobodyWaitsError
            result = client.custom_query(text)
            patience.answered()
            return by_service(result)

        try:
            for query, text in queries(*group).items():
                for who, value in asked(text):
                    if who in answers:
                        answers[who][query] = value
            for name, text in misses.due(answers).items():
                misses.keep(name, asked(text), answers)
        except _NobodyWaitsError:
            return _late(self._url)
        except Exception as error:  # noqa: BLE001 - the other side may send anything; none of it may escape
            return f"{_failed(self._url)} {_symptom(error)}; {_REMEDY}"
        misses.add(answers)
        return answers


class _NobodyWaitsError(Exception):
    """The read is over."""


class _Patience:
    """How long one read of one server is waited for.

    Args:
        seconds: from one answer to the next; `_READS` times that for all of them.
        clock: monotonic, in seconds.
    """

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._end = clock() + _READS * seconds
        self._until = clock() + seconds
        self._answers = 0

    @property
    def left(self) -> float:
        """Seconds until nobody waits any more, unless there is another answer before that."""
        return self._until - self._clock()

    def answered(self) -> None:
        """There was one; told by the threads that ask."""
        self._answers += 1
        self._until = min(self._end, self._clock() + self._seconds)

    async def wait(self, jobs: Collection[asyncio.Future[Outcome]]) -> None:
        """Until all are done, or it is over."""
        waiting, before = set(jobs), -1
        # A wait that was over without another answer was long enough, whatever the clock says.
        while waiting and self.left > 0 and self._answers != before:
            before = self._answers
            _, waiting = await asyncio.wait(waiting, timeout=self.left)


_REMEDY: Final = "check spec.metrics.prometheusURL, or the operator's own Prometheus URL"
_NO_URL: Final = f"PrometheusUnreachable: no Prometheus is named; {_REMEDY.replace('check', 'set')}"


def _failed(url: str) -> str:
    # Without path, query and credentials.
    scheme, _, rest = url.partition("://")
    return f"PrometheusUnreachable: {scheme}://{re.split('[/?#]', rest)[0].rpartition('@')[2]}"


def _late(url: str) -> str:
    return f"{_failed(url)} did not answer in time; {_REMEDY}"


def _symptom(error: Exception) -> str:
    """What happened, in words that stay the same while it goes on."""
    if isinstance(error, PrometheusApiClientException):
        status = re.match(r"HTTP Status Code (\d{3})", str(error))
        return f"answered with HTTP status {status[1] if status else 'unknown'}"
    if isinstance(error, OSError) and not isinstance(error, ValueError):  # requests' exceptions are OSErrors
        return f"did not answer ({type(error).__name__})"
    return "sent what is no answer to a query"


def _reading(outcome: Outcome, key: Key, own: Own) -> Reading:
    if isinstance(outcome, str):
        return Reading(error=outcome, own=own)
    answers = outcome[key]
    return Reading(
        values={name: value for name, value in answers.items() if isinstance(name, SignalName)},
        age=answers.get(Evidence.AGE),
        reporting=whole(answers.get(Evidence.REPORTING)),
        own=own,
    )

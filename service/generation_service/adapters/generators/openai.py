"""A generator behind HTTP in the OpenAI chat completions format.

Bytes go in and come back as they are: parsing a whole answer would cost more than all the rest of the way. Time is
bounded by the caller's deadline and by silence, never by a total of the session, which would cut long generations.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final, TypeVar
from urllib.parse import urlsplit

import aiohttp
import stamina
from aiolimiter import AsyncLimiter

from generation_service.adapters.generators.event_stream import EventSplitter, EventTooLargeError
from generation_service.adapters.generators.resilience import Breaker, BreakerState, RetryBudget
from generation_service.ports import Clock, Completion, GeneratorError

Result = TypeVar("Result")

DONE: Final = b"[DONE]"
_ERROR_BODY_SECONDS: Final = 1.0  # how long to wait for the words after the status of an error
RETRYABLE_STATUSES: Final = frozenset({408, 429, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class GeneratorSettings:
    """How the generator is treated."""

    connect_seconds: float = 5.0
    silence_seconds: float = 60.0  # longer spares slow models, shorter notices a hanging one sooner
    connections: int = 200  # more than any pool lets through
    attempts: int = 3  # of one request, the first included; each further one is paid from the retry budget
    first_pause_seconds: float = 0.1  # before the second attempt; doubles
    longest_pause_seconds: float = 5.0
    breaker_seconds: float = 5.0  # how long a failing generator is left alone
    requests_per_second: int | None = None
    largest_answer_bytes: int = 4 * 1024 * 1024


class _PassingError(GeneratorError):
    """Trying again may help, and nothing of the answer was passed on."""


class OpenAIGenerator:
    """`ports.Generator`. `start` it before use.

    Args:
        url: with or without `/v1` at its end.
        key: bearer token.
        settings: see there.
        clock: for the breaker.
        description: what answers, for the clients.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        settings: GeneratorSettings,
        clock: Clock,
        description: str = "openai",
    ) -> None:
        self.description = description
        base = url.rstrip("/")
        self._url = f"{base if base.endswith('/v1') else f'{base}/v1'}/chat/completions"
        self._headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        self._settings = settings
        self._breaker = Breaker(clock, settings.breaker_seconds)
        self._budget = RetryBudget()
        rate = settings.requests_per_second
        self._limiter = None if rate is None else AsyncLimiter(rate, 1.0)
        self._session: aiohttp.ClientSession | None = None
        self._while_streaming = aiohttp.ClientTimeout(
            total=None, sock_connect=settings.connect_seconds, sock_read=settings.silence_seconds
        )

    @property
    def breaker_state(self) -> BreakerState:
        """For the metrics."""
        return self._breaker.state

    async def start(self) -> None:
        """Open the session. Raises `ValueError` for a URL that is none."""
        try:
            parts = urlsplit(self._url)
        except ValueError:
            parts = urlsplit("")
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("GENERATOR_URL is not an http:// or https:// URL; give one such as http://host:8000/v1")
        if "Authorization" in self._headers and parts.username is not None:
            raise ValueError("GENERATOR_URL has a user and GENERATOR_API_KEY is set; keep one of the two")
        stamina.instrumentation.set_on_retry_hooks([])  # we count retries ourselves; its log lines would be twice
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._settings.connections, ttl_dns_cache=30),
            # A whole answer is silent until it is there, so the caller's deadline alone bounds it.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._settings.connect_seconds),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        """Close the session; calls under way fail."""
        if self._session is not None:
            await self._session.close()

    async def healthy(self) -> bool:
        """Whether calls are made."""
        return self._breaker.state is not BreakerState.OPEN

    async def complete(self, body: bytes, timeout_seconds: float) -> Completion:
        """See `ports.Generator.complete`."""
        until = asyncio.get_running_loop().time() + timeout_seconds
        answer, retries = await self._with_retries(
            lambda: self._exchange(body, until, self._read, self._breaker.succeeded), until
        )
        return Completion(answer, retries)

    async def stream(self, body: bytes, timeout_seconds: float) -> AsyncGenerator[bytes, None]:
        """See `ports.Generator.stream`. Tried again only until the answer's headers have come."""
        until = asyncio.get_running_loop().time() + timeout_seconds
        response, _ = await self._with_retries(
            lambda: self._exchange(body, until, _itself, _later, self._while_streaming), until
        )
        splitter = EventSplitter()
        good = False
        try:
            while True:
                piece = await self._piece(response, until)
                for data in splitter.feed(piece):
                    if data == DONE:
                        good = True
                        return
                    yield data
        except EventTooLargeError:
            raise GeneratorError("an event of the generator's stream is too large") from None
        except GeneratorError:
            self._breaker.failed()
            raise
        finally:
            if good:
                self._breaker.succeeded()
                response.release()
            else:
                self._breaker.abandoned()
                response.close()  # not released: the connection's end is what stops the generation

    async def _with_retries(self, call: Callable[[], Awaitable[Result]], until: float) -> tuple[Result, int]:
        """What the call returns, and how often it was made again."""
        self._budget.request()
        try:
            return await call(), 0  # nearly always; what follows costs more than a call's own overhead
        except _PassingError as error:
            pause = self._pause(error, until)
            if pause is False:
                raise
        settings = self._settings
        await asyncio.sleep(settings.first_pause_seconds if pause is True else pause)
        async for attempt in stamina.retry_context(
            on=lambda error: self._pause(error, until),
            attempts=settings.attempts - 1,
            timeout=None,
            wait_initial=2 * settings.first_pause_seconds,
            wait_max=settings.longest_pause_seconds,
        ):
            with attempt:
                return await call(), attempt.num
        raise AssertionError("the last attempt returns or raises")

    def _pause(self, error: Exception, until: float) -> bool | float:
        """Whether to try again: False, True for the usual pause, or the seconds that the generator asked for."""
        if not isinstance(error, _PassingError) or self._settings.attempts < 2:
            return False
        asked = error.retry_after_seconds or 0.0
        if asyncio.get_running_loop().time() + max(asked, self._settings.first_pause_seconds) >= until:
            return False
        if not self._budget.spend():
            return False
        return asked or True

    async def _exchange(
        self,
        body: bytes,
        until: float,
        finish: Callable[[aiohttp.ClientResponse], Awaitable[Result]],
        good: Callable[[], None],
        limits: aiohttp.ClientTimeout | None = None,
    ) -> Result:
        """Send the request and have its answer finished, under one timer, with one verdict for the breaker."""
        if self._session is None:
            raise GeneratorError("the generator was not started")
        if not self._breaker.admit():
            wait = max(1.0, self._breaker.seconds_left)
            raise GeneratorError("the generator fails and is left alone for a while", retry_after_seconds=wait)
        verdict = self._breaker.abandoned  # unless the answer says something about the generator
        response: aiohttp.ClientResponse | None = None
        try:
            async with asyncio.timeout_at(until):
                if self._limiter is not None:
                    await self._limiter.acquire()
                response = await self._session.post(
                    self._url, data=body, headers=self._headers, timeout=limits or self._session.timeout
                )
                if response.status >= 400:
                    raise await self._refused(response)
                result = await finish(response)
        except TimeoutError:
            verdict = self._breaker.failed
            raise GeneratorError("the generator did not answer in time") from None
        except (aiohttp.ClientError, OSError) as fault:
            verdict = self._breaker.failed
            # The error's own text may name the URL with its password.
            what = "the generator cannot be reached" if response is None else "the generator's answer broke off"
            raise _PassingError(f"{what} ({type(fault).__name__})") from None
        except GeneratorError as error:
            if error.status is None or error.status >= 500:
                verdict = self._breaker.failed
            raise
        else:
            verdict = good
            return result
        finally:
            verdict()
            if verdict is not good and response is not None:
                response.close()  # cut, as it was not read to its end

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        limit = self._settings.largest_answer_bytes
        pieces = []
        size = 0
        async for piece in response.content.iter_any():
            size += len(piece)
            if size > limit:
                raise GeneratorError(f"the generator's answer is larger than {limit} bytes")
            pieces.append(piece)
        answer = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if not answer.lstrip()[:1] == b"{":
            raise GeneratorError("the generator's answer is not JSON; is GENERATOR_URL right?")
        return answer

    async def _refused(self, response: aiohttp.ClientResponse) -> GeneratorError:
        wait = _retry_after_seconds(response.headers.get("Retry-After"))
        body = b""
        try:
            async with asyncio.timeout(_ERROR_BODY_SECONDS):
                body = await response.content.read(65_536)
        except (TimeoutError, aiohttp.ClientError, OSError):
            pass  # the status alone says enough
        status = response.status
        kind = _PassingError if status in RETRYABLE_STATUSES else GeneratorError
        return kind(f"the generator answered with status {status}", status=status, retry_after_seconds=wait, body=body)

    async def _piece(self, response: aiohttp.ClientResponse, until: float) -> bytes:
        try:
            async with asyncio.timeout_at(until):
                piece = await response.content.readany()
        except TimeoutError:
            raise GeneratorError("the generator did not finish in time") from None
        except (aiohttp.ClientError, OSError) as error:
            raise GeneratorError(f"the generator's stream broke off ({type(error).__name__})") from None
        if not piece:
            raise GeneratorError("the generator's stream broke off before its end")
        return piece


async def _itself(response: aiohttp.ClientResponse) -> aiohttp.ClientResponse:
    """A stream is finished by its reader."""
    return response


def _later() -> None:
    """The verdict comes with the rest of the answer."""


def _retry_after_seconds(header: str | None) -> float | None:
    """Seconds or an HTTP date, as seconds; None for anything else."""
    if header is None:
        return None
    if header.isascii() and header.isdigit() and len(header) <= 6:
        return float(header)
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    except (ValueError, TypeError):
        return None

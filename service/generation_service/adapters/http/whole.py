"""Answers whose body is at hand, written head and body in one piece.

aiohttp composes the head of an answer from a multi-dictionary, through six coroutines: 12 us, a fifth of what an answer
from the cache costs. Here the head is a template.
"""

import time
from email.utils import formatdate
from typing import Final

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import SERVER_SOFTWARE

from generation_service.engine.admission import Admission, Phase
from generation_service.ports import CacheStatus, Found

_NAMES: Final = {status: status.value.encode() for status in CacheStatus}
LARGEST_BODY: Final = 65_536  # beyond, copying the body costs more than composing the head


CACHE_STATUS: Final = web.ResponseKey("cache_status", CacheStatus)


class WholeAnswer(web.StreamResponse):
    """A 200 over a connection that stays open; aiohttp sends it like any other response, but only once.

    Args:
        cache_status: where the body came from.
        whole: head and body.
    """

    def __init__(self, cache_status: CacheStatus, whole: bytes) -> None:
        super().__init__()
        self.cache_status = cache_status
        self._whole = whole

    @property
    def keep_alive(self) -> bool:
        """Whether the connection stays open."""
        return True

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter:
        """Send everything, and wait while the client does not read."""
        writer = request.writer
        await writer.write(self._whole)
        await writer.drain()
        return writer

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to send."""


class WholeAnswers:
    """Makes them, all of JSON, with the headers that say where they came from.

    Args:
        generator: what generates the texts.
        admission: knows whether connections may stay open.
    """

    def __init__(self, generator: str, admission: Admission) -> None:
        self._headers = {"X-Generator": generator, "Cache-Control": "no-store"}
        self._admission = admission
        lines = [f"{name}: {value}\r\n" for name, value in {**self._headers, "Server": SERVER_SOFTWARE}.items()]
        self._common = "".join(lines).encode("latin-1")
        self._second = -1
        self._head = b""

    def answer(self, request: web.Request, found: Found) -> web.StreamResponse:
        """The answer to a request."""
        body, status = found.value, found.status
        hit = status is CacheStatus.HIT_L1 or status is CacheStatus.HIT_L2
        if (
            len(body) > LARGEST_BODY
            or self._admission.phase is not Phase.SERVING  # then the connection must be closed
            or not request.keep_alive
            or request.version != HttpVersion11
        ):
            headers = {**self._headers, "X-Cache": status.value}
            if hit:
                headers["Age"] = str(int(found.age_seconds))
            response = web.Response(body=body, content_type="application/json", headers=headers)
            response[CACHE_STATUS] = status
            return response
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n%bDate: %b\r\n" % (
                self._common,
                formatdate(second, usegmt=True).encode(),
            )
        age = b"Age: %d\r\n" % found.age_seconds if hit else b""
        return WholeAnswer(
            status,
            b"%bX-Cache: %b\r\n%bContent-Length: %d\r\n\r\n%b" % (self._head, _NAMES[status], age, len(body), body),
        )

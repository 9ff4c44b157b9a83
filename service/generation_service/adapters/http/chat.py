"""Chat completions in the OpenAI format, whole and streamed, through the cache and the pools.

A cached answer costs one look into memory: the raw body of a question that was asked before is recognised without being
parsed again. Everything else about the request is left to the generator.
"""

import asyncio
import hashlib
from collections import OrderedDict
from contextlib import aclosing
from typing import Final

import orjson
from aiohttp import web

from generation_service.adapters.http import wire
from generation_service.adapters.http.endpoints import Endpoint, Parameter, Reply
from generation_service.adapters.http.events import STREAM_HEADERS
from generation_service.adapters.http.whole import CACHE_STATUS, WholeAnswers
from generation_service.domain.errors import DeadlineExceededError
from generation_service.engine.admission import Phase
from generation_service.engine.completions import ChatRequest, Completions
from generation_service.engine.engine import Engine
from generation_service.ports import CacheUse, Found, GeneratorError

KNOWN_BODIES: Final = 4096
LARGEST_KNOWN_BODY: Final = 65_536
_GOING: Final = (
    b'data: {"error":{"type":"draining","message":"This replica is shutting down; send the request again."}}\n\n'
)


class ChatRoutes:
    """Handlers around the completions."""

    def __init__(self, completions: Completions, engine: Engine, model: str, deadline_seconds: int) -> None:
        self._completions = completions
        self._engine = engine
        self._model = model
        self._deadline_seconds = deadline_seconds
        # Digest of a raw body that was a valid question, to that question.
        self._known: OrderedDict[bytes, ChatRequest] = OrderedDict()
        self._whole = WholeAnswers(completions.generator.description, engine.admission)

    async def complete_chat(self, request: web.Request) -> web.StreamResponse:
        """Answer a chat completion; `"stream": true` answers in parts."""
        body = await request.read()
        control = request.headers.get("Cache-Control")
        use = CacheUse.NORMAL if control is None else _cache_use(control)
        digest = hashlib.blake2b(body, digest_size=16).digest()
        chat = self._known.get(digest)
        if chat is None:
            chat = self._parsed(body)
            if chat.streamed:
                return await self._streamed(request, chat, use)
            self._remember(digest, chat, len(body))
        found = self._completions.peek(chat) if use is CacheUse.NORMAL else None
        answer = await self._in_time(chat, use) if found is None else found
        return self._whole.answer(request, answer)

    def endpoints(self) -> list[Endpoint]:
        """What is served, for the router and the description."""
        control = Parameter(
            "Cache-Control",
            "header",
            "`no-store`: neither read nor keep the answer; `no-cache`: ask the generator anew and keep its answer.",
            {"type": "string"},
        )
        problems = {status: Reply("", wire.Problem) for status in (429, 502, 503, 504)}
        # What the generator itself refuses is passed on in its own words.
        refusals = {
            status: Reply("", wire.Problem, also=("application/json",))
            for status in (400, 401, 403, 404, 409, 413, 422)
        }
        return [
            Endpoint(
                "POST", "/v1/chat/completions", self.complete_chat, "Complete a chat", "chat",
                {
                    200: Reply(
                        "The answer, as the generator wrote it; server-sent events for a stream.",
                        also=("text/event-stream",),
                        headers={
                            "X-Cache": "HIT-L1, HIT-L2, MISS or BYPASS.",
                            "X-Generator": "What answered: openai, local:MODEL or built-in.",
                        },
                    ),
                    **problems,
                    **refusals,
                },
                (control,), wire.ChatBody,
            )
        ]  # fmt: skip

    def _parsed(self, body: bytes) -> ChatRequest:
        """The question. Raises pydantic's `ValidationError`."""
        streamed = wire.ChatBody.model_validate_json(body).stream
        fields = orjson.loads(body)
        if fields.get("model") is None:
            fields["model"] = self._model
            body = orjson.dumps(fields)
        return ChatRequest.of(wire.canonical_chat(fields, self._model), body, streamed=streamed)

    async def _in_time(self, chat: ChatRequest, use: CacheUse) -> Found:
        loop = asyncio.get_running_loop()
        until = loop.time() + self._deadline_seconds
        try:
            return await self._completions.complete(chat, self._deadline_seconds, use, self._engine.admission.chat)
        except TimeoutError:
            raise DeadlineExceededError(self._deadline_seconds) from None
        except GeneratorError:
            if loop.time() >= until:  # it was the generator that used up the time
                raise DeadlineExceededError(self._deadline_seconds) from None
            raise

    async def _streamed(self, request: web.Request, chat: ChatRequest, use: CacheUse) -> web.StreamResponse:
        stream = await self._completions.stream(chat, self._deadline_seconds, use, self._engine.admission.chat)
        async with aclosing(stream.parts) as parts:
            # The first part before the headers: what fails until then is answered with its own status.
            try:
                first = await anext(parts, None)
            except TimeoutError:
                raise DeadlineExceededError(self._deadline_seconds) from None
            response = web.StreamResponse(headers={**STREAM_HEADERS, "X-Cache": stream.status.value})
            response[CACHE_STATUS] = stream.status
            await response.prepare(request)
            try:
                if first is not None:
                    await response.write(b"data: %b\n\n" % first)
                async for part in parts:
                    await response.write(b"data: %b\n\n" % part)
                await response.write(b"data: [DONE]\n\n")
            except GeneratorError as error:
                message = orjson.dumps({"error": {"type": "generator_failed", "message": str(error)}})
                await response.write(b"data: %b\n\n" % message)
            except asyncio.CancelledError:
                if self._engine.admission.phase is Phase.CLOSED:
                    await response.write(_GOING)
                raise
            await response.write_eof()
        return response

    def _remember(self, digest: bytes, chat: ChatRequest, size: int) -> None:
        if size <= LARGEST_KNOWN_BODY:
            self._known[digest] = chat
            if len(self._known) > KNOWN_BODIES:
                self._known.popitem(last=False)


def _cache_use(header: str) -> CacheUse:
    directives = {part.strip().lower() for part in header.split(",")}
    if "no-store" in directives:
        return CacheUse.NONE
    return CacheUse.REFRESH if "no-cache" in directives else CacheUse.NORMAL

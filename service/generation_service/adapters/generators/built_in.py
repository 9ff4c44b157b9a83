"""A generator that costs nothing: text and latency follow from the request alone.

For machines without a model, demos, load tests and unit tests. The same request always gives the same text after the
same time, in every replica, so a run can be repeated; nothing here draws from a random source that others share. Every
answer says what it is: its model is `built-in`.
"""

import hashlib
import random
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Final

import orjson

from generation_service.ports import Clock, Completion, GeneratorError

MODEL: Final = "built-in"
WORDS: Final = (
    "service", "request", "answer", "model", "token", "queue", "replica", "load", "time", "signal", "target", "policy",
    "trace", "step", "cache", "proxy", "grows", "falls", "waits", "holds", "serves", "scales", "settles", "measures",
    "explains", "decides", "learns", "repeats", "follows", "keeps", "small", "large", "fast", "slow", "steady", "busy",
    "idle", "fresh", "stale", "warm", "cold", "early", "late", "clear", "the", "of", "and", "to", "with", "more",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Plan:
    """What will be answered, and how long it takes."""

    id: str
    words: list[str]
    seconds: float
    prompt_tokens: int
    finish_reason: str


@dataclass(frozen=True, slots=True)
class BuiltInGenerator:
    """`ports.Generator` that waits for `latency_seconds` ± jitter and then answers at most `tokens` words.

    A stream spreads the same time over its words.
    """

    clock: Clock
    latency_seconds: float
    jitter_percent: int
    tokens: int

    @property
    def description(self) -> str:
        """What answers."""
        return MODEL

    async def complete(self, body: bytes, timeout_seconds: float) -> Completion:
        """Answer a request. Raises `GeneratorError` for one that is malformed, or when the time is over."""
        plan = self._plan(body)
        await self._pass_time(plan.seconds, timeout_seconds)
        message = {"role": "assistant", "content": " ".join(plan.words)}
        choice = {"index": 0, "message": message, "finish_reason": plan.finish_reason}
        answer = {**_head(plan, "chat.completion"), "choices": [choice], "usage": _usage(plan)}
        return Completion(orjson.dumps(answer))

    async def stream(self, body: bytes, timeout_seconds: float) -> AsyncGenerator[bytes, None]:
        """Answer a request in parts; as `complete`."""
        plan = self._plan(body)
        pause = plan.seconds / (len(plan.words) + 1)
        head = _head(plan, "chat.completion.chunk")
        await self._pass_time(pause, timeout_seconds)
        yield _chunk(head, {"role": "assistant", "content": ""}, None)
        for position, word in enumerate(plan.words):
            await self._pass_time(pause, timeout_seconds - (position + 1) * pause)
            yield _chunk(head, {"content": word if position == 0 else f" {word}"}, None)
        yield _chunk(head, {}, plan.finish_reason)

    @property
    def breaker_state(self) -> int:
        """Closed: there is nothing that could fail."""
        return 0

    async def healthy(self) -> bool:
        """Always."""
        return True

    async def _pass_time(self, seconds: float, limit: float) -> None:
        await self.clock.sleep(max(0.0, min(seconds, limit)))
        if seconds > limit:
            raise GeneratorError("the built-in generator did not finish in time")

    def _plan(self, body: bytes) -> _Plan:
        request = _parsed(body)
        messages = request.get("messages")
        if not isinstance(messages, list) or not messages:
            raise _refusal("messages must be a list that is not empty")
        wanted = request.get("max_completion_tokens", request.get("max_tokens"))
        if wanted is not None and (not isinstance(wanted, int) or isinstance(wanted, bool) or wanted < 1):
            raise _refusal("max_tokens must be a number above 0")
        if request.get("n") not in {None, 1}:
            raise _refusal("n must be 1")
        count = self.tokens if wanted is None else min(wanted, self.tokens)
        digest = hashlib.blake2b(orjson.dumps([messages, count]), digest_size=12).digest()
        chance = random.Random(digest)  # noqa: S311 - repeatable on purpose, guards no secret
        return _Plan(
            id=f"chatcmpl-{digest.hex()}",
            seconds=self.latency_seconds * (1 + chance.uniform(-1, 1) * self.jitter_percent / 100),
            words=chance.choices(WORDS, k=count),
            prompt_tokens=len(orjson.dumps(messages)) // 4,  # about four letters to a token
            finish_reason="length" if wanted is not None and wanted <= self.tokens else "stop",
        )


def _parsed(body: bytes) -> Mapping[str, object]:
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise _refusal("the body is not valid JSON") from None
    if not isinstance(request, dict):
        raise _refusal("the body must be an object")
    return request


def _refusal(message: str) -> GeneratorError:
    """As OpenAI's API words it."""
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    return GeneratorError(message, status=400, body=orjson.dumps({"error": error}))


def _head(plan: _Plan, kind: str) -> dict[str, object]:
    return {"id": plan.id, "object": kind, "created": 0, "model": MODEL}


def _usage(plan: _Plan) -> dict[str, int]:
    count = len(plan.words)
    return {
        "prompt_tokens": plan.prompt_tokens,
        "completion_tokens": count,
        "total_tokens": plan.prompt_tokens + count,
    }


def _chunk(head: Mapping[str, object], delta: Mapping[str, str], finish_reason: str | None) -> bytes:
    return orjson.dumps({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]})

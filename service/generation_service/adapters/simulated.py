"""A generator that costs nothing: text and latency follow from the prompt alone.

For demos, load tests and unit tests. The same prompt always gives the same text after the same time, in every replica,
so a run can be repeated; nothing here draws from a random source that others share.
"""

import hashlib
import random
from dataclasses import dataclass
from typing import Final

from generation_service.domain.workflow import Generation, Prompt
from generation_service.ports import Clock

WORDS: Final = (
    "service", "request", "answer", "model", "token", "queue", "replica", "load", "time", "signal", "target", "policy",
    "trace", "step", "cache", "proxy", "grows", "falls", "waits", "holds", "serves", "scales", "settles", "measures",
    "explains", "decides", "learns", "repeats", "follows", "keeps", "small", "large", "fast", "slow", "steady", "busy",
    "idle", "fresh", "stale", "warm", "cold", "early", "late", "clear", "the", "of", "and", "to", "with", "more",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SimulatedGenerator:
    """`ports.Generator` that sleeps for `latency_seconds` ± jitter and then answers at most `tokens` words."""

    clock: Clock
    latency_seconds: float
    jitter_percent: int
    tokens: int

    async def generate(self, prompt: Prompt) -> Generation:
        """Answer after the latency that belongs to this prompt."""
        digest = hashlib.blake2b(prompt.text.encode(), digest_size=8).digest()
        chance = random.Random(digest)  # noqa: S311 - repeatable on purpose, guards no secret
        factor = 1 + chance.uniform(-1, 1) * self.jitter_percent / 100
        await self.clock.sleep(self.latency_seconds * factor)
        count = min(prompt.max_tokens, self.tokens)
        return Generation(text=" ".join(chance.choices(WORDS, k=count)), tokens=count)

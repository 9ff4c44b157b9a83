"""Ask the pods themselves how much they have to do, every two seconds.

What Prometheus knows is as old as its last scrape, 15 to 30 s; on bursts that age costs more missed targets than any
policy can win back. So the pods are asked directly: a few of each service, all services within one budget of requests.
A pod that keeps silent has no part in this until it answers again, which is tried now and then beside the rounds: it
takes neither the turn nor the time of those that answer.
"""

import asyncio
import heapq
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

import aiohttp

from generation_operator.api.resource import Key
from generation_operator.observe.load import Answer, Fleet, Load, parse_load
from generation_operator.observe.pod_index import Pod, PodIndex

PATH: Final = "/load"
MOST_PODS: Final = 16  # of one service in one round; the mean of 16 is within a quarter of that of all
# Of these 16, so many are others in the next round: over time all are seen, and most can be compared with before.
_NEW_EACH_ROUND: Final = 2
_TIMEOUT: Final = aiohttp.ClientTimeout(total=1.0)
_ANSWER_BYTES: Final = 4096
# After 3 failures in a row a pod is tried every 30 s only: where the operator cannot reach pods at all (it runs outside
# the cluster, a NetworkPolicy), that costs next to nothing.
_FAILURES: Final = 3
_PAUSE_SECONDS: Final = 30.0
# Of a round's requests those tries may be a quarter. 5,000 silent pods, due at the same time and longest unseen, took
# five rounds in a row for themselves, and the others waited for 10 s.
_TRIES_PER_REQUEST: Final = 0.25


class Target(NamedTuple):
    """A service whose pods are to be asked."""

    key: Key
    port: int


Ready = Mapping[Target, Collection[Pod]]  # who could be asked


class Probe(Protocol):
    """Asks one pod."""

    async def ask(self, url: str) -> bytes | None:
        """The body of the answer; None when there is none in time. Never raises."""


class HttpProbe:
    """A `Probe` over HTTP, with one pool of connections. To be used in the loop that it is made in.

    Args:
        connections: at a time. As many as pods are asked at once: a pod that drops what it is sent keeps its
            connection for the whole second, and with fewer than that those that answer would wait behind it in vain.
    """

    def __init__(self, connections: int) -> None:
        # No cookies, no proxies of the environment, no redirects: a pod answers itself or not at all.
        connector = aiohttp.TCPConnector(limit=connections, limit_per_host=2, use_dns_cache=False)
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=_TIMEOUT, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
        )

    async def ask(self, url: str) -> bytes | None:
        """The body of the answer, cut off after 4 KiB."""
        try:
            async with self._session.get(url, allow_redirects=False) as response:
                if response.status != 200:
                    return None
                return await response.content.read(_ANSWER_BYTES)
        except (aiohttp.ClientError, TimeoutError, ValueError, OSError):
            return None

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()


class _Trouble(NamedTuple):
    failures: int
    not_before: float


class PodLoads:
    """Samples the load of services.

    Args:
        probe: asks one pod.
        pods: which pods there are.
        requests_per_round: pods that are asked in one round, all services together; at least `MOST_PODS`, and then a
            quarter more where pods keep silent. Services that find no room are first in the next round.
        clock: monotonic, in seconds.
    """

    def __init__(self, probe: Probe, pods: PodIndex, *, requests_per_round: int, clock: Callable[[], float]) -> None:
        self._probe = probe
        self._pods = pods
        self._requests_per_round = requests_per_round
        self._clock = clock
        self._fleets: dict[Key, Fleet] = {}
        self._sampled_at: dict[Key, float] = {}
        self._trouble: dict[str, _Trouble] = {}
        self._round = 0
        self._tries: asyncio.Future[list[Answer | None]] | None = None

    async def sample(self, targets: Sequence[Target]) -> Mapping[Key, Load]:
        """One round: the load of every service that had its turn and has a ready pod."""
        ready = {target: self._pods.ready(target.key) for target in targets}
        self._forget(ready)
        self._round += 1
        now = self._clock()
        room = max(MOST_PODS, self._requests_per_round - self._try_silent(ready, now))
        chosen = self._chosen(ready, room)
        given = iter(await asyncio.gather(*(self._ask(pod, target.port) for target, pods in chosen for pod in pods)))
        loads, after = {}, self._clock()
        for target, pods in chosen:
            answers = {pod.uid: answer for pod in pods if (answer := next(given)) is not None}
            serving = [pod.uid for pod in self._pods.ready(target.key)]  # now
            fleet = self._fleets.setdefault(target.key, Fleet())
            loads[target.key] = fleet.add_up(answers, serving, min(len(serving), MOST_PODS), after)
            self._sampled_at[target.key] = now
        return loads

    def busy(self, service: Key) -> Mapping[str, float]:
        """How much each pod had to do when it was last asked, by uid."""
        fleet = self._fleets.get(service)
        return {} if fleet is None else fleet.busy()

    async def close(self) -> None:
        """Give up the tries that are under way."""
        if self._tries is not None:
            self._tries.cancel()
            await asyncio.gather(self._tries, return_exceptions=True)

    def _try_silent(self, ready: Ready, now: float) -> int:
        """Find out whether pods that keep silent answer again; returns how many are asked. Nobody waits for them."""
        if not self._trouble or (self._tries is not None and not self._tries.done()):
            return 0
        due = [
            (self._trouble[pod.uid].not_before, pod, target.port)
            for target, pods in ready.items()
            for pod in pods
            if self._is_silent(pod) and self._trouble[pod.uid].not_before <= now
        ]
        due = heapq.nsmallest(int(self._requests_per_round * _TRIES_PER_REQUEST), due)
        self._tries = asyncio.gather(*(self._ask(pod, port) for _, pod, port in due))
        return len(due)

    def _chosen(self, ready: Ready, room: int) -> list[tuple[Target, Sequence[Pod]]]:
        """Whom to ask in this round; who has waited longest comes first."""
        chosen: list[tuple[Target, Sequence[Pod]]] = []
        for target in sorted(ready, key=lambda target: (self._sampled_at.get(target.key, -1.0), target.key)):
            pods = self._some([pod for pod in ready[target] if not self._is_silent(pod)])
            if len(pods) > room:
                break
            if pods:
                chosen.append((target, pods))
                room -= len(pods)
        return chosen

    def _some(self, pods: list[Pod]) -> list[Pod]:
        """Up to 16 of the pods: a window over them that moves on by two each round."""
        if len(pods) <= MOST_PODS:
            return pods
        pods.sort(key=lambda pod: pod.uid)
        first = self._round * _NEW_EACH_ROUND % len(pods)
        return (pods[first:] + pods[:first])[:MOST_PODS]

    def _is_silent(self, pod: Pod) -> bool:
        trouble = self._trouble.get(pod.uid)
        return trouble is not None and trouble.failures >= _FAILURES

    async def _ask(self, pod: Pod, port: int) -> Answer | None:
        host = f"[{pod.ip}]" if ":" in pod.ip else pod.ip
        answer = await self._probe.ask(f"http://{host}:{port}{PATH}")
        load, at = None if answer is None else parse_load(answer), self._clock()
        if load is None:
            failures = self._trouble[pod.uid].failures + 1 if pod.uid in self._trouble else 1
            self._trouble[pod.uid] = _Trouble(failures, at + _PAUSE_SECONDS)
            return None
        self._trouble.pop(pod.uid, None)
        return Answer(load, at)

    def _forget(self, ready: Ready) -> None:
        """Let go of services that are no targets any more, and of pods that do not serve."""
        for gone in self._fleets.keys() - {target.key for target in ready}:
            del self._fleets[gone]
            self._sampled_at.pop(gone, None)
        if self._trouble:
            for uid in self._trouble.keys() - {pod.uid for pods in ready.values() for pod in pods}:
                del self._trouble[uid]

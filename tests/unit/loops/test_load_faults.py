"""Pods that do not answer, or answer nonsense, while Prometheus fails as well: replicas never go down on that.

The real autoscaler, the real sampling of pods and the real reading of Prometheus' answers, on a cluster in memory. Only
what the pods and Prometheus say is a fake, each in its own format.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import pytest
from prometheus_api_client import PrometheusApiClientException

from autoscaler_world import BUSY, CALM, IDLE, NOW, A, World
from builders import ServiceBuilder
from generation_operator.api.kinds import DEPLOYMENT, Manifest
from generation_operator.api.names import LABEL_COMPONENT, LABEL_INSTANCE
from generation_operator.decide.types import SignalName
from generation_operator.observe.pod_index import PodIndex
from generation_operator.observe.pods import PodLoads
from generation_operator.observe.prometheus import PrometheusSource
from generation_operator.observe.queries import Evidence, Query
from generation_operator.observe.sources import Sources
from prometheus_queries import batch

_REPLICAS: Final = 5
_FAULTY_TICKS: Final = 30  # 7.5 minutes: longer than the cooldown of 300 s, which would hide a wish to lower
_TICK_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True)
class Work:
    """What there is to do, for all replicas together."""

    metrics: Mapping[SignalName, float]
    arrivals: float  # workflows per second
    in_flight: float
    misses: float = 0.0  # share of the workflows


# 20 workflows at a time are what one replica sustains.
STEADY: Final = Work(CALM, arrivals=9.0, in_flight=80.0)
WORK: Final = {
    "idle": Work(IDLE, arrivals=0.05, in_flight=1.0),
    "busy": Work(BUSY, arrivals=18.0, in_flight=180.0),
    "burning": Work(IDLE, arrivals=0.05, in_flight=1.0, misses=0.9),
}

Answer = Callable[[bytes], bytes | None]


def silent(_: bytes) -> None:
    return None


PODS: Final[dict[str, Answer]] = {
    "silent pods": silent,
    "pods that answer a page": lambda _: b"<html>not found</html>",
    "pods that answer in part": lambda answer: answer.partition(b"\n")[0],
    "pods that say NaN": lambda answer: answer.replace(b"in_flight ", b"in_flight NaN"),
    "pods that say less than nothing": lambda answer: answer.replace(b"queued 0", b"queued -1"),
}


class Pods:
    """Every pod of the service; a `Probe`."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.work = STEADY
        self.count = _REPLICAS
        self.spoilt: dict[str, Answer] = {}  # by the pod's address
        self._clock = clock

    async def ask(self, url: str) -> bytes | None:
        host = url.removeprefix("http://").partition(":")[0]
        arrived = self.work.arrivals / self.count * self._clock()
        answer = (
            f"generation_service_load_in_flight {self.work.in_flight / self.count}\n"
            "generation_service_load_queued 0\n"
            f"generation_service_load_arrived_total {arrived}\n"
        )
        spoil = self.spoilt.get(host)
        return answer.encode() if spoil is None else spoil(answer.encode())


_NAMES: Final = {text: query for query, text in batch(60, 60).items()}


class Prometheus:
    """A client of `PrometheusSource`."""

    def __init__(self) -> None:
        self.work = STEADY
        self.count = _REPLICAS
        self.age = 3.0
        self.error: Exception | None = None
        self.forgotten: frozenset[SignalName] = frozenset()  # what it knows nothing of any more

    def custom_query(self, query: str) -> object:
        if self.error is not None:
            raise self.error
        values: dict[Query, float] = {Evidence.AGE: self.age, Evidence.REPORTING: self.count}
        values.update(self.work.metrics.items())
        values[SignalName.WORKFLOW_ARRIVALS] = self.work.arrivals
        values[SignalName.WORKFLOWS_IN_FLIGHT] = self.work.in_flight
        values[SignalName.WORKFLOW_SERVICE_TIME] = 10.0
        values.update({name: self.work.misses for name in SignalName if name.name.startswith("MISS_RATIO")})
        name = _NAMES[query]
        if name not in values or name in self.forgotten:
            return []
        labels = {"namespace": A.namespace, "service": A.name}
        return [{"metric": labels, "value": [NOW, str(values[name])]}]

    def close(self) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Broken:
    """How Prometheus fails beside the pods, and what the operator has to call it."""

    reason: str
    changes: Mapping[str, Any]


PROMETHEUS: Final = {
    "dead Prometheus": Broken("PrometheusUnreachable", {"error": ConnectionRefusedError()}),
    "restarting Prometheus": Broken(
        "PrometheusUnreachable", {"error": PrometheusApiClientException("HTTP Status Code 503 (b'starting up')")}
    ),
    "Prometheus without scrapes": Broken("StaleSamples", {"age": 61.0}),
    "Prometheus without samples": Broken("NoSamples", {"forgotten": frozenset([*SignalName, Evidence.AGE])}),
}


class _Service(ServiceBuilder):
    """A builder that keeps its policy, whatever the world prefers."""

    def __init__(self, policy: str) -> None:
        super().__init__(A.name, A.namespace)
        self._policy = policy

    def manifest(self) -> Manifest:
        self._spec["scaling"] = {"policy": self._policy, "minReplicas": 1, "maxReplicas": 12}
        return super().manifest()


class LoadWorld(World):
    """A service whose pods are asked for their load, next to Prometheus."""

    def __init__(self, policy: str) -> None:
        super().__init__(_Service(policy), replicas=_REPLICAS)
        self.monotonic = 100.0  # seconds on the clock that nobody sets; `now` is the one that is set
        self.pods, self.prometheus = Pods(lambda: self.monotonic), Prometheus()
        self.source = PrometheusSource(lambda _: self.prometheus, clock=lambda: self.monotonic)
        loads = PodLoads(self.pods, self.store.pods, requests_per_round=100, clock=lambda: self.monotonic)
        self.sources = Sources(
            self.source,
            loads,
            metrics_seconds=5,
            load_seconds=_TICK_SECONDS,
            patience_seconds=10,  # the threads are real, and the machine may be busy
            clock=lambda: self.monotonic,
        )
        self.metrics = self.sources  # type: ignore[assignment]  # the real ones in the place of the fake
        self.autoscaler = self.restarted()

    def work(self, work: Work) -> None:
        self.pods.work = self.prometheus.work = work

    async def look(self) -> str | None:
        """A tick, after which all pods that are asked for get ready; returns what is wrong with the metrics."""
        self.store.put(DEPLOYMENT, self.cluster.set_ready(*A))
        self.pods.count = self.prometheus.count = self.replicas()
        found = PodIndex()
        for number in range(self.pods.count):
            found.put(pod(number))
        self.store.pods.replace(found)
        self.monotonic += _TICK_SECONDS
        await self.tick(_TICK_SECONDS)
        return self.told().observation.metrics_error


def pod(number: int) -> Manifest:
    labels = {LABEL_INSTANCE: A.name, LABEL_COMPONENT: "service"}
    name = f"a-{number}"
    return {
        "metadata": {"name": name, "namespace": A.namespace, "uid": name, "labels": labels},
        "status": {"podIP": address(number), "conditions": [{"type": "Ready", "status": "True"}]},
    }


def address(number: int) -> str:
    return f"10.0.0.{number + 1}"


@asynccontextmanager
async def warm(policy: str) -> AsyncIterator[LoadWorld]:
    """Five replicas that have just enough to do, some looks after the start."""
    world = LoadWorld(policy)
    try:
        for _ in range(3):
            assert await world.look() is None
        assert world.replicas() == _REPLICAS, "the world is not steady: no test would prove anything"
        yield world
    finally:
        await world.sources.close()
        world.source.close()


def spoil(world: LoadWorld, answer: Answer, count: int = 12) -> None:
    world.pods.spoilt = {address(number): answer for number in range(count)}


@pytest.mark.parametrize("policy", ["Score", "Targets"])
@pytest.mark.parametrize("work", list(WORK))
@pytest.mark.parametrize("prometheus", list(PROMETHEUS))
@pytest.mark.parametrize("pods", list(PODS))
async def test_both_faults_at_once_never_lower_replicas_and_are_over_within_two_ticks(
    pods: str, prometheus: str, work: str, policy: str
) -> None:
    async with warm(policy) as world:
        world.work(WORK[work])
        spoil(world, PODS[pods])
        for name, value in PROMETHEUS[prometheus].changes.items():
            setattr(world.prometheus, name, value)
        for number in range(_FAULTY_TICKS):
            reason = await world.look()
            assert world.replicas() == _REPLICAS
            # What the pods said last counts for maxAgeSeconds, a minute, as what Prometheus says does.
            if number * _TICK_SECONDS > 60 or policy == "Score":
                assert reason is not None
                assert reason.partition(":")[0] == PROMETHEUS[prometheus].reason
        world.pods.spoilt = {}
        for name, value in vars(Prometheus()).items():
            if name in PROMETHEUS[prometheus].changes:
                setattr(world.prometheus, name, value)
        assert None in [await world.look(), await world.look()]


@pytest.mark.parametrize("prometheus", list(PROMETHEUS))
async def test_too_few_pods_that_answer_are_no_reason_to_lower(prometheus: str) -> None:
    """Three of five are idle; the other two may have all the work."""
    async with warm("Targets") as world:
        world.work(WORK["idle"])
        spoil(world, silent, count=2)
        for name, value in PROMETHEUS[prometheus].changes.items():
            setattr(world.prometheus, name, value)
        for _ in range(_FAULTY_TICKS):
            await world.look()
            assert world.replicas() == _REPLICAS


@pytest.mark.parametrize("pods", list(PODS))
async def test_pods_that_fail_do_not_keep_prometheus_from_raising(pods: str) -> None:
    async with warm("Targets") as world:
        world.work(WORK["busy"])
        spoil(world, PODS[pods])
        for _ in range(2 + int(60 / _TICK_SECONDS)):
            await world.look()
        assert world.replicas() > _REPLICAS


@pytest.mark.parametrize("prometheus", list(PROMETHEUS))
async def test_prometheus_that_fails_does_not_keep_the_pods_from_raising(prometheus: str) -> None:
    async with warm("Targets") as world:
        world.work(WORK["busy"])
        for name, value in PROMETHEUS[prometheus].changes.items():
            setattr(world.prometheus, name, value)
        for _ in range(2):
            assert await world.look() is None
        assert world.replicas() > _REPLICAS


@pytest.mark.parametrize("policy", ["Score", "Targets"])
async def test_prometheus_that_has_forgotten_its_rates_lowers_nothing(policy: str) -> None:
    """After its restart, gauges are there at once and rates with the second scrape; the pods do not answer."""
    rates = {SignalName.REQUEST_RATE, SignalName.RESPONSE_TIME, SignalName.ERROR_RATIO, SignalName.CPU}
    rates |= {SignalName.WORKFLOW_ARRIVALS, SignalName.WORKFLOW_SERVICE_TIME}
    async with warm(policy) as world:
        spoil(world, silent)
        world.work(WORK["idle"])
        world.prometheus.forgotten = frozenset(rates)
        for _ in range(_FAULTY_TICKS):
            await world.look()
            assert world.replicas() == _REPLICAS
        world.prometheus.forgotten = frozenset()
        assert None in [await world.look(), await world.look()]


@pytest.mark.parametrize("policy", ["Score", "Targets"])
@pytest.mark.parametrize("seconds", [-3600.0, 3600.0], ids=["back", "ahead"])
async def test_a_clock_that_is_set_lowers_nothing_and_is_forgotten_soon(policy: str, seconds: float) -> None:
    """A machine's clock is corrected by an hour while there is steady work; then the work doubles."""
    async with warm(policy) as world:
        world.now += seconds
        for _ in range(4):
            await world.look()
            assert world.replicas() >= _REPLICAS
        world.work(WORK["busy"])
        for _ in range(2):
            await world.look()
        assert world.replicas() > _REPLICAS


async def test_a_clock_that_is_set_back_delays_the_next_step_by_no_more_than_the_cooldown() -> None:
    """The last step is in the future then."""
    async with warm("Score") as world:
        world.work(WORK["busy"])
        await world.look()
        stepped = world.replicas()
        assert stepped > _REPLICAS
        world.now -= 3600
        for _ in range(int(300 / _TICK_SECONDS) + 2):
            await world.look()
        assert world.replicas() > stepped


@pytest.mark.parametrize("policy", ["Score", "Targets"])
async def test_the_same_idleness_without_a_fault_lowers_replicas(policy: str) -> None:
    """The matrix above could not fail without this."""
    async with warm(policy) as world:
        world.work(WORK["idle"])
        for _ in range(_FAULTY_TICKS):
            await world.look()
        assert world.replicas() < _REPLICAS


async def test_idle_pods_alone_are_reason_enough_to_lower() -> None:
    """Nor could it without this: the pods are a source of their own."""
    async with warm("Targets") as world:
        world.prometheus.error = ConnectionRefusedError()
        world.work(WORK["idle"])
        for _ in range(_FAULTY_TICKS):
            await world.look()
        assert world.replicas() < _REPLICAS

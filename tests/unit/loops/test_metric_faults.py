"""Every way in which metrics lie or fall silent, at every load: replicas never go down, the reason says what is wrong.

The real autoscaler, the real reading of Prometheus' answers and a cluster in memory; only the HTTP of Prometheus is a
fake, which answers in its own format, so that NaN and labels are read as they are read in production.
"""

import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from prometheus_api_client import PrometheusApiClientException

from autoscaler_world import BUSY, CALM, IDLE, A, World
from builders import ServiceBuilder
from generation_operator.api.kinds import DEPLOYMENT, Manifest
from generation_operator.decide.types import SignalName
from generation_operator.observe.prometheus import PrometheusSource
from generation_operator.observe.queries import Evidence, Query
from prometheus_queries import batch

_REPLICAS: Final = 5
_FAULTY_TICKS: Final = 30  # 7.5 minutes: longer than the cooldown of 300 s, which would hide a wish to lower
_WORKFLOWS_IDLE: Final = {
    SignalName.WORKFLOW_ARRIVALS: 0.05,
    SignalName.WORKFLOWS_IN_FLIGHT: 1.0,
    SignalName.WORKFLOW_SERVICE_TIME: 10.0,
    SignalName.MISS_RATIO_5M: 0.0,
    SignalName.MISS_RATIO_30M: 0.0,
    SignalName.MISS_RATIO_1H: 0.0,
    SignalName.MISS_RATIO_6H: 0.0,
}
_WORKFLOWS_BUSY: Final = _WORKFLOWS_IDLE | {
    SignalName.WORKFLOW_ARRIVALS: 9.0,
    SignalName.WORKFLOWS_IN_FLIGHT: 90.0,
}
_MISSES: Final = {name: 0.9 for name in SignalName if name.name.startswith("MISS_RATIO")}

LOADS: Final[dict[str, dict[SignalName, float]]] = {
    "idle": IDLE | _WORKFLOWS_IDLE,
    "busy": BUSY | _WORKFLOWS_BUSY,
    "burning": IDLE | _WORKFLOWS_IDLE | _MISSES,
}


@dataclass(slots=True)
class Prometheus:
    """What the server says, and how it fails; a client of `PrometheusSource`."""

    values: Mapping[SignalName, float] = field(default_factory=lambda: CALM | _WORKFLOWS_BUSY)
    age: float | None = 3.0
    reporting: float | None = 100.0
    labels: Mapping[str, str] = field(default_factory=lambda: {"namespace": A.namespace, "service": A.name})
    error: Exception | None = None
    released: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.released.set()

    def custom_query(self, query: str) -> object:
        self.released.wait(20)
        if self.error is not None:
            raise self.error
        values: dict[Query, float | None] = {Evidence.AGE: self.age, Evidence.REPORTING: self.reporting}
        values.update(self.values.items())
        value = values.get(_NAMES[query])
        return [] if value is None else [{"metric": dict(self.labels), "value": [1_700_000_000, str(value)]}]

    def close(self) -> None:
        self.released.set()


_NAMES: Final = {text: query for query, text in batch(60, 60).items()}


@dataclass(frozen=True, slots=True)
class Fault:
    """How a healthy answer is spoilt, and what the operator has to call it."""

    reason: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    every_value: float | None = None
    slow: bool = False
    ready: int = _REPLICAS


FAULTS: Final = {
    "empty": Fault("NoSamples", {"values": {}, "age": None, "reporting": None}),
    "signals gone, the rest is there": Fault("MissingSignals", {"values": {}}),
    "NaN": Fault("MissingSignals", every_value=math.nan),
    "infinite": Fault("MissingSignals", every_value=math.inf),
    "everything NaN": Fault("NoSamples", {"age": math.nan, "reporting": math.nan}, every_value=math.nan),
    "zero, because no pod is ready": Fault("NoReadyPods", every_value=0.0, ready=0),
    "stale": Fault("StaleSamples", {"age": 61.0}),
    "clock ahead by two minutes": Fault("StaleSamples", {"age": 123.0}),
    "three of five pods": Fault("PartialCoverage", {"reporting": 3.0}),
    "server error": Fault(
        "PrometheusUnreachable", {"error": PrometheusApiClientException("HTTP Status Code 503 (b'restarting')")}
    ),
    "refused": Fault("PrometheusUnreachable", {"error": ConnectionRefusedError()}),
    "no answer to a query": Fault("PrometheusUnreachable", {"error": ValueError("<html>")}),
    "slow": Fault("PrometheusUnreachable", slow=True),
    "labels of another service": Fault("NoSamples", {"labels": {"namespace": A.namespace, "service": "other"}}),
    "no labels": Fault("NoSamples", {"labels": {}}),
}


class _Service(ServiceBuilder):
    """A builder that keeps its policy, whatever the world prefers."""

    def __init__(self, policy: str) -> None:
        super().__init__("a", "default")
        self._policy = policy

    def manifest(self) -> Manifest:
        self._spec["scaling"] = {"policy": self._policy, "minReplicas": 1, "maxReplicas": 9}
        return super().manifest()


@contextmanager
def watching(policy: str, prometheus: Prometheus, *, read_seconds: float = 6.0) -> Iterator[World]:
    """Five replicas, warm, with metrics that are read from `prometheus`; the patience with it is in real time."""
    world = World(_Service(policy), replicas=_REPLICAS)
    source = PrometheusSource(lambda _: prometheus, read_seconds=read_seconds, clock=lambda: world.now)
    world.metrics = source  # type: ignore[assignment]  # the real source in the place of the fake one
    world.autoscaler = world.restarted()
    try:
        yield world
    finally:
        prometheus.released.set()
        source.close()


def spoil(prometheus: Prometheus, fault: Fault, load: Mapping[SignalName, float]) -> None:
    prometheus.values = load if fault.every_value is None else dict.fromkeys(load, fault.every_value)
    for name, value in fault.changes.items():
        setattr(prometheus, name, value)
    if fault.slow:
        prometheus.released.clear()


async def tick(world: World, ready: int | None = None) -> str | None:
    """One tick on Deployments as their controller reports them; returns what is wrong with the metrics."""
    world.store.put(DEPLOYMENT, world.cluster.set_ready(*A, ready))
    await world.tick()
    return world.told().observation.metrics_error


@pytest.mark.parametrize("policy", ["Score", "Targets"])
@pytest.mark.parametrize("load", list(LOADS))
@pytest.mark.parametrize("name", list(FAULTS))
async def test_fault_never_lowers_replicas_is_named_and_is_over_within_two_ticks(
    name: str, load: str, policy: str
) -> None:
    fault, prometheus = FAULTS[name], Prometheus()
    # A machine that is busy may stop for half a second, which is no fault of this Prometheus.
    with watching(policy, prometheus, read_seconds=0.5 if fault.slow else 6.0) as world:
        for _ in range(3):
            assert await tick(world) is None
        before = world.replicas()
        spoil(prometheus, fault, LOADS[load])
        for _ in range(_FAULTY_TICKS if not fault.slow else 3):  # a slow one costs real time
            reason = await tick(world, fault.ready if fault.ready < _REPLICAS else None)
            assert reason is not None
            assert reason.partition(":")[0] == fault.reason
            assert world.replicas() >= before
        healthy = Prometheus(LOADS[load])
        for field_name in ("values", "age", "reporting", "labels", "error"):
            setattr(prometheus, field_name, getattr(healthy, field_name))
        prometheus.released.set()
        assert None in [await tick(world), await tick(world)]


@pytest.mark.parametrize("policy", ["Score", "Targets"])
async def test_the_same_idleness_without_a_fault_lowers_replicas(policy: str) -> None:
    """The matrix above could not fail without this."""
    prometheus = Prometheus()
    with watching(policy, prometheus) as world:
        for _ in range(3):
            await tick(world)
        before = world.replicas()
        prometheus.values = LOADS["idle"]
        for _ in range(_FAULTY_TICKS):
            await tick(world)
        assert world.replicas() < before


@pytest.mark.parametrize("policy", ["Score", "Targets"])
async def test_zeros_of_an_outage_lower_nothing_when_pods_are_ready_again_before_the_next_scrape(policy: str) -> None:
    prometheus = Prometheus()
    with watching(policy, prometheus) as world:
        for _ in range(3):
            await tick(world)
        before = world.replicas()
        prometheus.values = dict.fromkeys(LOADS["idle"], 0.0)
        for _ in range(_FAULTY_TICKS):
            await tick(world, 0)
        for _ in range(3):  # 45 s, with samples that may be 60 s old
            assert await tick(world) is None
            assert world.replicas() >= before
        for _ in range(_FAULTY_TICKS):
            await tick(world)
        assert world.replicas() < before, "who is still idle then is lowered"

"""A service under an autoscaler, in virtual time: replicas come and go, requests queue, samples are taken.

The plant knows nothing of any policy. It carries out the wanted counts as a Deployment does (a new replica costs from
its creation and serves only when ready; a removed one finishes what it has), and records once a second what a probe
would have counted. The same requests, scaler and seed give the same run.
"""

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from generation_operator.simulate.ports import Pod, Sample, Scaler, Seconds
from generation_operator.simulate.result import Note, Run, Timeline
from generation_operator.simulate.serving import Patience, SlotQueue
from generation_operator.simulate.sharing import SharedProcessors
from generation_operator.simulate.trace import Requests

_MAX_REPLICAS: Final = 1000


@dataclass(frozen=True, slots=True)
class Startup:
    """How long a replica takes from its creation to its first request.

    The time has a fixed median and a lognormal spread; what follows it, the readiness probe's phase and the way of the
    address to the proxies, is part of it: `mean_seconds` is the mean of the whole.
    """

    mean_seconds: Seconds = 20.0
    sigma: float = 0.1  # of the logarithm; 0.35 gives the p99/p50 of 2.3 of measured model loads
    readiness_period_seconds: Seconds = 2.0
    endpoint_seconds: Seconds = 0.5

    def draw(self, rng: np.random.Generator) -> Seconds:
        """One start-up."""
        fixed = self.readiness_period_seconds / 2 + self.endpoint_seconds
        mean = max(self.mean_seconds - fixed, 0.0)
        start = mean * math.exp(self.sigma * float(rng.standard_normal()) - self.sigma**2 / 2)
        return start + self.readiness_period_seconds * float(rng.random()) + self.endpoint_seconds


# Model loads of a public trace of image generation: p50 22.7 s, p95 45.4 s, p99 51.8 s.
MEASURED_MODEL_LOAD: Final = Startup(mean_seconds=26.0, sigma=0.38)


@dataclass(frozen=True, slots=True)
class PlantConfig:
    """The service and its clients.

    Attributes:
        slots: requests that one replica works on at a time.
        processors: None: each slot works at full speed whatever the others do. A number: the requests of a replica
            share that many processors and slow each other down.
        startup: from creation to ready.
        patience: of clients and queue.
        grace_seconds: a removed replica is killed after this long.
        initial_replicas: ready at the start.
    """

    slots: int = 20
    processors: float | None = None
    startup: Startup = field(default_factory=Startup)
    patience: Patience = field(default_factory=Patience)
    grace_seconds: Seconds = 120.0
    initial_replicas: int = 2


def simulate(requests: Requests, scaler: Scaler, config: PlantConfig, seed: int, *, notes: bool = False) -> Run:
    """Let a scaler run a service through a trace.

    Args:
        requests: what arrives.
        scaler: the autoscaler; used for this run only.
        config: the service.
        seed: start-up times and phases are drawn from it.
        notes: keep what the scaler says about its decisions, if it says anything (attribute `notes`).
    """
    plant = Plant(requests, config, np.random.default_rng([seed, 1]))
    at = scaler.begin(plant, np.random.default_rng([seed, 2]))
    while at <= requests.duration:
        plant.advance(at)
        wanted, following = scaler.act(plant, at)
        if wanted is not None:
            plant.scale(wanted)
        if not following > at:
            raise ValueError(f"{scaler.name} wants to act at {following} s, which is not after {at} s")
        at = following
    plant.advance(requests.duration)
    said: Sequence[Note] = getattr(scaler, "notes", ()) if notes else ()
    return plant.result(scaler.name, seed, tuple(said))


class Plant:
    """`ports.View` of a service that can be advanced and scaled."""

    def __init__(self, requests: Requests, config: PlantConfig, rng: np.random.Generator) -> None:
        self.slots = config.slots
        self.now: Seconds = 0.0
        self._requests = requests
        self._config = config
        self._rng = rng
        self._queue = _serving(requests, config)
        self._alive: list[Pod] = []  # starting and ready, oldest first
        self._draining: list[Pod] = []
        self._becoming_ready: list[tuple[Seconds, int, Pod]] = []
        self._created = 0
        self._startups: list[Seconds] = []
        self._pod_seconds = 0.0
        self._charged_until = requests.scored_from
        self._samples: list[Sample] = []
        self._draining_counts: list[int] = []
        self._replica_counts: list[int] = []
        for _ in range(config.initial_replicas):
            self._create(ready_at=0.0)
        self._open_ready()
        self._record(0.0)

    @property
    def startup_seconds(self) -> Seconds:
        """Mean of the last ten start-ups; before the first one, what the configuration says."""
        recent = self._startups[-10:]
        return sum(recent) / len(recent) if recent else self._config.startup.mean_seconds

    @property
    def replicas(self) -> int:
        """`spec.replicas`."""
        return len(self._alive)

    def pods(self) -> Sequence[Pod]:
        """Starting and ready replicas, then draining ones."""
        return [*self._alive, *self._draining]

    def sample(self, at: Seconds) -> Sample:
        """What a probe at `at` counted, to the whole second below."""
        return self._samples[max(0, min(int(at), len(self._samples) - 1))]

    def scale(self, wanted: int) -> None:
        """Change `spec.replicas`, now."""
        wanted = max(0, min(wanted, _MAX_REPLICAS))
        while len(self._alive) < wanted:
            self._create(ready_at=self.now + self._config.startup.draw(self._rng))
        while len(self._alive) > wanted:
            # As the ReplicaSet controller picks: those that are not ready first, then the youngest.
            self._remove(max(self._alive, key=lambda pod: (pod.ready_at > self.now, pod.created_at, pod.id)))

    def advance(self, until: Seconds) -> None:
        """Let time pass."""
        while self.now < until:
            second = float(len(self._samples))
            ready = self._becoming_ready[0][0] if self._becoming_ready else math.inf
            at = min(until, second, ready)
            self._queue.advance(at)
            self._charge(at)
            self.now = at
            if ready <= at:
                self._open_ready()
            self._bury()
            if second <= at:
                self._record(at)

    def result(self, scaler: str, seed: int, notes: tuple[Note, ...]) -> Run:
        """Everything that was recorded. Requests that wait at the end count by how long they have waited."""
        arrivals, service = self._requests.arrivals, self._requests.service
        waits = np.array(self._queue.waits)
        missed = np.frombuffer(bytes(self._queue.missed_request), dtype=np.uint8).astype(np.bool_)
        overdue = np.isnan(waits) & (self.now - arrivals > self._config.patience.wait_seconds)
        columns = np.array([tuple(sample) for sample in self._samples])
        counts = columns.astype(np.int64)
        return Run(
            scaler=scaler,
            seed=seed,
            requests=self._requests,
            waits=waits,
            latencies=waits + service,
            missed=missed | overdue,
            pod_seconds=self._pod_seconds,
            timeline=Timeline(
                at=columns[:, 0],
                in_flight=counts[:, 1],
                queued=counts[:, 2],
                arrived=counts[:, 3],
                missed=counts[:, 5],
                ready=counts[:, 7],
                starting=counts[:, 8],
                draining=np.array(self._draining_counts, dtype=np.int64),
                replicas=np.array(self._replica_counts, dtype=np.int64),
            ),
            notes=notes,
        )

    def _create(self, ready_at: Seconds) -> None:
        pod = Pod(self._created, self.now, ready_at, self.slots, usage=[0.0])
        self._created += 1
        self._alive.append(pod)
        heapq.heappush(self._becoming_ready, (ready_at, pod.id, pod))

    def _remove(self, pod: Pod) -> None:
        self._alive.remove(pod)
        pod.draining_since = self.now
        if pod.ready_at <= self.now:
            self._queue.close(pod)
            self._draining.append(pod)
        else:
            self._becoming_ready = [entry for entry in self._becoming_ready if entry[2] is not pod]
            heapq.heapify(self._becoming_ready)

    def _open_ready(self) -> None:
        while self._becoming_ready and self._becoming_ready[0][0] <= self.now:
            _, _, pod = heapq.heappop(self._becoming_ready)
            if pod.ready_at > pod.created_at:
                self._startups.append(pod.ready_at - pod.created_at)
            self._queue.open(pod, self.now)

    def _bury(self) -> None:
        if not self._draining:
            return
        for pod in self._draining:
            if pod.draining_since is not None and self.now - pod.draining_since >= self._config.grace_seconds:
                self._queue.kill(pod)
        self._draining = [pod for pod in self._draining if pod.busy]

    def _charge(self, until: Seconds) -> None:
        """A replica costs from its creation until its last request has left."""
        start = max(self.now, self._charged_until)
        if until > start:
            self._pod_seconds += (until - start) * (len(self._alive) + len(self._draining))
            self._charged_until = until

    def _record(self, at: Seconds) -> None:
        queue, starting = self._queue, len(self._becoming_ready)
        self._samples.append(
            Sample(
                at,
                queue.in_flight,
                queue.queued,
                queue.arrived,
                queue.served,
                queue.missed,
                queue.service_seconds,
                len(self._alive) - starting,
                starting,
            )
        )
        self._draining_counts.append(len(self._draining))
        self._replica_counts.append(len(self._alive))
        for pod in self._alive:
            if pod.usage is not None:
                pod.usage.append(pod.usage[-1] + pod.busy)


def _serving(requests: Requests, config: PlantConfig) -> SlotQueue | SharedProcessors:
    if config.processors is None:
        return SlotQueue(requests, config.patience)
    return SharedProcessors(requests, config.patience, config.processors)

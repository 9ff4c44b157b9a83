"""A service whose load is a function of time, for trying an autoscaler without a plant."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from generation_operator.simulate.ports import Pod, Sample, Scaler, Seconds


@dataclass
class FakeService:
    """`ports.View`. Replicas share the load evenly, up to their slots; what is left over is queued."""

    load: Callable[[Seconds], float]
    slots: int = 20
    startup_seconds: Seconds = 20.0
    alive: list[Pod] = field(default_factory=list)
    draining: list[Pod] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    created: int = 0

    def with_replicas(self, count: int) -> "FakeService":
        for _ in range(count):
            self.create(0.0, 0.0)
        return self

    @property
    def replicas(self) -> int:
        return len(self.alive)

    def pods(self) -> Sequence[Pod]:
        return [*self.alive, *self.draining]

    def sample(self, at: Seconds) -> Sample:
        return self.samples[int(at)]

    def create(self, now: Seconds, startup: Seconds) -> None:
        self.alive.append(Pod(self.created, now, now + startup, self.slots, usage=[0.0]))
        self.created += 1

    def second(self, now: Seconds) -> None:
        ready = [pod for pod in self.alive if pod.is_ready(now)]
        wanted = int(self.load(now))
        in_flight = min(wanted, self.slots * len(ready))
        self.samples.append(
            Sample(now, in_flight, wanted - in_flight, 0, 0, 0, 0.0, len(ready), len(self.alive) - len(ready))
        )
        for place, pod in enumerate(ready):
            pod.busy = in_flight // len(ready) + (place < in_flight % len(ready))
        for pod in self.alive:
            assert pod.usage is not None
            pod.usage.append(pod.usage[-1] + (in_flight / len(ready) if pod in ready else 0.0))

    def scale(self, wanted: int, now: Seconds) -> None:
        while len(self.alive) < wanted:
            self.create(now, self.startup_seconds)
        while len(self.alive) > wanted:
            pod = self.alive.pop()
            pod.draining_since = now
            self.draining.append(pod)


def steps(service: FakeService, scaler: Scaler, until: Seconds, seed: int = 0) -> list[tuple[Seconds, int]]:
    """Run a scaler on it: every change of the count, and when."""
    changes = []
    at = scaler.begin(service, np.random.default_rng(seed))
    while at <= until:
        while len(service.samples) <= at:
            service.second(float(len(service.samples)))
        wanted, following = scaler.act(service, at)
        assert following > at
        if wanted is not None and wanted != service.replicas:
            changes.append((at, wanted))
            service.scale(wanted, at)
        at = following
    return changes

"""Replicas whose requests share the processors: the API mode, where a busy replica is a slow one.

A replica works on up to `slots` requests at once with `processors` processors. While there are no more requests than
processors each runs at full speed, beyond that all slow down alike (egalitarian processor sharing). Simulated in the
time of the work itself: a replica's clock runs at the speed that its requests have, so a request ends when that clock
has advanced by its service time, and only the next end of each replica has to be known.
"""

import heapq
import itertools
from dataclasses import dataclass, field

from generation_operator.simulate.ports import Pod, Seconds
from generation_operator.simulate.serving import NEVER, Front, Patience
from generation_operator.simulate.trace import Requests


@dataclass(slots=True, eq=False)
class _Replica:
    """One replica. `work` is how far its clock of work has come at `at`."""

    pod: Pod
    processors: float
    at: Seconds
    work: float = 0.0
    ends: list[tuple[float, int]] = field(default_factory=list)  # (work at which it ends, request)
    version: int = 0  # of its entry among the next ends; older entries are void

    @property
    def speed(self) -> float:
        """Seconds of work per second, for each request."""
        return min(1.0, self.processors / len(self.ends)) if self.ends else 0.0

    def to(self, now: Seconds) -> None:
        self.work += (now - self.at) * self.speed
        self.at = now

    def next_end(self) -> Seconds:
        return self.at + max(0.0, self.ends[0][0] - self.work) / self.speed if self.ends else NEVER


class SharedProcessors(Front):
    """Replicas that share processors, requests spread in turn; `in_flight` counts requests being worked on."""

    def __init__(self, requests: Requests, patience: Patience, processors: float) -> None:
        super().__init__(requests, patience)
        self._processors = processors
        self._replicas: dict[int, _Replica] = {}
        self._open: list[_Replica] = []
        self._turn = 0
        self._ends: list[tuple[float, int, int, _Replica]] = []
        self._order = itertools.count()

    def open(self, pod: Pod, now: Seconds) -> None:
        """A replica becomes ready and takes from the head of the queue what it can."""
        replica = _Replica(pod, self._processors, now)
        self._replicas[pod.id] = replica
        self._open.append(replica)
        self._dispatch(now)

    def close(self, pod: Pod) -> None:
        """A replica takes no more requests; those that it has go on."""
        self._open = [replica for replica in self._open if replica.pod is not pod]

    def kill(self, pod: Pod) -> None:
        """A replica ends with requests unanswered: they are lost and count as missed."""
        replica = self._replicas.pop(pod.id)
        replica.version += 1
        for _, request in replica.ends:
            self._miss(request)
        self.in_flight -= len(replica.ends)
        replica.ends.clear()
        pod.busy = 0

    def _run(self, until: Seconds) -> None:
        while True:
            end = self._next_end()
            arrival = self._arrivals[self._next]
            if min(end, arrival) > until:
                break
            if end <= arrival:
                self._finish(end)
            else:
                self._arrive(arrival)
        self.arrived = self._next

    def _next_end(self) -> Seconds:
        while self._ends and self._ends[0][3].version != self._ends[0][2]:
            heapq.heappop(self._ends)
        return self._ends[0][0] if self._ends else NEVER

    def _finish(self, now: Seconds) -> None:
        replica = heapq.heappop(self._ends)[3]
        replica.to(now)
        _, request = heapq.heappop(replica.ends)
        replica.pod.busy -= 1
        self.in_flight -= 1
        self.served += 1
        self.service_seconds += self._service[request]
        self.waits[request] = max(0.0, now - self._arrivals[request] - self._service[request])
        if self.waits[request] > self._patience.wait_seconds:
            self._miss(request)
        self._expect(replica)
        self._dispatch(now)

    def _arrive(self, now: Seconds) -> None:
        request = self._next
        self._next += 1
        if self._is_full() and (self._queue or self._with_room() is None):
            self._turn_away(request, now)
            return
        self._queue.append(request)
        self._dispatch(now)

    def _dispatch(self, now: Seconds) -> None:
        while self._queue:
            replica = self._with_room()
            if replica is None:
                return
            request = self._queue.popleft()
            if now - self._entered[request] > self._patience.timeout_seconds:
                self._turn_away(request, self._entered[request] + self._patience.timeout_seconds)
                continue
            replica.to(now)
            heapq.heappush(replica.ends, (replica.work + self._service[request], request))
            replica.pod.busy += 1
            self.in_flight += 1
            self._expect(replica)

    def _with_room(self) -> _Replica | None:
        """The next replica in turn that takes another request."""
        for step in range(len(self._open)):
            place = (self._turn + step) % len(self._open)
            if self._open[place].pod.busy < self._open[place].pod.slots:
                self._turn = place + 1
                return self._open[place]
        return None

    def _expect(self, replica: _Replica) -> None:
        """Note when the replica's next request ends, at the speed that it has now."""
        replica.version += 1
        if replica.ends:
            heapq.heappush(self._ends, (replica.next_end(), next(self._order), replica.version, replica))

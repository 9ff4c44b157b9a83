"""How requests are served between two moments at which the set of replicas changes.

One first-in-first-out queue in front of all replicas, as the service's durable queue is; a replica takes a request when
one of its slots is free. Nothing vanishes: a request waits until it is served, refused by a full queue, or given up by
its client, and each of these is counted. This is the simulator's inner loop: plain lists, a heap and local names, for
about a microsecond per request.
"""

import heapq
from collections import deque
from dataclasses import dataclass
from typing import Final

from generation_operator.simulate.ports import Pod, Seconds
from generation_operator.simulate.trace import Requests

NEVER: Final = float("inf")


@dataclass(frozen=True, slots=True)
class Patience:
    """What clients and the queue put up with.

    Attributes:
        wait_seconds: waiting for a slot beyond this misses the target.
        timeout_seconds: a client gives up when it has waited this long for a slot.
        queue_limit: requests that may wait; one more is refused. None: as many as there are.
        retries: how often a client that was refused or gave up comes back.
        retry_after_seconds: how long it stays away before that.
    """

    wait_seconds: Seconds = 15.0
    timeout_seconds: Seconds = 60.0
    queue_limit: int | None = None
    retries: int = 0
    retry_after_seconds: Seconds = 5.0


class Front:
    """What requests and clients do however they are served: wait, give up, come back, be counted.

    Attributes:
        arrived: requests so far; one that comes back is the same request.
        in_flight: requests being worked on.
        served: requests that have been answered.
        missed: requests that were refused for good, gave up for good, or waited longer than allowed.
        service_seconds: service times of the requests served, summed.
        waits: per request, seconds from its arrival to its answer beyond its service time; NaN until then.
        missed_request: per request, 1 if it has missed.
    """

    def __init__(self, requests: Requests, patience: Patience) -> None:
        self._arrivals: list[float] = [*requests.arrivals.tolist(), NEVER]
        self._service: list[float] = requests.service.tolist()
        self._patience = patience
        self.waits: list[float] = [float("nan")] * len(self._service)
        self.missed_request = bytearray(len(self._service))
        self._entered = list(self._arrivals)  # when the current attempt of a request began
        self._tries: dict[int, int] = {}
        self._next = 0
        self._queue: deque[int] = deque()
        self._returns: list[tuple[float, int]] = []  # clients that will come back
        self.arrived = self.in_flight = self.served = self.missed = 0
        self.service_seconds = 0.0

    @property
    def queued(self) -> int:
        """Requests waiting."""
        return len(self._queue)

    def advance(self, until: Seconds) -> None:
        """Serve everything up to and including `until`."""
        while self._returns and self._returns[0][0] <= until:
            at, request = heapq.heappop(self._returns)
            self._run(at)
            self._entered[request] = at
            self._enter(request, at)
        self._run(until)
        self._give_up(until)

    def _give_up(self, now: Seconds) -> None:
        """Clients at the head of the queue whose patience is over leave it."""
        queue, timeout = self._queue, self._patience.timeout_seconds
        while queue and now - self._entered[queue[0]] > timeout:
            request = queue.popleft()
            self._turn_away(request, self._entered[request] + timeout)

    def _turn_away(self, request: int, now: Seconds) -> None:
        """A refused or impatient client: it comes back if it may, else it has missed."""
        tries = self._tries.get(request, 0)
        if tries < self._patience.retries:
            self._tries[request] = tries + 1
            heapq.heappush(self._returns, (now + self._patience.retry_after_seconds, request))
        else:
            self._miss(request)

    def _miss(self, request: int) -> None:
        if not self.missed_request[request]:
            self.missed_request[request] = 1
            self.missed += 1

    def _run(self, until: Seconds) -> None:
        """Serve what arrives and is being served up to and including `until`."""
        raise NotImplementedError

    def _dispatch(self, now: Seconds) -> None:
        """Let those who wait take what is free."""
        raise NotImplementedError

    def _is_full(self) -> bool:
        limit = self._patience.queue_limit
        return limit is not None and len(self._queue) >= limit

    def _enter(self, request: int, now: Seconds) -> None:
        """One attempt of a client that came back: it goes to the end of the queue."""
        if self._is_full():
            self._turn_away(request, now)
            return
        self._queue.append(request)
        self._dispatch(now)


class SlotQueue(Front):
    """Replicas with slots behind one queue; `in_flight` counts busy slots."""

    def __init__(self, requests: Requests, patience: Patience) -> None:
        super().__init__(requests, patience)
        self._free: deque[Pod] = deque()  # one entry per free slot of a ready replica
        self._finishes: list[tuple[float, int, Pod]] = []

    def open(self, pod: Pod, now: Seconds) -> None:
        """A replica becomes ready: its slots take the head of the queue."""
        self._free.extend([pod] * pod.slots)
        self._dispatch(now)

    def close(self, pod: Pod) -> None:
        """A replica takes no more requests; those in its slots go on."""
        self._free = deque(other for other in self._free if other is not pod)

    def kill(self, pod: Pod) -> None:
        """A replica ends with requests in its slots: they are lost and count as missed."""
        for _, request, where in self._finishes:
            if where is pod:
                self._miss(request)
                self.in_flight -= 1
        self._finishes = [entry for entry in self._finishes if entry[2] is not pod]
        heapq.heapify(self._finishes)
        pod.busy = 0

    def _run(self, until: Seconds) -> None:
        arrivals, service, entered = self._arrivals, self._service, self._entered
        finishes, queue, free = self._finishes, self._queue, self._free
        timeout, allowed = self._patience.timeout_seconds, self._patience.wait_seconds
        limit = NEVER if self._patience.queue_limit is None else self._patience.queue_limit
        waits, push, pop = self.waits, heapq.heappush, heapq.heappop
        upcoming = self._next
        arrival = arrivals[upcoming]
        while True:
            if finishes and finishes[0][0] <= arrival:
                now, done, pod = finishes[0]
                if now > until:
                    break
                pop(finishes)
                self.served += 1
                self.service_seconds += service[done]
                if pod.draining_since is not None:
                    pod.busy -= 1
                    self.in_flight -= 1
                    continue
                while queue:
                    request = queue.popleft()
                    waited = now - entered[request]
                    if waited > timeout:
                        self._turn_away(request, entered[request] + timeout)
                        continue
                    waits[request] = now - arrivals[request]
                    if waits[request] > allowed:
                        self._miss(request)
                    push(finishes, (now + service[request], request, pod))
                    break
                else:
                    pod.busy -= 1
                    self.in_flight -= 1
                    free.append(pod)
                continue
            if arrival > until:
                break
            if free:
                pod = free.popleft()
                pod.busy += 1
                self.in_flight += 1
                waits[upcoming] = 0.0
                push(finishes, (arrival + service[upcoming], upcoming, pod))
            elif len(queue) < limit:
                queue.append(upcoming)
            else:
                self._turn_away(upcoming, arrival)
            upcoming += 1
            arrival = arrivals[upcoming]
        self._next = self.arrived = upcoming

    def _dispatch(self, now: Seconds) -> None:
        """Give free slots to the head of the queue."""
        while self._queue and self._free:
            request = self._queue.popleft()
            if now - self._entered[request] > self._patience.timeout_seconds:
                self._turn_away(request, self._entered[request] + self._patience.timeout_seconds)
                continue
            pod = self._free.popleft()
            pod.busy += 1
            self.in_flight += 1
            self.waits[request] = now - self._arrivals[request]
            if self.waits[request] > self._patience.wait_seconds:
                self._miss(request)
            heapq.heappush(self._finishes, (now + self._service[request], request, pod))

"""What the operator costs with many resources: `make bench-operator`. Figures for people, never a check.

A real API server with simulated pods, the operator as a process of its own, and the counting proxy of the fault tests
between the two. Resources have no proxy and one replica: the cost of the cluster around the operator is not the
question here. It writes docs/results/operator.md.
"""

import argparse
import asyncio
import contextlib
import dataclasses
import gc
import json
import multiprocessing
import os
import random
import re
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from rich.console import Console

from api_fixtures import PROJECT, Api, Object, Operator, service
from autoscaler_world import World
from bench.fleet import Fleet
from bench.operator_page import (
    FRESH_REACTIONS,
    MOST_WITH_DEFAULT_HPA,
    PATIENCE_SECONDS,
    PER_NAMESPACE,
    RARE_HPA_SECONDS,
    REACTIONS,
    STEADY_SECONDS,
    TICK_SECONDS,
    Restart,
    Row,
    measured_before,
    page,
)
from bench.operator_process import (
    cpu_seconds,
    decided_freshly,
    decisions,
    metrics,
    own_part,
    phases,
    pid_of_prometheus,
    rss_mebibytes,
)
from bench.pod_load import PodLoad, Work
from builders import make_service
from exporter import HIGH, LOW, Exporter
from fault_proxy import FaultProxy
from generation_operator.__main__ import GARBAGE_THRESHOLDS
from generation_operator.api.resource import Key
from generation_operator.decide.types import SignalName
from localcluster import cluster as local
from localcluster.plan import HpaTiming, Shape

_RESULTS: Final = PROJECT / "docs" / "results" / "operator.md"
# Half a minute after its start each HPA has metrics, which is something new once more.
_QUIET_SECONDS: Final = 45
_PER_HOUR: Final = 3600 / STEADY_SECONDS
_TICKS: Final = 30
_LOOKS: Final = 5  # at the load of a pod, until its rate is known
_BATCH: Final = 200  # resources per kubectl apply, and from one word about the progress to the next
_BUSY: Final = {
    SignalName.QUEUE_LENGTH: 0.0,
    SignalName.WORKFLOW_ARRIVALS: 2.0,
    SignalName.WORKFLOW_SERVICE_TIME: 3.0,
    SignalName.WORKFLOWS_IN_FLIGHT: 6.0,
    SignalName.WORKFLOW_DURATION_P95: 5.0,
    SignalName.CACHED_RESPONSE_P95: 0.1,
    SignalName.CACHE_HIT_RATIO: 0.3,
    SignalName.MISS_RATIO_5M: 0.0,
    SignalName.MISS_RATIO_30M: 0.0,
    SignalName.MISS_RATIO_1H: 0.0,
    SignalName.MISS_RATIO_6H: 0.0,
}
_STATUS: Final = re.compile(r"/namespaces/([^/]+)/generationservices/([^/]+)/status")


def measure(count: int, console: Console) -> Row:
    """Start a cluster, fill it, and look at the operator in it."""
    name = f"bench-operator-{os.getpid()}"
    # It is not the HPA controller that is measured: 5,000 HPAs every 120 s still took 0.75 of a core, with the API
    # server's part, and the operator's ticks waited for it.
    hpa = HpaTiming() if count <= MOST_WITH_DEFAULT_HPA else HpaTiming(sync_period=RARE_HPA_SECONDS)
    cluster = local.up(name, shape=Shape.KWOK, hpa=hpa, console=console)
    try:
        with tempfile.TemporaryDirectory() as folder:
            row = _measure(cluster, count, Path(folder))
    finally:
        local.down(name)
    # Now that the machine is idle, and in a process of its own: this one is full of what has passed the proxy.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as another:
        return dataclasses.replace(row, at_once=another.submit(_at_once, count).result())


def _measure(cluster: local.Cluster, count: int, folder: Path) -> Row:
    cluster.kubectl("apply", "--server-side", "-f", str(PROJECT / "crds"))
    cluster.kubectl("wait", "--for=condition=Established", "crd/generationservices.generation.dev")
    names = sorted({_namespace(number) for number in range(count)})
    cluster.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in names])
    manifests = [_resource(number) for number in range(count)]
    for first in range(0, count, _BATCH):
        cluster.apply(manifests[first : first + _BATCH])
    fleet = Fleet()
    with (
        FaultProxy(cluster.kubeconfig, folder).running() as proxy,
        fleet.serving(cluster.plan.state / "targets" / "fleet.json"),
    ):
        operator = Operator(
            cluster,
            folder / "operator.log",
            {
                "GENERATION_OPERATOR_KUBECONFIG": str(proxy.kubeconfig),
                "GENERATION_OPERATOR_TICK_SECONDS": str(TICK_SECONDS),
                "GENERATION_OPERATOR_PROBE_PORT": str(port := _free_port()),
            },
        )
        began = time.monotonic()
        operator.start()
        assert operator.process is not None
        try:
            statuses = _Statuses(proxy, fleet)
            _until(lambda: statuses.count() >= count, 60 + count, "every resource has a status")
            started, writes = time.monotonic() - began, len(proxy.writes_since(0)) / count
            start_cpu = cpu_seconds(operator.process.pid) / count
            _until(lambda: _quiet(proxy), 300 + count, f"{_QUIET_SECONDS} s without a write")
            print(f"{count:,} have a status after {started:.0f} s, and nothing changes any more", file=sys.stderr)
            steady = _steady(operator.process.pid, pid_of_prometheus(cluster), proxy, port, count)
            restart = _restarted(operator, proxy, port, count)
            row = Row(
                resources=count,
                started=started,
                start_cpu=start_cpu,
                writes=writes,
                requests=steady.calls / count * _PER_HOUR,
                cpu=steady.cpu,
                rss=steady.rss,
                idle_writes=steady.writes,
                decided_every=steady.decided_every,
                tick=steady.tick,
                at_once=0.0,
                prometheus=steady.prometheus,
                restart=restart,
                reactions=[],
                fresh=[],
            )
            print(row, file=sys.stderr)
            api = Api(cluster, _namespace(0))
            return dataclasses.replace(row, reactions=_reactions(api, proxy), fresh=_fresh_reactions(api, proxy))
        finally:
            operator.stop()


class _Statuses:
    """Whose status was written: it has its children, so its metrics begin, as those of a pod that has just started.

    Looks at each call once: the same process serves all metrics, and must not be busy.
    """

    def __init__(self, proxy: FaultProxy, fleet: Fleet) -> None:
        self._proxy = proxy
        self._fleet = fleet
        self._looked_at = 0
        self._seen: set[Key] = set()
        self._began = time.monotonic()

    def count(self) -> int:
        """How many resources have one."""
        new = self._proxy.calls[self._looked_at :]
        self._looked_at += len(new)
        for call in new:
            if (found := _STATUS.search(call.path)) and (key := Key(found[1], found[2])) not in self._seen:
                self._seen.add(key)
                if key not in _STEPPING:
                    self._fleet.run(key)
                if len(self._seen) % _BATCH == 0:
                    seconds = time.monotonic() - self._began
                    print(f"{len(self._seen):,} resources have a status after {seconds:.0f} s", file=sys.stderr)
        return len(self._seen)


@dataclass(frozen=True, slots=True)
class _Steady:
    """What the operator does while nothing changes."""

    calls: int
    writes: int
    cpu: float
    rss: float
    decided_every: float
    tick: tuple[float, float]
    prometheus: float


def _steady(pid: int, prometheus: int, proxy: FaultProxy, port: int, count: int) -> _Steady:
    first, cpu, other, told = len(proxy.calls), cpu_seconds(pid), cpu_seconds(prometheus), metrics(port)
    since = time.monotonic()
    time.sleep(STEADY_SECONDS)
    lasted = time.monotonic() - since
    told_then = metrics(port)
    return _Steady(
        calls=len(proxy.calls) - first,
        writes=len(proxy.writes_since(first)),
        cpu=(cpu_seconds(pid) - cpu) / lasted * 100,
        rss=rss_mebibytes(pid),
        decided_every=lasted * count / (decisions(told_then) - decisions(told)),
        tick=own_part(phases(told), phases(told_then)),
        prometheus=(cpu_seconds(prometheus) - other) / lasted * 100,
    )


def _restarted(operator: Operator, proxy: FaultProxy, port: int, count: int) -> Restart:
    """Until all services have been decided on again with what Prometheus tells."""
    operator.stop()
    first, began = len(proxy.calls), time.monotonic()
    operator.start()

    def over() -> bool:
        with contextlib.suppress(OSError):  # it does not listen yet
            return decided_freshly(metrics(port)) >= count - len(_STEPPING)
        return False

    _until(over, 60 + count, "all are decided on after a restart")
    return Restart(time.monotonic() - began, len(proxy.writes_since(first)))


def _resource(number: int) -> Object:
    manifest = service(f"s{number}", policy="Targets", minReplicas=1, maxReplicas=6)
    manifest["metadata"]["namespace"] = _namespace(number)
    manifest["spec"]["proxy"] = {"enabled": False}
    del manifest["spec"]["metrics"]  # the defaults: what tests use to save time is shorter than a scrape interval
    # Simulated pods use 1 m: a tenth, so that the HPA has nothing to do, and thousands fit on the node.
    manifest["spec"]["resources"]["requests"] = {"cpu": "10m", "memory": "1Mi"}
    return manifest


def _namespace(number: int) -> str:
    return f"bench-{number // PER_NAMESPACE}"


# Their metrics come from an exporter each, later.
_STEPPING: Final = [Key(_namespace(number), f"s{number}") for number in range(REACTIONS)]


def _until(probe: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not probe():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s: {what}")
        time.sleep(0.2)


def _quiet(proxy: FaultProxy) -> bool:
    """Whether some time has passed without a write."""
    first = len(proxy.calls)
    time.sleep(_QUIET_SECONDS)
    return not proxy.writes_since(first)


def _at_once(count: int) -> float:
    """p95 of a tick on a cluster in memory in which there is something new of all services, in milliseconds.

    The dearest tick in which nothing is written. The operator itself takes them in parts.
    """
    world = World(*(make_service(f"s{number}") for number in range(count)), policy="Targets")
    for values in world.metrics.values.values():
        values.update(_BUSY)

    async def run() -> list[float]:
        await world.warm()
        gc.collect()
        gc.set_threshold(*GARBAGE_THRESHOLDS)  # as in the operator
        times = []
        for _ in range(_TICKS):
            began = time.perf_counter()
            await world.tick(TICK_SECONDS)
            times.append((time.perf_counter() - began) * 1000)
        return times

    times = sorted(asyncio.run(run()))
    return times[round(0.95 * (len(times) - 1))]


def _reactions(api: Api, proxy: FaultProxy) -> list[float | None]:
    """Through Prometheus alone: the kubelet's address of a pod leads nowhere here."""
    draw, times = random.Random(20_261_129), []
    names = [key.name for key in _STEPPING]
    with contextlib.ExitStack() as serving:
        exporters = {
            name: serving.enter_context(Exporter(api.cluster.plan, api.namespace, name).serving([f"{name}-0"], LOW))
            for name in names
        }
        time.sleep(90)  # rates need samples, and what is new settles
        for name, exporter in exporters.items():
            time.sleep(draw.uniform(0, 2))  # whenever in the scrape interval
            first, began = len(proxy.calls), time.monotonic()
            exporter.set(dataclasses.replace(HIGH, queue_length=5000))
            times.append(_seconds_until_scaled(proxy, name, first, began))
    return times


def _fresh_reactions(api: Api, proxy: FaultProxy) -> list[float | None]:
    """Services whose pods answer on this machine."""
    draw, times = random.Random(20_261_130), []
    names = [f"fresh{number}" for number in range(FRESH_REACTIONS)]
    with contextlib.ExitStack() as serving:
        loads = {}
        for name in names:
            work = Work(in_flight=2, queued=0, arrivals_per_second=1.0)
            load = loads[name] = serving.enter_context(PodLoad(work).serving())
            manifest = _resource(0)
            manifest["metadata"]["name"] = name
            manifest["spec"]["port"] = load.port
            api.apply(manifest)
        _put_on_this_machine(api, names)
        # They were asked in vain at first, so they are tried again after 30 s or more.
        _until(lambda: all(load.asked >= _LOOKS for load in loads.values()), 180, "pods are asked regularly")
        for name, load in loads.items():
            time.sleep(draw.uniform(0, 2))
            first, began = len(proxy.calls), time.monotonic()
            load.set(Work(in_flight=20, queued=5000, arrivals_per_second=50.0))
            times.append(_seconds_until_scaled(proxy, name, first, began))
    return times


def _put_on_this_machine(api: Api, services: list[str]) -> None:
    for name in services:
        _until(partial(_addressed, api, name), 120, "a running pod of the service")
    time.sleep(3)  # the simulation has said its last word about the pods' status
    status = {"status": {"podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}]}}
    patch = json.dumps(status)
    for name in services:
        [pod] = _pods(api, name)
        api.kubectl("patch", "pod", pod["metadata"]["name"], "--subresource=status", "--type=merge", "--patch", patch)


def _addressed(api: Api, service: str) -> bool:
    return any("podIP" in pod.get("status", {}) for pod in _pods(api, service))


def _pods(api: Api, service: str) -> list[Object]:
    return api.items("pod", f"app.kubernetes.io/instance={service}")


def _seconds_until_scaled(proxy: FaultProxy, name: str, first: int, began: float) -> float | None:
    """From then until the operator wrote the count; None when it took longer than anybody waits."""
    while time.monotonic() - began < PATIENCE_SECONDS:
        for call in proxy.writes_since(first):
            if f"/deployments/{name}/scale" in call.path:
                return call.at - began
        time.sleep(0.02)
    return None


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def main() -> int:
    """Measure, print and write; the result is the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.operator", description=__doc__)
    parser.add_argument("--full", action="store_true", help="5,000 resources as well (half an hour more)")
    parser.add_argument("--counts", type=int, nargs="+", help="numbers of resources instead of 100 and 1,000")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # takes the operator and the cluster down
    console = Console(stderr=True, highlight=False)
    rows, load = measured_before(_RESULTS), os.getloadavg()[0]
    for count in arguments.counts or [100, 1000, *([5000] if arguments.full else [])]:
        rows[count] = measure(count, console).line
        print(rows[count], flush=True)
        _RESULTS.write_text(page(rows, load))  # after each: the next one may take longer than somebody's patience
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What the operator costs with many resources: `make bench-operator`. Figures for people, never a check.

A real API server with simulated pods, the operator as a process of its own, and the counting proxy of the fault tests
between the two. Resources have no proxy and one replica: the cost of the cluster around the operator is not the
question here. It writes docs/results/operator.md.
"""

import argparse
import asyncio
import dataclasses
import gc
import json
import multiprocessing
import os
import platform
import re
import signal
import socket
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console

from api_fixtures import PROJECT, Api, Object, Operator, service
from autoscaler_world import World
from bench.pod_load import PodLoad, Work
from builders import make_service
from exporter import HIGH, LOW, Exporter
from fault_proxy import FaultProxy
from generation_operator.__main__ import GARBAGE_THRESHOLDS
from generation_operator.decide.types import SignalName
from localcluster import cluster as local
from localcluster.plan import HpaTiming, Shape

_RESULTS: Final = PROJECT / "docs" / "results" / "operator.md"
# Kubernetes' own controllers search the pods, ReplicaSets and budgets of a whole namespace for each Deployment: with
# 5,000 in one the controller manager takes more than a core, and the API server what is left.
_PER_NAMESPACE: Final = 20
_TICK_SECONDS: Final = 5  # the default
_STEADY_SECONDS: Final = 60
_TICKS: Final = 30
_MOST_WITH_DEFAULT_HPA: Final = 1000
_RARE_HPA_SECONDS: Final = 120
_BATCH: Final = 200  # resources per kubectl apply
_COLUMNS: Final = (
    "resources",
    "all have a status after",
    "writes each",
    "steady CPU",
    "RSS",
    "requests each per hour",
    "steady writes",
    "tick p50",
    "tick p95",
    "deciding p95 in the process",
    "reaction through Prometheus",
    "reaction to fresh load",
)
_HEAD: Final = f"| {' | '.join(_COLUMNS)} |"
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
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_JIFFY: Final = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Row:
    """The figures for one number of resources."""

    resources: int
    started: float  # seconds from the start of the process until every resource has a status
    writes: float  # per resource, until then
    cpu: float  # % of one core, nothing changing
    rss: float  # MiB
    requests: float  # per resource and hour, nothing changing
    idle_writes: int  # within the steady time
    tick: tuple[float, float]  # p50 and p95 in milliseconds
    deciding: float  # p95 of one tick's decisions in the running process, seconds, rounded up to a bucket
    reaction: float | None  # seconds from a step of the load to changed replicas, through Prometheus alone
    fresh: float | None  # the same with the load that pods tell, and no Prometheus

    @property
    def line(self) -> str:
        """The row of the table."""
        reactions = ["none within 90 s" if took is None else f"{took:.1f} s" for took in (self.reaction, self.fresh)]
        return (
            f"| {self.resources:,} | {self.started:.1f} s | {self.writes:.1f} | {self.cpu:.1f} % | {self.rss:.0f} MiB "
            f"| {self.requests:.2f} | {self.idle_writes} | {self.tick[0]:.0f} ms | {self.tick[1]:.0f} ms "
            f"| <= {self.deciding * 1000:.0f} ms | {' | '.join(reactions)} |"
        )


def measure(count: int, console: Console) -> Row:
    """Start a cluster, fill it, and look at the operator in it."""
    name = f"bench-operator-{os.getpid()}"
    # Thousands of HPAs every 15 s take a core of their own, and it is not the HPA controller that is measured.
    hpa = HpaTiming() if count <= _MOST_WITH_DEFAULT_HPA else HpaTiming(sync_period=_RARE_HPA_SECONDS)
    cluster = local.up(name, shape=Shape.KWOK, hpa=hpa, console=console)
    try:
        with tempfile.TemporaryDirectory() as folder:
            row = _measure(cluster, count, Path(folder))
    finally:
        local.down(name)
    # Now that the machine is idle, and in a process of its own: this one is full of what has passed the proxy.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as another:
        return dataclasses.replace(row, tick=another.submit(_ticks, count).result())


def _measure(cluster: local.Cluster, count: int, folder: Path) -> Row:
    cluster.kubectl("apply", "--server-side", "-f", str(PROJECT / "crds"))
    cluster.kubectl("wait", "--for=condition=Established", "crd/generationservices.generation.dev")
    names = sorted({_namespace(number) for number in range(count)})
    cluster.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in names])
    manifests = [_resource(number) for number in range(count)]
    for first in range(0, count, _BATCH):
        cluster.apply(manifests[first : first + _BATCH])
    api = Api(cluster, _namespace(0))
    with FaultProxy(cluster.kubeconfig, folder).running() as proxy:
        operator = Operator(
            cluster,
            folder / "operator.log",
            {
                "GENERATION_OPERATOR_KUBECONFIG": str(proxy.kubeconfig),
                "GENERATION_OPERATOR_TICK_SECONDS": str(_TICK_SECONDS),
                "GENERATION_OPERATOR_PROBE_PORT": str(port := _free_port()),
            },
        )
        began = time.monotonic()
        operator.start()
        assert operator.process is not None
        pid = operator.process.pid
        try:
            reconciled: set[str] = set()

            def all_have_a_status() -> bool:
                reconciled.update(call.path for call in proxy.calls if call.path.partition("?")[0].endswith("/status"))
                return len({path.partition("?")[0] for path in reconciled}) >= count

            _until(all_have_a_status, 60 + count, "every resource has a status")
            print(f"{count:,} resources have a status", file=sys.stderr)
            started, writes = time.monotonic() - began, len(proxy.writes_since(0)) / count
            _until(lambda: _quiet(proxy), 60 + count, "three ticks without a write")
            print("nothing changes any more", file=sys.stderr)
            first, cpu, since = len(proxy.calls), _cpu_seconds(pid), time.monotonic()
            time.sleep(_STEADY_SECONDS)
            lasted = time.monotonic() - since
            steady = len(proxy.calls) - first
            return Row(
                resources=count,
                started=started,
                writes=writes,
                cpu=(_cpu_seconds(pid) - cpu) / lasted * 100,
                rss=_rss_mebibytes(pid),
                requests=steady / count / lasted * 3600,
                idle_writes=len(proxy.writes_since(first)),
                tick=(0.0, 0.0),
                deciding=_deciding(port),
                reaction=_reaction(api),
                fresh=_fresh_reaction(api),
            )
        finally:
            operator.stop()


def _resource(number: int) -> Object:
    manifest = service(f"s{number}", policy="Targets", minReplicas=1, maxReplicas=6)
    manifest["metadata"]["namespace"] = _namespace(number)
    manifest["spec"]["proxy"] = {"enabled": False}
    # Simulated pods use 1 m: a tenth, so that the HPA has nothing to do, and thousands fit on the node.
    manifest["spec"]["resources"]["requests"] = {"cpu": "10m", "memory": "1Mi"}
    return manifest


def _namespace(number: int) -> str:
    return f"bench-{number // _PER_NAMESPACE}"


def _until(probe: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not probe():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s: {what}")
        time.sleep(0.05)


def _quiet(proxy: FaultProxy) -> bool:
    """Whether three ticks have passed without a write."""
    first = len(proxy.calls)
    time.sleep(3 * _TICK_SECONDS)
    return not proxy.writes_since(first)


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _JIFFY  # utime and stime


def _rss_mebibytes(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES / 2**20


def _ticks(count: int) -> tuple[float, float]:
    """p50 and p95 of a whole tick on a cluster in memory, with answers that are there at once: our part of it.

    All services are busy and all signals are there: the dearest tick in which nothing is written.
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
            await world.tick(_TICK_SECONDS)
            times.append((time.perf_counter() - began) * 1000)
        return times

    times = sorted(asyncio.run(run()))
    return statistics.median(times), times[round(0.95 * (len(times) - 1))]


def _reaction(api: Api) -> float | None:
    def replicas() -> int:
        return int(api.get("deployment", "s0")["spec"]["replicas"])

    pods = [f"s0-{number}" for number in range(6)]  # as many as there can be, so that coverage is no question
    # The kubelet's address of a pod leads nowhere here, so what is measured is Prometheus alone.
    with Exporter(api.cluster.plan, api.namespace, "s0").serving(pods, LOW) as exporter:
        time.sleep(30)  # rates need samples, and a decision to lower needs two looks
        before = replicas()
        exporter.set(dataclasses.replace(HIGH, queue_length=5000))
        return _seconds_until(lambda: replicas() > before)


def _fresh_reaction(api: Api) -> float | None:
    """One more service, whose pods answer on this machine."""
    with PodLoad(Work(in_flight=2, queued=0, arrivals_per_second=1.0)).serving() as load:
        manifest = _resource(0)
        manifest["metadata"]["name"] = "fresh"
        manifest["spec"]["port"] = load.port
        api.apply(manifest)
        labels = "app.kubernetes.io/instance=fresh"
        _until(lambda: bool(api.items("pod", labels)), 60, "a pod of the service")
        [pod] = api.items("pod", labels)
        status = {"status": {"podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}]}}
        time.sleep(10)  # the simulation has said its last word about the pod's status
        name = pod["metadata"]["name"]
        api.kubectl("patch", "pod", name, "--subresource=status", "--type=merge", "--patch", json.dumps(status))
        time.sleep(45)  # it was asked in vain at first, so it is asked again after 30 s; then a few looks
        load.set(Work(in_flight=20, queued=5000, arrivals_per_second=50.0))
        return _seconds_until(lambda: int(api.get("deployment", "fresh")["spec"]["replicas"]) > 1)


def _seconds_until(probe: Callable[[], bool]) -> float | None:
    """How long it took until something was seen; None when it took more than 90 s."""
    began = time.monotonic()
    while time.monotonic() - began < 90:
        if probe():
            return time.monotonic() - began
        time.sleep(0.05)
    return None


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _deciding(port: int) -> float:
    """p95 of the phase `decide` since the start, from the operator's own histogram."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    found = re.findall(r'tick_duration_seconds_bucket\{le="([^"]+)",phase="decide"\} ([0-9.e+]+)', text)
    counts = [(float(bound), float(count)) for bound, count in found]
    return next(bound for bound, count in counts if count >= 0.95 * counts[-1][1])


def _measured_before() -> dict[int, str]:
    """Rows of the page as it is, by number of resources: nobody measures all of them each time."""
    text = _RESULTS.read_text() if _RESULTS.exists() else ""
    if _HEAD not in text:
        return {}  # other columns
    return {
        int(found[1].replace(",", "")): found[0] for found in re.finditer(r"^\| ([\d,]+) \|.*$", text, re.MULTILINE)
    }


def page(rows: dict[int, str], load: float) -> str:
    """The whole of docs/results/operator.md."""
    return "\n".join(
        [
            "# What the operator costs",
            "",
            "Written by `make bench-operator`; do not edit. A real API server, controller manager and Prometheus with",
            "simulated pods share the machine with the operator, so that absolute figures are this machine's and the",
            "start-up includes what the API server needs for the writes. Resources have no proxy and one replica,",
            f"{_PER_NAMESPACE} are in a namespace; a tick every {_TICK_SECONDS} s; steady means {_STEADY_SECONDS} s in",
            "which nothing changes.",
            "",
            f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}.",
            f"Load average before the newest row began: {load:.1f}.",
            f"With more than {_MOST_WITH_DEFAULT_HPA:,} resources the HPA controller looks every {_RARE_HPA_SECONDS} s",
            "instead of 15, because it would take a core for itself.",
            "",
            _HEAD,
            "|" + "---|" * len(_COLUMNS),
            *(line for _, line in sorted(rows.items())),
            "",
            "CPU is of one core. The operator compares everything with some lists every 300 s, which the steady time",
            "does not contain; requests are what passes the proxy, watches that are opened again included. A tick is",
            "timed afterwards on a cluster in memory with answers that are there at once, all services busy: our part.",
            "`Deciding` is from the running process, the start-up included. The reaction is the time",
            "from a step of the load to a changed replica count: with metrics from Prometheus alone (scraped every 2 s",
            "here, asked every 5), and with what the pods tell and no Prometheus. Policy Targets. Other pods are",
            "simulated and answer nobody; each is asked in vain every 30 s. A service that has been observed for eight",
            "days takes 16 KiB more than here.",
            "",
            "Goals at 5,000 resources on one core: tick p95 below 1 s, below 250 MiB, no write when nothing changes, a",
            "reaction within 3 s with fresh load, and within a scrape and 1 s without.",
            "",
        ]
    )


def main() -> int:
    """Measure, print and write; the result is the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.operator", description=__doc__)
    parser.add_argument("--full", action="store_true", help="5,000 resources as well (half an hour more)")
    parser.add_argument("--counts", type=int, nargs="+", help="numbers of resources instead of 100 and 1,000")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # takes the operator and the cluster down
    console = Console(stderr=True, highlight=False)
    rows, load = _measured_before(), os.getloadavg()[0]
    for count in arguments.counts or [100, 1000, *([5000] if arguments.full else [])]:
        rows[count] = measure(count, console).line
        print(rows[count], flush=True)
        _RESULTS.write_text(page(rows, load))  # after each: the next one may take longer than somebody's patience
    return 0


if __name__ == "__main__":
    sys.exit(main())

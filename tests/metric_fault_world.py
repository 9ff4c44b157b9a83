"""Every metric fault at every load at once: one service for each, on real controllers and a real Prometheus.

It plays three acts and judges nothing. First all services run well, each at three replicas and at the load of its cell;
whoever is idle is kept at three by `minReplicas`. Then all faults but one begin, and once the operator has said so of
every service, the bounds are opened: whoever believed what is now to be seen would lower an idle service within a
second or two, as happens to the controls beside it. Then the faults end. In the last act, Prometheus itself is
killed and started again. What was written meanwhile is read from the API server's audit log afterwards.
"""

import contextlib
import json
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import audit
from api_fixtures import Api, Object, Operator, eventually, service
from exporter import Exporter, Load
from generation_operator.decide.types import SignalName
from generation_operator.observe.queries import Evidence, by_service, queries
from kube_http import client_tls, read_config, server_url
from localcluster.cluster import Cluster
from metric_fault_cells import CELLS, CONTROLS, LOADS, SHORT_WINDOW_SECONDS, WINDOW_SECONDS, Cell, Fault, Record
from metrics_proxy import Distortion, MetricsProxy
from prometheus_process import PrometheusProcess

_NOTHING: Final = Load(memory_bytes=0, in_flight=0)

# To read everything of thirty services by five addresses each second takes a processor of its own.
TICK_SECONDS: Final = 2
REPLICAS: Final = 3
# Of a busy control. New pods are not scraped, so whoever else was raised would run into partial coverage.
_MOST_REPLICAS: Final = 5
# The faults of the proxy; all others are made for real.
_DISTORTIONS: Final = {
    Fault.NAN: Distortion.NAN,
    Fault.ERROR: Distortion.ERROR,
    Fault.SLOW: Distortion.SLOW,
    Fault.SKEW: Distortion.AHEAD,
}
# Five scrapes. Shorter would call ordinary what is late; longer only takes longer to grow old.
_MAX_AGE_SECONDS: Final = 10
# Targets lowers nothing before it has seen 15 s of arrivals and one start-up.
_WARM_SECONDS: Final = 18
# From when the bounds are open: cooldown 2 s and some ticks, each of which may do harm.
_HELD_SECONDS: Final = 8


@dataclass(slots=True)
class _Service:
    """One service in the world."""

    cell: Cell
    api: Api
    url: str  # of its Prometheus
    exporter: Exporter
    pods: list[str] = field(default_factory=list)
    record: Record = field(default_factory=Record)


class World:
    """All services, and who plays with them.

    Args:
        cluster: on which they run.
        folder: for files.
    """

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self._cluster, self._folder = cluster, folder
        self._prometheus = PrometheusProcess(cluster.plan, folder)
        self._proxy = MetricsProxy(self._prometheus.url)
        self._services: list[_Service] = []
        config = read_config(cluster.kubeconfig)
        self._server, self._tls = server_url(config), client_tls(config)

    def play(self) -> dict[Cell, Record]:
        """Play all acts, and tell what happened."""
        with contextlib.ExitStack() as stack:
            stack.callback(self._prometheus.kill)
            self._prometheus.start()
            stack.enter_context(self._proxy.running())
            # One operator for all: neither the slow Prometheus nor the dead one may be seen in the recovery of others.
            api = stack.enter_context(self._namespace("metric-faults"))
            for cell in (*CELLS, *CONTROLS):
                self._add(cell, api)
            stack.enter_context(self._operator(api))
            self._all_is_well(stack)
            at_once = [each for each in self._services if each.cell.fault not in (None, Fault.RESTART)]
            self._faults(at_once)
            self._restart([each for each in self._services if each.cell.fault is Fault.RESTART])
        return self._records()

    @contextlib.contextmanager
    def _namespace(self, name: str) -> Iterator[Api]:
        self._cluster.kubectl("create", "namespace", name)
        try:
            yield Api(self._cluster, name)
        finally:
            self._cluster.kubectl("delete", "namespace", name, "--wait=false")

    @contextlib.contextmanager
    def _operator(self, api: Api) -> Iterator[None]:
        settings = {
            "GENERATION_OPERATOR_WATCH_NAMESPACES": api.namespace,
            "GENERATION_OPERATOR_TICK_SECONDS": str(TICK_SECONDS),
        }
        # Beside the logs of the cluster, which are kept when a test failed.
        operator = Operator(self._cluster, self._cluster.plan.logs / f"{api.namespace}.log", settings)
        operator.start()
        try:
            yield
        finally:
            operator.stop()

    def _add(self, cell: Cell, api: Api) -> None:
        stamped = cell.fault is Fault.STALE
        targets = self._prometheus.targets
        exporter = Exporter(self._cluster.plan, api.namespace, cell.name, targets=targets, stamped=stamped)
        distortion = _DISTORTIONS.get(cell.fault) if cell.fault else None
        url = self._proxy.url(distortion) if distortion else self._prometheus.url
        self._services.append(_Service(cell, api, url, exporter))

    def _all_is_well(self, stack: contextlib.ExitStack) -> None:
        self._bound(self._services, REPLICAS, REPLICAS)
        eventually(self._pods, lambda ready: ready == len(self._services) * REPLICAS, seconds=90, what="all pods run")
        for each in self._services:
            stack.enter_context(each.exporter.serving(each.pods, LOADS[each.cell.load]))
        serving = time.monotonic()
        self._await_told(self._services, "True", seconds=60)
        # Nothing of what a fault brings with it may lower these, so they are open to it from the start.
        self._bound([each for each in self._services if each.cell.load != "idle"], 1, REPLICAS)
        time.sleep(max(1.0, serving + _WARM_SECONDS - time.monotonic()))

    def _faults(self, services: list[_Service]) -> None:
        """All faults at once, while nothing happens to the controls."""
        controls = [each for each in self._services if each.cell.fault is None]
        unready = [each for each in services if each.cell.fault is Fault.ZERO]
        self._note([*services, *controls], "began")
        began = time.monotonic()
        self._proxy.begin()
        for each in services:
            self._begin(each)
        self._set_ready(unready, "False")
        self._await_told(services, "False", seconds=40)
        # Until then the rates of an outage still hold what was before it.
        time.sleep(max(0.0, began + SHORT_WINDOW_SECONDS + 2 * TICK_SECONDS - time.monotonic()))
        self._open([*services, *controls])
        held = time.monotonic()
        self._await_lowered([each for each in controls if each.cell.load == "idle"], seconds=30)
        time.sleep(max(0.0, held + _HELD_SECONDS - time.monotonic()))
        self._note([*services, *controls], "lifted")
        self._proxy.end()
        for each in services:
            self._end(each)
        self._set_ready(unready, "True")
        self._await_end(services)

    def _restart(self, services: list[_Service]) -> None:
        """Prometheus is lost for everybody."""
        self._note(services, "began")
        self._prometheus.kill()
        self._await_told(services, "False", seconds=20)
        self._open(services)
        time.sleep(_HELD_SECONDS)
        self._note(services, "lifted")
        self._prometheus.start()
        self._await_end(services)

    def _begin(self, each: _Service) -> None:
        match each.cell.fault:
            case Fault.EMPTY:
                each.exporter.announce([])
            case Fault.PARTIAL:
                each.exporter.announce(each.pods[1:])
            case Fault.LABELS:
                each.exporter.relabel("another-service")
            case Fault.STALE:
                each.exporter.freeze()
            case Fault.ZERO:
                each.exporter.set(_NOTHING)

    def _end(self, each: _Service) -> None:
        match each.cell.fault:
            case Fault.EMPTY | Fault.PARTIAL:
                each.exporter.announce(each.pods)
            case Fault.LABELS:
                each.exporter.relabel(each.cell.name)
            case Fault.STALE:
                each.exporter.thaw()
            case Fault.ZERO:
                each.exporter.set(LOADS[each.cell.load])

    def _set_ready(self, services: list[_Service], status: str) -> None:
        """Say of all their pods whether they are ready, as a kubelet would."""
        patch = {"status": {"conditions": [{"type": "Ready", "status": status}]}}
        # If replicas were lowered, which is for others to judge, some are gone.
        api = services[0].api
        there = {pod["metadata"]["name"] for pod in self._items("api/v1", api, "pods")}
        pods = sorted(there & {pod for each in services for pod in each.pods})
        api.kubectl("patch", "pods", *pods, "--subresource=status", "--patch", json.dumps(patch))

    def _await_end(self, services: list[_Service]) -> None:
        """Until the metrics are well, the operator has said so, and it has lowered who is idle."""
        ill = [each for each in services if each.cell.fault not in _DISTORTIONS]
        deadline = time.monotonic() + 30
        while ill and time.monotonic() < deadline:
            now = time.time()
            well = self._well()
            ill = [each for each in ill if (each.api.namespace, each.cell.name) not in well[each.cell.window_seconds]]
            self._note(ill, "healthy", now)
            time.sleep(0.2)
        self._await_told(services, "True", seconds=40)
        self._await_lowered([each for each in services if each.cell.load == "idle"], seconds=45)

    def _well(self) -> dict[int, set[tuple[str, str]]]:
        """Namespace and name of the services that Prometheus has recent samples and rates of, by window."""
        found = {}
        for window in (WINDOW_SECONDS, SHORT_WINDOW_SECONDS):
            texts = queries(window, _MAX_AGE_SECONDS)
            try:
                ages, reporting, times = (
                    dict(by_service(self._prometheus.ask(texts[name])))
                    for name in (Evidence.AGE, Evidence.REPORTING, SignalName.RESPONSE_TIME)
                )
            except OSError:
                ages, reporting, times = {}, {}, {}
            found[window] = {
                who
                for who, seconds in times.items()
                if seconds >= 0 and ages.get(who, 99.0) <= _MAX_AGE_SECONDS and reporting.get(who, 0) >= REPLICAS
            }
        return found

    def _bound(self, services: Iterable[_Service], lowest: int, highest: int) -> None:
        by_namespace: dict[str, list[_Service]] = {}
        for each in services:
            by_namespace.setdefault(each.api.namespace, []).append(each)
        for group in by_namespace.values():
            items = [_manifest(each, lowest, highest) for each in group]
            group[0].api.apply({"apiVersion": "v1", "kind": "List", "items": items})

    def _open(self, services: list[_Service]) -> None:
        """Let whoever is idle be lowered, and the busy controls raised."""
        self._bound([each for each in services if each.cell.load == "idle"], 1, REPLICAS)
        self._bound(
            [each for each in services if each.cell.fault is None and each.cell.load == "busy"], 1, _MOST_REPLICAS
        )
        self._note(services, "opened")

    @staticmethod
    def _note(services: Iterable[_Service], what: str, at: float | None = None) -> None:
        moment = time.time() if at is None else at
        for each in services:
            setattr(each.record, what, moment)

    def _pods(self) -> int:
        """How many pods are ready; takes note of their names."""
        found: dict[tuple[str, str], list[str]] = {}
        for api in self._apis():
            for pod in self._items("api/v1", api, "pods"):
                if any(entry["type"] == "Ready" and entry["status"] == "True" for entry in _conditions(pod)):
                    key = api.namespace, pod["metadata"]["labels"]["app.kubernetes.io/instance"]
                    found.setdefault(key, []).append(pod["metadata"]["name"])
        for each in self._services:
            each.pods = found.get((each.api.namespace, each.cell.name), [])
        return sum(len(each.pods) for each in self._services)

    def _await_told(self, services: list[_Service], status: str, *, seconds: float) -> None:
        """Until the operator says so of all of them, or the time is over: what then is missing fails its own cell."""
        self._patiently(lambda: self._told(status) >= {each.cell.name for each in services}, seconds)

    def _await_lowered(self, services: list[_Service], *, seconds: float) -> None:
        self._patiently(lambda: self._lowered() >= {each.cell.name for each in services}, seconds)

    @staticmethod
    def _patiently(probe: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not probe() and time.monotonic() < deadline:
            time.sleep(0.5)

    def _told(self, status: str) -> set[str]:
        return {
            item["metadata"]["name"]
            for api in self._apis()
            for item in self._items("apis/generation.dev/v1alpha1", api, "generationservices")
            for entry in _conditions(item)
            if entry["type"] == "MetricsAvailable" and entry["status"] == status
        }

    def _lowered(self) -> set[str]:
        deployments = (item for api in self._apis() for item in self._items("apis/apps/v1", api, "deployments"))
        return {item["metadata"]["name"] for item in deployments if item["spec"]["replicas"] < REPLICAS}

    def _items(self, version: str, api: Api, kind: str) -> list[Object]:
        """All objects of a kind. Not with kubectl, which would take as much of a processor as all the rest."""
        url = f"{self._server}/{version}/namespaces/{api.namespace}/{kind}"
        with urllib.request.urlopen(url, timeout=20, context=self._tls) as response:
            return list(json.load(response)["items"])

    def _apis(self) -> list[Api]:
        return list({each.api.namespace: each.api for each in self._services}.values())

    def _records(self) -> dict[Cell, Record]:
        entries = {api.namespace: audit.writes(api) for api in self._apis()}
        for each in self._services:
            written, name, record = entries[each.api.namespace], each.cell.name, each.record
            record.moves = audit.moves(written, name, first=REPLICAS)
            record.told = audit.conditions(written, name, "MetricsAvailable")
            record.healthy = max(record.healthy, record.lifted)
            if each.cell.fault is Fault.ZERO:
                back = [at for at, ready in audit.ready_replicas(written, name) if ready and at > record.lifted]
                record.healthy = max(record.healthy, *back[:1])
        return {each.cell: each.record for each in self._services}


def _manifest(each: _Service, lowest: int, highest: int) -> Object:
    made = service(
        each.cell.name,
        policy=each.cell.policy,
        minReplicas=lowest,
        maxReplicas=highest,
        score={"cooldownSeconds": 2},
        targets={"assumedStartupSeconds": 1},
    )
    made["spec"] |= {
        "proxy": {"enabled": False},
        "metrics": {
            "prometheusURL": each.url,
            "windowSeconds": each.cell.window_seconds,
            "maxAgeSeconds": _MAX_AGE_SECONDS,
        },
    }
    return made


def _conditions(item: Object) -> list[Object]:
    return list(item.get("status", {}).get("conditions", []))

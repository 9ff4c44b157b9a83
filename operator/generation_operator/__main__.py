"""The composition root: the only place that reads the environment, and where every part gets to know the others.

Crash-only: all loops run as root tasks of kopf, so that the end of one, by an error, ends the process with exit code 1
and the reason in the log. A process that limps on without one of its loops would look healthy and do nothing.
"""

import argparse
import asyncio
import contextlib
import gc
import logging
import os
import resource
import socket
import sys
import textwrap
import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, NamedTuple

import kopf

from generation_operator import handlers, settings
from generation_operator.api.names import OPERATOR
from generation_operator.api.resource import Key
from generation_operator.cluster.fenced import Fenced
from generation_operator.cluster.kube import KubeCluster, connect
from generation_operator.cluster.ports import ClusterError
from generation_operator.loops.autoscaler import Autoscaler
from generation_operator.loops.deletion_cost import DeletionCost
from generation_operator.loops.leader import Election
from generation_operator.loops.recall import Recall
from generation_operator.loops.resync import Resync
from generation_operator.loops.witness import Witness
from generation_operator.loops.workqueue import WorkQueue
from generation_operator.observe.history import PrometheusHistory
from generation_operator.observe.pods import MOST_PODS, HttpProbe, PodLoads
from generation_operator.observe.prometheus import PrometheusSource
from generation_operator.observe.signals import Ask, MetricsSource, Reading
from generation_operator.observe.sources import Sources
from generation_operator.observe.store import Store
from generation_operator.reconcile.reconcile import Reconciler
from generation_operator.settings import DecisionLogging, Settings, SettingsError
from generation_operator.telemetry import logs
from generation_operator.telemetry.decisions import DecisionLog, Logged
from generation_operator.telemetry.metrics import Metrics
from generation_operator.telemetry.serving import serving

_log = logging.getLogger("generation_operator")

_BAD_SETTINGS: Final = 2
# Objects that are made, less those that are freed, from one run of the garbage collector to the next, by generation.
# A tick makes hundreds of objects for each service and keeps some, nearly none of them in cycles: with Python's own
# thresholds (700, 10, 10) it takes 435 ms for 1,000 services, with these 250.
GARBAGE_THRESHOLDS: Final = (10_000, 20, 50)
# A tick waits at most 6 s for Prometheus and a few more for the API server; what is later than this hangs.
_LATEST_TICK_SECONDS: Final = 60.0
# A reconcile is a dozen requests of at most 10 s and four tries each, and usually takes a tenth of a second.
_LONGEST_STALL_SECONDS: Final = 600.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the operator until it is told to stop (0), a part of it fails (1) or its settings are bad (2)."""
    _parser().parse_args(arguments)
    try:
        chosen = settings.read(os.environ)
    except SettingsError as error:
        print(f"generation-operator: {error}", file=sys.stderr)  # noqa: T201 - there is no log yet
        return _BAD_SETTINGS
    logs.set_up_logging(chosen.log_level, chosen.log_format)
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    try:
        asyncio.run(run(chosen))
    except ClusterError as error:
        _log.error("the operator stops: %s", error)
        return 1
    except Exception:  # noqa: BLE001 - whatever ended it has to be in the log, in the log's format
        _log.exception("the operator stops: a part of it failed")
        return 1
    _log.info("the operator has stopped")
    return 0


async def run(chosen: Settings) -> None:
    """Connect, look at everything once, then watch, reconcile and scale until told to stop.

    Raises:
        ClusterError: the cluster cannot be reached, or misses the CRD.
    """
    metrics = Metrics()
    connection = connect(chosen.kubeconfig, requests_per_second=chosen.api_requests_per_second, told=metrics.requested)
    async with connection as cluster, contextlib.AsyncExitStack() as open_:
        load_seconds = min(chosen.load_seconds, chosen.tick_seconds)
        most = max(MOST_PODS, round(chosen.load_requests_per_second * load_seconds))
        _allow_open_files(2 * most)
        # Tries of silent pods go on beside a round, a quarter of it.
        store, prometheus, probe = Store(), PrometheusSource(), HttpProbe(connections=2 * most)
        open_.callback(prometheus.close)
        open_.push_async_callback(probe.close)
        loads = PodLoads(probe, store.pods, requests_per_round=most, clock=time.monotonic)
        open_.push_async_callback(loads.close)
        sources = Sources(
            prometheus, loads, metrics_seconds=chosen.tick_seconds, load_seconds=load_seconds, clock=time.monotonic
        )
        open_.push_async_callback(sources.close)
        await _operate(chosen, cluster, store, _Seeing(sources, loads, metrics))


def _allow_open_files(count: int) -> None:
    """Let the process have so many connections, as far as it may; the usual limit of 1,024 is for select() alone."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if now != resource.RLIM_INFINITY and now < count:
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (count if most == resource.RLIM_INFINITY else min(count, most), most)
        )


def _period(chosen: Settings) -> float:
    """Seconds between two looks at what is new."""
    return min(chosen.news_seconds, chosen.load_seconds, chosen.tick_seconds)


class _Seeing(NamedTuple):
    """Where signals come from, and where what was done is told."""

    sources: MetricsSource
    loads: PodLoads
    metrics: Metrics


async def _operate(chosen: Settings, cluster: KubeCluster, store: Store, seeing: _Seeing) -> None:
    queue: WorkQueue[Key] = WorkQueue()
    pulse = Pulse(seeing.sources, latest=max(_LATEST_TICK_SECONDS, 5 * _period(chosen)), stalled=queue.stalled_seconds)
    election = _election(chosen, cluster, pulse)
    writer = cluster if election is None else Fenced(cluster, election.remaining)
    resync = Resync(writer, store, queue.add, namespaces=chosen.watch_namespaces, seconds=chosen.resync_seconds)
    reconciler = Reconciler(
        writer, store, cluster_domain=chosen.cluster_domain, clock=time.time, available=resync.available
    )
    autoscaler = Autoscaler(
        writer,
        store,
        pulse,
        queue.add,
        removal=DeletionCost(writer, store.pods, seeing.loads),
        clock=time.time,
        prometheus_default_url=chosen.prometheus_url,
        tick_seconds=_period(chosen),
        keep_manual_seconds=chosen.manual_override_seconds,
        witness=_witness(chosen, seeing.metrics),
    )
    recall = Recall(
        store,
        autoscaler.services,
        PrometheusHistory(),
        autoscaler,
        clock=time.time,
        prometheus_default_url=chosen.prometheus_url,
    )
    seeing.metrics.watch(
        leads=lambda: election is None or election.remaining() > 0,
        queued=lambda: len(queue),
        failing=lambda: queue.failing,
        states=store.signal_states,
    )

    async def act() -> None:
        """Wait for the lead, look at everything once more, then write until told to stop."""
        if election is not None:
            await election.acquire()
            # What the last leader wrote may not have reached the store yet.
            await resync.once()
        try:
            async with asyncio.TaskGroup() as group:
                handle = seeing.metrics.timed(reconciler.reconcile)
                group.create_task(queue.run(handle, workers=chosen.workers), name="work queue")
                group.create_task(autoscaler.run(), name="autoscaler")
                group.create_task(recall.run(), name="recall")
                if election is not None:
                    group.create_task(election.hold(), name="leader election")
        finally:
            if election is not None:
                await election.release()

    starting = ["the cluster has not been looked at yet"]

    def unready() -> str | None:
        return next(iter(starting), None)

    async with serving(chosen.probe_port, alive=pulse.problem, ready=unready, metrics=seeing.metrics.text):
        # Before anything acts: who sees an empty store takes existing children for missing ones.
        await resync.once()
        _log.info("watching %s", ", ".join(chosen.watch_namespaces) or "all namespaces")
        # kopf ends every task that was started after it, so its own come first and the loops end together with it.
        existing = asyncio.all_tasks()
        tasks = [
            *await _watch(chosen, cluster, store, queue),
            asyncio.create_task(act(), name="leader"),
            asyncio.create_task(resync.run(), name="resync"),
        ]
        starting.clear()
        await kopf.run_tasks(tasks, ignored=existing)


def _election(chosen: Settings, cluster: KubeCluster, pulse: "Pulse") -> Election | None:
    """The election to win before anything is written; None where no other operator can be."""
    if not chosen.lease_namespace:
        return None
    identity = f"{socket.gethostname()}_{uuid.uuid4()}"
    lease = Key(chosen.lease_namespace, OPERATOR)

    def beat(leads: bool) -> None:
        # Who leads has to tick; that it renews its Lease does not make up for it.
        if not leads:
            pulse.beat()

    return Election(cluster, lease, identity, clock=time.monotonic, now=time.time, beat=beat)


async def _watch(
    chosen: Settings, cluster: KubeCluster, store: Store, queue: WorkQueue[Key]
) -> Collection[asyncio.Task[None]]:
    """Start the tasks of kopf."""

    async def login() -> kopf.ConnectionInfo:
        credentials = await cluster.credentials()
        return kopf.ConnectionInfo(
            server=credentials.server,
            ca_path=credentials.ca_path,
            certificate_path=credentials.certificate_path,
            private_key_path=credentials.private_key_path,
            token=credentials.token,
            insecure=credentials.insecure,
        )

    registry = kopf.OperatorRegistry()
    handlers.register(registry, store, queue.add)
    handlers.register_login(registry, login)
    kopf_settings = kopf.OperatorSettings()
    handlers.configure(kopf_settings, namespaced=bool(chosen.watch_namespaces))
    return await kopf.spawn_tasks(
        registry=registry,
        settings=kopf_settings,
        memories=handlers.NoMemories(),
        standalone=True,  # no peering: there is an election of our own, and standbys watch too
        # Unused then, but otherwise made up from the account's name, which a container need not have. kopf does not
        # export the NewType.
        identity=OPERATOR,  # type: ignore[arg-type]
        clusterwide=not chosen.watch_namespaces,
        namespaces=chosen.watch_namespaces,
    )


class Pulse:
    """Whether the process does what it is there for: tick, and get through its queue.

    A `MetricsSource` that notes when it was asked, which each tick of the autoscaler does, with or without services.

    Args:
        metrics: who answers.
        latest: seconds after which a missing tick is a problem.
        stalled: for how many seconds the work queue has not moved although something waits.
        clock: monotonic, in seconds.
    """

    def __init__(
        self,
        metrics: MetricsSource,
        *,
        latest: float,
        stalled: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._metrics = metrics
        self._latest = latest
        self._stalled = stalled
        self._clock = clock
        self._beat = clock()

    async def read(self, asks: Sequence[Ask]) -> Mapping[Key, Reading]:
        """Ask the source."""
        self.beat()
        return await self._metrics.read(asks)

    def beat(self) -> None:
        """A sign of life."""
        self._beat = self._clock()

    def problem(self) -> str | None:
        """Why the process is not alive, None while it is."""
        age, stalled = self._clock() - self._beat, self._stalled()
        if age > self._latest:
            return f"the autoscaler has not ticked for {age:.0f} s"
        return f"the work queue has not moved for {stalled:.0f} s" if stalled > _LONGEST_STALL_SECONDS else None


def _witness(chosen: Settings, metrics: Metrics) -> Witness:
    """Who is told of decisions."""
    if chosen.decision_log is DecisionLogging.OFF:
        return metrics
    return Logged(metrics, DecisionLog(sys.stdout))


def _parser() -> argparse.ArgumentParser:
    lines = ["environment variables:"]
    for name, default, about in settings.table():
        lines.append(f"  {name}" + (f" (default {default})" if default else ""))
        lines += textwrap.wrap(about, 90, initial_indent="      ", subsequent_indent="      ")
    return argparse.ArgumentParser(
        prog="python -m generation_operator",
        description="The Generation Operator. It is configured by environment variables only.",
        epilog="\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


if __name__ == "__main__":
    sys.exit(main())

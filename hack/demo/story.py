"""The story that the demo tells and that a test checks: load rises tenfold and falls, and the replicas follow."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp

from demo import install
from demo.arrivals import Profile, read_trace
from demo.load import Load, LoadSettings
from demo.view import Traffic, View
from demo.watch import Watch
from localcluster import kind, processes
from localcluster.cluster import Cluster
from localcluster.errors import LocalClusterError
from localcluster.plan import Shape

NAMESPACE: Final = "default"
NAME: Final = "demo"
SAMPLE: Final = Path(__file__).parent / "sample.yaml"
# Requests per second over time: quiet, a tenfold rise, the plateau, and quiet again until the replicas are gone.
QUIET_RATE: Final = 14.0
BUSY_RATE: Final = 140.0
PROFILE: Final = Profile(
    ((0, QUIET_RATE), (15, QUIET_RATE), (35, BUSY_RATE), (85, BUSY_RATE), (95, QUIET_RATE), (170, QUIET_RATE))
)
_READY_SECONDS: Final = 90.0
_SETTLE_SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came out of it."""

    at_start: int
    peak: int
    at_end: int
    seconds_to_peak: float
    decisions: int
    sent: int
    failed: int
    p95_seconds: float
    failures: tuple[str, ...]

    def problems(self, *, tenfold: bool = True) -> list[str]:
        """Why the story did not go as promised; empty when it did. A trace promises no particular peak."""
        found = []
        if tenfold and self.peak < 6:
            found.append(f"replicas rose to {self.peak} only, 6 were expected")
        if self.at_end != self.at_start:
            found.append(f"replicas ended at {self.at_end} instead of {self.at_start}")
        if self.failed:
            found.append(f"{self.failed} of {self.sent} requests failed: {'; '.join(self.failures)}")
        return found


async def tell(
    cluster: Cluster, view: View, say: Callable[[str], None], settings: LoadSettings, *, helm: str | None
) -> Outcome:
    """Install everything, run the load and watch; the cluster has to be up with the images loaded.

    `helm` is the path of a Helm to install with; without one kubectl is used.

    Raises:
        LocalClusterError: something did not become ready.
    """
    async with contextlib.AsyncExitStack() as stack:
        if install.is_pod(cluster):
            await asyncio.to_thread(install.install, cluster, say, helm)
        else:
            say("running the operator as a process: this cluster only simulates pods")
            stack.enter_context(install.as_process(cluster, cluster.plan.logs / "generation-operator.log"))
        say(f"applying {SAMPLE.name}")
        await asyncio.to_thread(cluster.kubectl, "apply", f"--namespace={NAMESPACE}", "-f", str(SAMPLE))
        watch = Watch(cluster, NAMESPACE, NAME)
        url = await stack.enter_async_context(_entrance(cluster))
        await _until_ready(watch)
        await _until_answered(url)
        at_start = watch.samples[-1].ready
        say(f"{NAME} is ready with {at_start} replicas; sending load to its proxy")
        return await _under_load(watch, view, url, settings, at_start)


async def _under_load(watch: Watch, view: View, url: str, settings: LoadSettings, at_start: int) -> Outcome:
    load = Load(settings)
    sending = asyncio.create_task(load.run(f"{url}/v1/workflows"))
    watch = Watch(watch.cluster, watch.namespace, watch.name)
    deadline: float | None = None
    with view.showing():
        while True:
            sample = await asyncio.to_thread(watch.look)
            live = load.live()
            view.show(
                "load" if not sending.done() else "settling",
                sample,
                Traffic(live.rate, live.p95_seconds, live.in_flight, live.failed),
            )
            if sending.done():
                deadline = deadline or sample.at + _SETTLE_SECONDS
                if sample.replicas <= at_start or sample.at > deadline:
                    break
            await asyncio.sleep(1)
    summary = await sending
    peak_at = next(sample.at for sample in watch.samples if sample.ready == watch.peak)
    return Outcome(
        at_start=at_start,
        peak=watch.peak,
        at_end=watch.samples[-1].replicas,
        seconds_to_peak=peak_at,
        decisions=len(watch.decisions),
        sent=summary.sent,
        failed=summary.failed,
        p95_seconds=summary.p95_seconds or 0.0,
        failures=summary.failure_texts,
    )


async def _until_ready(watch: Watch) -> None:
    while True:
        sample = await asyncio.to_thread(watch.look)
        if sample.conditions.get("Ready") == "True" and sample.ready >= sample.replicas > 0:
            return
        if sample.at > _READY_SECONDS:
            raise LocalClusterError(
                f"the service did not become ready within {_READY_SECONDS:g} s: {sample.conditions}"
            )
        await asyncio.sleep(1)


async def _until_answered(url: str) -> None:
    """Ready pods are a moment ahead of the way to them: kube-proxy's rules, nginx's DNS, a stand-in's start."""
    deadline = time.monotonic() + _READY_SECONDS
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
        while time.monotonic() < deadline:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with session.get(f"{url}/readyz") as response:
                    if response.status == 200:
                        return
            await asyncio.sleep(0.2)
    raise LocalClusterError(f"{url} did not answer within {_READY_SECONDS:g} s")


@contextlib.asynccontextmanager
async def _entrance(cluster: Cluster) -> AsyncIterator[str]:
    """URL of the service's front door, as seen from this machine."""
    if cluster.plan.shape is Shape.KIND:
        await asyncio.to_thread(_await_proxy, cluster)
        async with kind.forwarded(cluster.plan, NAMESPACE, f"service/{NAME}-proxy") as url:
            yield url
    elif install.is_pod(cluster):
        await asyncio.to_thread(_await_proxy, cluster)
        yield await asyncio.to_thread(_proxy_url, cluster)
    else:
        async with processes.of(cluster).running() as stand_ins:
            yield stand_ins.url


def _proxy_url(cluster: Cluster) -> str:
    """The proxy's ClusterIP: a local node's service network is routed on this machine."""
    address = cluster.kubectl(
        "get", f"service/{NAME}-proxy", f"--namespace={NAMESPACE}", "--output=jsonpath={.spec.clusterIP}"
    )
    return f"http://{address}"


def _await_proxy(cluster: Cluster) -> None:
    cluster.kubectl("wait", f"--namespace={NAMESPACE}", "--for=create", f"deployment/{NAME}-proxy", "--timeout=30s")
    cluster.kubectl("rollout", "status", f"--namespace={NAMESPACE}", f"deployment/{NAME}-proxy", "--timeout=60s")


def settings(trace: Path | None) -> LoadSettings:
    """The load of the story, or a trace squeezed into its length and height.

    Raises:
        LoadError: the trace cannot be read; said now, not after a cluster was started for it.
    """
    if trace is not None:
        read_trace(trace)
    return LoadSettings(profile=PROFILE, trace=trace, timeout_seconds=120.0)

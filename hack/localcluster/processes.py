"""Stand-ins for pods where no container can run: one host process for each fake pod of the generation service.

KWOK only says that a pod runs. For the demo without root a real process of the same program has to answer, so this
watches the fake pods, starts and ends one `python -m generation_service` for each, tells Prometheus where they are, and
spreads incoming connections over those that are ready. Everything listens on loopback.
"""

import asyncio
import contextlib
import itertools
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp

from localcluster.cluster import Cluster
from localcluster.errors import LocalClusterError
from localcluster.plan import free_ports
from localcluster.shell import die_with_parent

SELECTOR: Final = "app.kubernetes.io/name=generation-service"
_POLL_SECONDS: Final = 0.5
_GRACE_SECONDS: Final = 40.0
_CHUNK: Final = 65536


def of(cluster: Cluster) -> "ProcessPods":
    """Stand-ins for the generation service's pods of a cluster."""

    def list_pods() -> str:
        return cluster.kubectl("get", "pods", "--all-namespaces", f"--selector={SELECTOR}", "--output=json")

    return ProcessPods(list_pods, cluster.plan.state / "targets")


@dataclass(slots=True)
class _Process:
    pod: str
    port: int
    process: asyncio.subprocess.Process
    ready: bool = False


class ProcessPods:
    """All stand-ins of one cluster, and the balancer in front of them.

    Args:
        list_pods: the service's pods as `kubectl get --output=json` prints them; may block, and runs in a thread.
        targets: folder where Prometheus looks for whom to scrape.
    """

    def __init__(self, list_pods: Callable[[], str], targets: Path) -> None:
        self._list_pods = list_pods
        self._targets = targets
        self._processes: dict[str, _Process] = {}
        self._endings: set[asyncio.Task[None]] = set()
        self._turn: Iterator[int] = itertools.count()
        self.url = ""

    @property
    def ready(self) -> int:
        """Processes that take requests."""
        return sum(process.ready for process in self._processes.values())

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["ProcessPods"]:
        """Follow the cluster's pods until the block ends; then end all processes."""
        balancer = await asyncio.start_server(self._forward, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{balancer.sockets[0].getsockname()[1]}"
        follower = asyncio.create_task(self._follow())
        try:
            yield self
        finally:
            follower.cancel()
            await asyncio.wait([follower])
            balancer.close()
            await asyncio.gather(*(self._end(process) for process in self._processes.values()), *self._endings)

    async def _follow(self) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=1)) as session:
            while True:
                # A round that fails changes nothing: not knowing which pods there are is not the same as none.
                with contextlib.suppress(LocalClusterError, OSError, ValueError):
                    await self._converge(await self._pods())
                for process in self._processes.values():
                    await self._probe(session, process)
                await asyncio.sleep(_POLL_SECONDS)

    async def _pods(self) -> dict[str, dict[str, Any]]:
        """Fake pods that should run, by namespace and name."""
        text = await asyncio.to_thread(self._list_pods)
        return {
            f"{pod['metadata']['namespace']}/{pod['metadata']['name']}": pod
            for pod in json.loads(text)["items"]
            if pod["status"].get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]
        }

    async def _converge(self, pods: dict[str, dict[str, Any]]) -> None:
        for name in pods.keys() - self._processes.keys():
            self._processes[name] = await self._start(name, pods[name])
        for name in self._processes.keys() - pods.keys():
            ending = asyncio.create_task(self._end(self._processes.pop(name)))
            self._endings.add(ending)
            ending.add_done_callback(self._endings.discard)

    async def _start(self, name: str, pod: dict[str, Any]) -> _Process:
        [port] = free_ports(1)
        container = pod["spec"]["containers"][0]
        declared = {entry["name"]: entry["value"] for entry in container.get("env", []) if "value" in entry}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "generation_service"),
            env={
                **os.environ,
                # As in a pod of the demo's image: no servers of its own.
                "DATABASE_URL": "memory:",
                "REDIS_URL": "memory:",
                "GENERATOR_URL": "built-in:",
                **declared,
                "GENERATION_SERVICE_HOST": "127.0.0.1",
                "GENERATION_SERVICE_PORT": str(port),
            },
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            preexec_fn=die_with_parent,
        )
        namespace, pod_name = name.split("/")
        targets = [{"targets": [f"127.0.0.1:{port}"], "labels": {"namespace": namespace, "pod": pod_name}}]
        self._target_file(pod_name).write_text(json.dumps(targets))
        return _Process(pod_name, port, process)

    async def _end(self, process: _Process) -> None:
        process.ready = False
        self._target_file(process.pod).unlink(missing_ok=True)
        with contextlib.suppress(ProcessLookupError):
            process.process.terminate()
            try:
                await asyncio.wait_for(process.process.wait(), _GRACE_SECONDS)
            except TimeoutError:
                process.process.kill()
                await process.process.wait()

    def _target_file(self, pod: str) -> Path:
        return self._targets / f"{pod}.json"

    @staticmethod
    async def _probe(session: aiohttp.ClientSession, process: _Process) -> None:
        try:
            async with session.get(f"http://127.0.0.1:{process.port}/readyz") as response:
                process.ready = response.status == 200
        except (aiohttp.ClientError, TimeoutError):
            process.ready = False

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pump one request to the next ready process.

        A header asks for the connection to be closed after the answer, so that every request is balanced anew and no
        client holds on to a process that is about to end.
        """
        ready = [process.port for process in self._processes.values() if process.ready]
        try:
            if ready:
                head = await reader.readuntil(b"\r\n") + b"Connection: close\r\n"
                to_reader, to_writer = await asyncio.open_connection("127.0.0.1", ready[next(self._turn) % len(ready)])
                to_writer.write(head)
                await asyncio.gather(_pump(reader, to_writer), _pump(to_reader, writer))
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client sees a closed connection, as it would from a proxy whose last pod is gone
        finally:
            writer.close()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(_CHUNK):
            sink.write(data)
            await sink.drain()
    sink.close()

"""A kind cluster of our own name, for machines with Docker."""

import asyncio
import contextlib
import re
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

from rich.console import Console

from localcluster.errors import LocalClusterError
from localcluster.plan import Plan, Shape
from localcluster.shell import run, succeeds

_PROJECT: Final = Path(__file__).parents[2]
_IMAGES: Final = {
    "operator": "localhost/generation-operator:dev",
    "service": "localhost/generation-service:dev",
    "proxy": "localhost/generation-proxy:dev",
}


def unavailable() -> str | None:
    """Why kind cannot be used here, or None when it can."""
    for command in ("docker", "kind", "kubectl"):
        if shutil.which(command) is None:
            return f"the command {command} is missing"
    if not succeeds(["docker", "info"]):
        return "Docker does not answer"
    return None


def up(name: str, state: Path, console: Console) -> Plan:
    """Create the cluster and its Prometheus."""
    plan = Plan(name, Shape.KIND, state, state, slot=0, ports={"apiserver": 0, "prometheus": 30090})
    plan.save()
    console.print(f"creating the kind cluster {plan.context} (a minute or two)")
    config = _PROJECT / "kind-config.yaml"
    run(
        [
            "kind",
            "create",
            "cluster",
            f"--name={plan.context}",
            f"--config={config}",
            f"--kubeconfig={plan.kubeconfig}",
        ],
        timeout=600,
    )
    run(
        ["kubectl", f"--kubeconfig={plan.kubeconfig}", "config", "rename-context", f"kind-{plan.context}", plan.context]
    )
    addons = Path(__file__).parent / "kind-addons.yaml"
    run(["kubectl", f"--kubeconfig={plan.kubeconfig}", "apply", "--server-side", "-f", str(addons)])
    return plan


def down(plan: Plan) -> None:
    """Delete the cluster."""
    run(["kind", "delete", "cluster", f"--name={plan.context}", f"--kubeconfig={plan.kubeconfig}"], timeout=300)


def is_running(plan: Plan) -> bool:
    """Whether kind knows the cluster."""
    return plan.context in run(["kind", "get", "clusters"]).split()


@contextlib.asynccontextmanager
async def forwarded(plan: Plan, namespace: str, target: str) -> AsyncIterator[str]:
    """URL on loopback that reaches port 80 of a Service: the nodes' network is not this machine's."""
    process = await asyncio.create_subprocess_exec(
        *("kubectl", f"--kubeconfig={plan.kubeconfig}", "port-forward", f"--namespace={namespace}", target, ":80"),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        line = (await asyncio.wait_for(process.stdout.readline(), 30)).decode()
        port = re.search(r"127\.0\.0\.1:(\d+)", line)
        if port is None:
            raise LocalClusterError(f"kubectl port-forward to {target} did not start: {line.strip() or 'no output'}")
        yield f"http://127.0.0.1:{port[1]}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


def load_images(plan: Plan, say: Callable[[str], None]) -> None:
    """Build the images with Docker and copy them to the nodes."""
    for target, reference in _IMAGES.items():
        say(f"building {reference}")
        run(["docker", "build", f"--target={target}", f"--tag={reference}", str(_PROJECT)], timeout=1200)
    run(["kind", "load", "docker-image", f"--name={plan.context}", *_IMAGES.values()], timeout=600)

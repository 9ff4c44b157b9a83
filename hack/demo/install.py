"""Install the operator into a local cluster the way a user would: Helm when it is at hand, kubectl otherwise."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from localcluster.cluster import Cluster
from localcluster.images import OPERATOR_IMAGE
from localcluster.plan import Shape
from localcluster.shell import die_with_parent, run

_PROJECT: Final = Path(__file__).parents[2]
_NAMESPACE: Final = "generation-system"
_DEPLOYMENT: Final = "generation-operator"
_PROMETHEUS: Final = "http://prometheus.monitoring.svc:9090"
_TICK_SECONDS: Final = "2"


def install(cluster: Cluster, say: Callable[[str], None], helm: str | None) -> None:
    """Install the operator as a pod, with Helm when a path of it is given, and wait until it is ready."""
    if helm:
        say("installing the operator with Helm")
        _with_helm(cluster, helm)
    else:
        say("installing the operator with kubectl from manifests/")
        _with_kubectl(cluster)
    cluster.kubectl(
        *("rollout", "status", f"deployment/{_DEPLOYMENT}", f"--namespace={_NAMESPACE}", "--timeout=90s"), timeout=100
    )


@contextlib.contextmanager
def as_process(cluster: Cluster, log: Path) -> Iterator[None]:
    """Run the operator as a process of this machine, for a cluster whose pods are simulated."""
    cluster.kubectl("apply", "--server-side", "-f", str(_PROJECT / "crds"))
    environment = os.environ | {
        "GENERATION_OPERATOR_KUBECONFIG": str(cluster.kubeconfig),
        "GENERATION_OPERATOR_PROMETHEUS_URL": cluster.plan.prometheus_url,
        "GENERATION_OPERATOR_TICK_SECONDS": _TICK_SECONDS,
        "GENERATION_OPERATOR_PROBE_PORT": "0",
    }
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "generation_operator"],
            env=environment,
            stdout=output,
            stderr=output,
            preexec_fn=die_with_parent,  # noqa: PLW1509 (it only calls prctl)
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def is_pod(cluster: Cluster) -> bool:
    """Whether this cluster can run the operator as a pod."""
    return cluster.plan.shape is not Shape.KWOK


def _with_helm(cluster: Cluster, helm: str) -> None:
    repository, _, tag = OPERATOR_IMAGE.reference.rpartition(":")
    values = {
        "image.repository": repository,
        "image.tag": tag,
        "prometheusURL": _PROMETHEUS,
        "tickSeconds": _TICK_SECONDS,
    }
    run(
        [
            helm, "upgrade", "--install", "generation-operator", str(_PROJECT / "helm" / "generation-operator"),
            f"--kubeconfig={cluster.kubeconfig}", f"--kube-context={cluster.plan.context}",
            f"--namespace={_NAMESPACE}", "--create-namespace",
            *(f"--set={key}={value}" for key, value in values.items()),
        ],
        timeout=120,
    )  # fmt: skip


def _with_kubectl(cluster: Cluster) -> None:
    """The plain manifests, with the image and the Prometheus of the local cluster filled in."""
    manifests: list[dict[str, Any]] = [
        manifest for manifest in yaml.safe_load_all((_PROJECT / "manifests" / "install.yaml").read_text()) if manifest
    ]
    changed = {"GENERATION_OPERATOR_PROMETHEUS_URL": _PROMETHEUS, "GENERATION_OPERATOR_TICK_SECONDS": _TICK_SECONDS}
    for manifest in manifests:
        if manifest["kind"] == "Deployment":
            container = manifest["spec"]["template"]["spec"]["containers"][0]
            container["image"] = OPERATOR_IMAGE.reference
            kept = [entry for entry in container.get("env", []) if entry["name"] not in changed]
            container["env"] = kept + [{"name": name, "value": value} for name, value in changed.items()]
    first = [manifest for manifest in manifests if manifest["kind"] in {"Namespace", "CustomResourceDefinition"}]
    cluster.apply(first)
    cluster.apply([manifest for manifest in manifests if manifest not in first])

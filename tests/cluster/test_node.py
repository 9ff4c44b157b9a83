"""The local cluster's real node: pods, names and services work, two run at once, and nothing is left behind."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

from rich.console import Console

from api_fixtures import eventually
from localcluster import cluster as local
from localcluster import sandbox
from localcluster.cluster import Cluster
from localcluster.images import SERVICE_IMAGE
from localcluster.plan import Shape


def probe_manifest(name: str) -> list[dict[str, object]]:
    labels = {"app": name}
    container = {
        "name": "web",
        "image": SERVICE_IMAGE.reference,
        "command": ["python3", "-m", "http.server", "8000"],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8000}, "periodSeconds": 1},
    }
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"namespace": "default", "name": name},
            "spec": {
                "replicas": 2,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
                },
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"namespace": "default", "name": name},
            "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8000}]},
        },
    ]


def test_pods_resolve_names_and_reach_services_and_the_api_server(node_cluster: Cluster) -> None:
    node_cluster.apply(probe_manifest("probe"))
    node_cluster.kubectl("rollout", "status", "deployment/probe", "--timeout=60s", timeout=70)
    program = (
        "import ssl, socket, urllib.request as u; "
        "print(u.urlopen('http://probe/', timeout=5).status); "
        "print(u.urlopen('http://prometheus.monitoring:9090/-/ready', timeout=5).status); "
        "print(u.urlopen('https://kubernetes/healthz', timeout=5, context=ssl._create_unverified_context()).status)"
    )
    # Ready pods are a second ahead of kube-proxy's rules, so a refused connection is asked again.
    eventually(
        lambda: node_cluster.kubectl("exec", "deployment/probe", "--", "python3", "-c", program).split(),
        lambda printed: printed == ["200", "200", "200"],
    )
    eventually(
        lambda: node_cluster.kubectl("top", "pods", "--selector=app=probe", "--no-headers").splitlines(),
        lambda lines: len(lines) == 2,
        seconds=60,
        what="metrics of both pods",
    )
    node_cluster.kubectl("delete", "deployment/probe", "service/probe", "--wait=false")


def test_a_second_cluster_runs_beside_it_and_leaves_nothing_after_a_crash(
    node_cluster: Cluster, console: Console
) -> None:
    forwarding = Path("/proc/sys/net/ipv4/ip_forward").read_text()
    name = f"second-{os.getpid()}"
    second = local.up(name, shape=Shape.NODE, console=console)
    try:
        nodes = json.loads(second.kubectl("get", "nodes", "--output=json"))["items"]
        assert [node["metadata"]["name"] for node in nodes] == ["node-1"]
        assert second.plan.server != node_cluster.plan.server
        pid = int((second.plan.state / "supervisor.pid").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)  # the crash
        deadline = time.monotonic() + 10
        while sandbox.is_alive(second.plan) and time.monotonic() < deadline:
            time.sleep(0.1)
    finally:
        assert local.down(name)
    assert not second.plan.state.exists()
    assert not Path(f"/sys/class/net/{second.plan.link}").exists()
    assert list(Path("/sys/fs/cgroup").glob(f"**/{second.plan.cgroup}")) == []
    assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == forwarding
    routes = subprocess.run(["ip", "route"], capture_output=True, text=True, check=True).stdout
    assert second.plan.pod_network not in routes
    assert node_cluster.kubectl("get", "--raw", "/readyz") == "ok"

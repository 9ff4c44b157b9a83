"""The demo's story as a test: real pods behind a real nginx, 2 -> at least 6 -> 2 replicas, no request lost."""

import asyncio
import json
from pathlib import Path

from rich.console import Console

from demo import story
from demo.view import View
from localcluster.cluster import Cluster
from localcluster.shell import run
from tools import helm


def test_replicas_follow_the_load_and_no_request_fails(node_cluster: Cluster, tmp_path: Path, console: Console) -> None:
    installer = str(helm.find())
    with (tmp_path / "view.txt").open("w") as output:
        view = View(Console(file=output))
        outcome = asyncio.run(story.tell(node_cluster, view, console.print, story.settings(None), helm=installer))
    print((tmp_path / "view.txt").read_text())  # noqa: T201 (shown when the test failed)
    assert outcome.problems() == []
    assert outcome.at_start == 2
    assert outcome.decisions >= 2, "up and down; in how many steps is the policy's affair and depends on the machine"
    assert_written_by_the_operator(node_cluster)
    assert_events_tell_the_story(node_cluster)
    assert_the_proxy_checks_its_configuration(node_cluster)
    run([installer, "uninstall", "generation-operator", "--namespace=generation-system",
         f"--kubeconfig={node_cluster.kubeconfig}"])  # fmt: skip
    kept = node_cluster.kubectl("get", "gensvc", "demo", "--output=name")
    assert "demo" in kept, "uninstalling the operator keeps the resources"


def assert_written_by_the_operator(cluster: Cluster) -> None:
    deployment = json.loads(cluster.kubectl("get", "deployment/demo", "--output=json", "--show-managed-fields"))
    owners = {
        (entry["manager"], entry.get("subresource"))
        for entry in deployment["metadata"]["managedFields"]
        if "f:replicas" in entry["fieldsV1"].get("f:spec", {})
    }
    assert owners == {("generation-operator-scaler", "scale")}


def assert_events_tell_the_story(cluster: Cluster) -> None:
    events = json.loads(cluster.kubectl("get", "events", "--output=json"))["items"]
    reasons = [event["reason"] for event in events if event["involvedObject"]["kind"] == "GenerationService"]
    assert {"ScaledUp", "ScaledDown"} <= set(reasons)


def assert_the_proxy_checks_its_configuration(cluster: Cluster) -> None:
    command = ("exec", "deployment/demo-proxy", "--", "nginx", "-t", "-c", "/etc/generation-proxy/nginx.conf")
    cluster.kubectl(*command)

"""Two operators beside each other on a real API server: who writes, who waits, and what happens when one goes.

Each has an account of its own, so that the audit log tells who wrote.
"""

import contextlib
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from api_fixtures import Api, Operator, eventually, service
from audit import moves, writes
from exporter import LOW, Exporter
from ownership_world import FAST, deployment_replicas, operator_writes, ready, stays, token_kubeconfig


class Two:
    """Two operators of one namespace."""

    def __init__(self, api: Api, folder: Path) -> None:
        self.api = api
        self.operators = {name: self._make(name, folder / name) for name in ("one", "other")}

    def _make(self, name: str, folder: Path) -> Operator:
        folder.mkdir()
        self.api.kubectl("create", "serviceaccount", name)
        self.api.kubectl(
            "create",
            "rolebinding",
            name,
            "--clusterrole=cluster-admin",
            f"--serviceaccount={self.api.namespace}:{name}",
        )
        settings = {
            "GENERATION_OPERATOR_WATCH_NAMESPACES": self.api.namespace,
            "GENERATION_OPERATOR_LEASE_NAMESPACE": self.api.namespace,
            "GENERATION_OPERATOR_KUBECONFIG": str(token_kubeconfig(self.api, name, folder)),
        }
        return Operator(self.api.cluster, folder / "operator.log", settings)

    def start(self, name: str) -> None:
        self.operators[name].start()
        eventually(
            self.operators[name].read_log,
            lambda log: " leads" in log.rpartition("watching")[2],
            what=f"{name} knows who leads",
        )

    @property
    def holder(self) -> str:
        """The name of the operator that has the Lease; empty while nobody leads."""
        lease = self.api.find("lease", "generation-operator") or {}
        identity = lease.get("spec", {}).get("holderIdentity")
        # An identity is a new one for each process; only its own log says that it leads.
        told = f"{identity} leads\n"
        return next((name for name, operator in self.operators.items() if told in operator.read_log()), "")

    def writers(self) -> list[str]:
        """The accounts that wrote, in order."""
        return [entry["user"]["username"].rpartition(":")[2] for entry in operator_writes(self.api)]


@pytest.fixture
def two(api: Api, tmp_path: Path) -> Iterator[Two]:
    pair = Two(api, tmp_path)
    yield pair
    for operator in pair.operators.values():
        if operator.process is not None and operator.process.poll() is None:
            operator.process.send_signal(signal.SIGCONT)
            with contextlib.suppress(AssertionError):
                operator.stop()


def test_only_the_leader_writes_and_a_killed_one_is_followed_within_20_s(api: Api, two: Two) -> None:
    two.start("one")
    two.start("other")
    api.apply(service("led"))
    eventually(lambda: ready(api, "led"), bool, what="Ready")
    assert set(two.writers()) == {"one"}
    assert "standing by" in two.operators["other"].read_log()

    api.kubectl("scale", "deployment/led", "--replicas=4")
    eventually(lambda: api.get("gensvc", "led")["status"]["replicas"], lambda count: count == 4)
    two.operators["one"].stop(signal.SIGKILL)
    eventually(lambda: two.holder, lambda name: name == "other", seconds=20, what="a takeover")
    api.kubectl("delete", "service", "led-headless")
    api.await_object("service", "led-headless")
    written = two.writers()
    assert set(written[written.index("other") :]) == {"other"}
    assert deployment_replicas(api, "led") == 4


def test_a_takeover_moves_no_replica(api: Api, two: Two) -> None:
    """Metrics call for fewer than somebody wants for a while: a successor that knew nothing of that would lower."""
    two.start("one")
    two.start("other")
    api.apply(service("wanted", **FAST))
    eventually(lambda: ready(api, "wanted"), bool, what="Ready")
    api.kubectl("scale", "deployment/wanted", "--replicas=5")
    eventually(lambda: api.condition("wanted", "ScalingActive").get("reason"), lambda told: told == "OverrideInForce")
    eventually(lambda: api.get("gensvc", "wanted")["status"].get("readyReplicas"), lambda count: count == 5)
    pods = [item["metadata"]["name"] for item in api.items("pods", "app.kubernetes.io/component=service")]
    with Exporter(api.cluster.plan, api.namespace, "wanted").serving(pods, LOW):
        two.operators["one"].stop(signal.SIGKILL)
        eventually(lambda: two.holder, lambda name: name == "other", seconds=20, what="a takeover")
        eventually(lambda: api.condition("wanted", "MetricsAvailable").get("status"), lambda told: told == "True")
        stays(lambda: deployment_replicas(api, "wanted"), 5, seconds=4)
    assert [(move.before, move.after) for move in moves(writes(api), "wanted", first=2)] == [(2, 5)]
    assert "other" in two.writers(), "it does write"


def test_a_leader_that_ends_in_order_is_followed_at_once(api: Api, two: Two) -> None:
    two.start("one")
    two.start("other")
    started = time.monotonic()
    assert two.operators["one"].stop() == 0
    # The Lease would have run out after 15 s; a standby looks every 2 s.
    eventually(lambda: two.holder, lambda name: name == "other", seconds=max(1.0, 12 - (time.monotonic() - started)))


def test_a_leader_that_was_paused_writes_nothing_when_it_goes_on(api: Api, two: Two) -> None:
    two.start("one")
    two.start("other")
    api.apply(service("paused"))
    eventually(lambda: ready(api, "paused"), bool, what="Ready")
    paused = two.operators["one"].process
    assert paused is not None
    paused.send_signal(signal.SIGSTOP)
    eventually(lambda: two.holder, lambda name: name == "other", seconds=25, what="a takeover")
    # What the paused one sees when it goes on is a reason to write: its idea of the spec is not what is there.
    api.kubectl("patch", "gensvc", "paused", "--type=merge", '--patch={"spec":{"port":9000}}')
    eventually(
        lambda: api.get("deployment", "paused")["spec"]["template"]["spec"]["containers"][0]["ports"][0],
        lambda port: port["containerPort"] == 9000,
    )
    before = len(two.writers())
    paused.send_signal(signal.SIGCONT)
    assert paused.wait(30) == 1
    assert "could not be renewed" in two.operators["one"].read_log()
    assert set(two.writers()[before:]) <= {"other"}
    assert two.holder == "other"

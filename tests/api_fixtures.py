"""What tests of the higher tiers share: a namespace on a real API server, patience, the operator as a process."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from localcluster.cluster import Cluster
from localcluster.errors import LocalClusterError

PROJECT = Path(__file__).parents[1]

Object = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Api:
    """The cluster as a test uses it: one namespace, plain manifests."""

    cluster: Cluster
    namespace: str

    def apply(self, manifest: Object, *options: str) -> str:
        """`kubectl apply` as a user would."""
        return self.kubectl("apply", "-f", "-", *options, stdin=json.dumps(manifest))

    def get(self, kind: str, name: str) -> Object:
        """One object, managedFields included."""
        return dict(json.loads(self.kubectl("get", kind, name, "--output=json", "--show-managed-fields")))

    def find(self, kind: str, name: str) -> Object | None:
        """One object, or None."""
        text = self.kubectl("get", kind, name, "--output=json", "--ignore-not-found", "--show-managed-fields")
        return dict(json.loads(text)) if text else None

    def await_object(self, kind: str, name: str) -> Object:
        """One object, as soon as it exists."""
        found = eventually(lambda: self.find(kind, name), lambda found: found is not None, what=f"{kind} {name} exists")
        assert found is not None
        return found

    def items(self, kind: str, selector: str = "") -> list[Object]:
        """All objects of a kind in the namespace."""
        return list(json.loads(self.kubectl("get", kind, f"--selector={selector}", "--output=json"))["items"])

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Any kubectl command in this namespace."""
        return self.cluster.kubectl(f"--namespace={self.namespace}", *arguments, stdin=stdin)

    def condition(self, name: str, kind: str) -> Object:
        """A condition of a GenerationService, empty while it is not there."""
        found = self.find("gensvc", name) or {}
        conditions = found.get("status", {}).get("conditions", [])
        return next((entry for entry in conditions if entry["type"] == kind), {})


def eventually(probe: Callable[[], T], wanted: Callable[[T], bool], *, seconds: float = 20.0, what: str = "") -> T:
    """Poll until the value is as wanted; on time-out the assertion shows the last value."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            value = probe()
        except LocalClusterError as error:
            last: Any = error
        else:
            if wanted(value):
                return value
            last = value
        assert time.monotonic() < deadline, f"not within {seconds} s: {what or wanted}; last seen: {last}"
        time.sleep(0.1)


@dataclass(slots=True)
class Operator:
    """The operator as a process: started, stopped and started again by a test."""

    cluster: Cluster
    log: Path
    settings: dict[str, str]
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; it is ready when it has written its first status."""
        environment = os.environ | {
            "GENERATION_OPERATOR_KUBECONFIG": str(self.cluster.kubeconfig),
            "GENERATION_OPERATOR_PROMETHEUS_URL": self.cluster.plan.prometheus_url,
            "GENERATION_OPERATOR_TICK_SECONDS": "1",
            "GENERATION_OPERATOR_PROBE_PORT": "0",
            **self.settings,
        }
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "generation_operator"], env=environment, stdout=output, stderr=output
            )

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it and return its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        try:
            return self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the operator did not end on signal {number} within 15 s") from None

    def read_log(self) -> str:
        """Everything that it has logged."""
        return self.log.read_text()


def service(name: str, **scaling: Any) -> Object:
    """A GenerationService whose pods KWOK pretends to run; values are scaled so that a test takes seconds."""
    return {
        "apiVersion": "generation.dev/v1alpha1",
        "kind": "GenerationService",
        "metadata": {"name": name},
        "spec": {
            "image": "localhost/generation-service:dev",
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}},
            "scaling": {"policy": "Score", "minReplicas": 2, "maxReplicas": 8, **scaling},
            "metrics": {"windowSeconds": 10, "maxAgeSeconds": 15},
        },
    }

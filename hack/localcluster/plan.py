"""What one cluster consists of: addresses, ports and folders.

Decided once at `up`, stored in the state folder, and read by everything else.
"""

import dataclasses
import json
import socket
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from localcluster.errors import LocalClusterError

NODE_NAME: Final = "node-1"


class Shape(StrEnum):
    """What runs the pods."""

    KIND = "kind"  # Docker containers as nodes
    NODE = "node"  # a real kubelet and containerd, in namespaces of this machine
    KWOK = "kwok"  # nobody: pods are simulated by KWOK


# 127.0.0.0/16 is what everybody else takes; slots go to 199.
_FIRST_LOOPBACK: Final = 50

# Where the components listen inside the cluster's own network namespace. A rootless cluster shares the machine's
# loopback with others and gets free ports instead.
_PORTS: Final = {
    "etcd": 2379,
    "etcd-peer": 2380,
    "apiserver": 6443,
    "controller-manager": 10257,
    "scheduler": 10259,
    "metrics-server": 4443,
    "prometheus": 9090,
    "kwok": 10247,
}


@dataclass(frozen=True, slots=True)
class HpaTiming:
    """Timing of the HorizontalPodAutoscaler controller, in seconds. The defaults are Kubernetes' own."""

    sync_period: int = 15
    downscale_stabilization: int = 300
    cpu_initialization_period: int = 300
    initial_readiness_delay: int = 30


FAST_HPA: Final = HpaTiming(1, 5, 5, 1)


@dataclass(frozen=True, slots=True)
class Plan:
    """One cluster."""

    name: str
    shape: Shape
    state: Path
    binaries: Path
    slot: int
    ports: dict[str, int]
    hpa: HpaTiming = HpaTiming()
    scrape_interval_seconds: int = 2

    @property
    def address(self) -> str:
        """Where the control plane listens: the cluster's end of its link to the host, or loopback without root."""
        return f"10.99.{self.slot}.2" if self.shape is Shape.NODE else "127.0.0.1"

    @property
    def host_address(self) -> str:
        """The host's end of the link."""
        return f"10.99.{self.slot}.1"

    @property
    def link(self) -> str:
        """Name of the host's end of the link (at most 15 characters)."""
        return f"localcluster{self.slot}"

    @property
    def service_network(self) -> str:
        """The first address is the API server's. Simulated pods reach no Service, so there is room for thousands."""
        return f"10.96.{self.slot}.0/24" if self.shape is Shape.NODE else "10.112.0.0/16"

    @property
    def pod_network(self) -> str:
        """All pods of the one node; simulated pods are on loopback, so that who asks them never leaves this machine."""
        return f"10.244.{self.slot}.0/24" if self.shape is Shape.NODE else f"127.{_FIRST_LOOPBACK + self.slot}.0.0/16"

    @property
    def api_service_address(self) -> str:
        """ClusterIP of the Service `kubernetes`."""
        return f"{self.service_network.rpartition('.')[0]}.1"

    @property
    def dns_address(self) -> str:
        """ClusterIP of the Service `kube-dns`."""
        return f"{self.service_network.rpartition('.')[0]}.10"

    @property
    def server(self) -> str:
        """URL of the API server."""
        return f"https://{self.address}:{self.ports['apiserver']}"

    @property
    def prometheus_url(self) -> str:
        """URL of Prometheus, as seen from the host."""
        return f"http://{self.address}:{self.ports['prometheus']}"

    @property
    def context(self) -> str:
        """Name of the kube context. Tests refuse any other."""
        return f"localcluster-{self.name}"

    @property
    def kubeconfig(self) -> Path:
        """The person's kubeconfig."""
        return self.state / "kubeconfig"

    @property
    def pki(self) -> Path:
        """Keys and certificates."""
        return self.state / "pki"

    @property
    def logs(self) -> Path:
        """One log per component, and the audit log."""
        return self.state / "logs"

    @property
    def containerd_socket(self) -> Path:
        """Where containerd answers; also reachable from the host."""
        return self.state / "run" / "containerd.sock"

    @property
    def cgroup(self) -> str:
        """The cgroup below which the node's pods live, in every hierarchy."""
        return f"localcluster-{self.name}"

    def save(self) -> None:
        """Write the plan into the state folder."""
        self.state.mkdir(parents=True, exist_ok=True)
        partial = self.state / "plan.json.partial"
        partial.write_text(json.dumps(dataclasses.asdict(self), default=str, indent=1))
        partial.rename(self.state / "plan.json")


def load(state: Path) -> Plan:
    """The plan of a cluster that was started earlier.

    Raises:
        LocalClusterError: there is no such cluster.
    """
    try:
        fields: dict[str, Any] = json.loads((state / "plan.json").read_text())
    except FileNotFoundError:
        raise LocalClusterError(f"there is no cluster {state.name!r}: start it with `up --name {state.name}`") from None
    fields |= {
        "shape": Shape(fields["shape"]),
        "state": Path(fields["state"]),
        "binaries": Path(fields["binaries"]),
        "hpa": HpaTiming(**fields["hpa"]),
    }
    return Plan(**fields)


def ports(shape: Shape) -> dict[str, int]:
    """Ports of all components; without a network namespace of one's own, free ones of the machine."""
    if shape is Shape.NODE:
        return dict(_PORTS)
    return dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))


def free_ports(count: int) -> list[int]:
    """Different free ports of this machine's loopback; held together until all are known."""
    held: list[socket.socket] = []
    try:
        for _ in range(count):
            listener = socket.socket()
            held.append(listener)
            listener.bind(("127.0.0.1", 0))
        return [listener.getsockname()[1] for listener in held]
    finally:
        for listener in held:
            listener.close()

"""The processes of a cluster: what to run, after what, and how to tell that it is ready. Pure: no I/O.

Flags and traps were tried one by one; the comments give the reason where a flag is not obvious.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from localcluster.build import Binaries
from localcluster.plan import NODE_NAME, Plan, Shape

# An EndpointSlice may not hold loopback addresses, and simulated pods have no others.
_WITHOUT_ENDPOINTS: Final = "*,-endpoints-controller,-endpointslice-controller,-endpointslice-mirroring-controller"


@dataclass(frozen=True, slots=True)
class Component:
    """One process of the cluster."""

    name: str
    argv: tuple[str, ...]
    ready_url: str | None = None  # ready when this answers 200 ...
    ready_file: str | None = None  # ... or when this exists; with neither, as soon as it runs
    after: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)


def components(plan: Plan, binaries: Binaries) -> list[Component]:
    """All processes of the cluster, in an order in which each comes after those it waits for."""
    made = [_etcd(plan, binaries), _apiserver(plan, binaries), _controller_manager(plan, binaries)]
    made += [_scheduler(plan, binaries), _metrics_server(plan, binaries), _prometheus(plan, binaries)]
    if plan.shape is Shape.KWOK:
        return [*made, _kwok(plan, binaries)]
    return [*made, _containerd(plan), _kubelet(plan, binaries), _kube_proxy(plan, binaries), _coredns(plan, binaries)]


def _etcd(plan: Plan, binaries: Binaries) -> Component:
    client, peer = (f"http://127.0.0.1:{plan.ports[port]}" for port in ("etcd", "etcd-peer"))
    return Component(
        "etcd",
        (
            str(binaries.path("etcd")),
            f"--data-dir={plan.state}/etcd",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",  # the data dies with the cluster anyway
            "--log-level=warn",
        ),
        ready_url=f"{client}/health",
    )


def _apiserver(plan: Plan, binaries: Binaries) -> Component:
    pki = plan.pki
    return Component(
        "kube-apiserver",
        (
            str(binaries.path("kube-apiserver")),
            f"--etcd-servers=http://127.0.0.1:{plan.ports['etcd']}",
            f"--bind-address={plan.address}",
            f"--advertise-address={plan.address}",
            # An EndpointSlice may not hold a loopback address, so without root nobody publishes one.
            *(("--endpoint-reconciler-type=none",) if plan.shape is Shape.KWOK else ()),
            f"--secure-port={plan.ports['apiserver']}",
            f"--service-cluster-ip-range={plan.service_network}",
            f"--client-ca-file={pki}/ca.crt",
            f"--tls-cert-file={pki}/apiserver.crt",
            f"--tls-private-key-file={pki}/apiserver.key",
            f"--kubelet-client-certificate={pki}/admin.crt",
            f"--kubelet-client-key={pki}/admin.key",
            "--kubelet-preferred-address-types=InternalIP",  # nobody resolves the node's name
            f"--service-account-key-file={pki}/service-accounts.pub",
            f"--service-account-signing-key-file={pki}/service-accounts.key",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--requestheader-client-ca-file={pki}/front-proxy-ca.crt",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-username-headers=X-Remote-User",
            f"--proxy-client-cert-file={pki}/front-proxy-client.crt",
            f"--proxy-client-key-file={pki}/front-proxy-client.key",
            "--authorization-mode=Node,RBAC",
            "--allow-privileged=true",
            "--profiling=false",
            f"--audit-policy-file={plan.state}/audit-policy.yaml",
            f"--audit-log-path={plan.logs}/audit.log",
        ),
        ready_url=f"{plan.server}/readyz",
        after=("etcd",),
    )


def _controller_manager(plan: Plan, binaries: Binaries) -> Component:
    pki, port = plan.pki, plan.ports["controller-manager"]
    return Component(
        "kube-controller-manager",
        (
            str(binaries.path("kube-controller-manager")),
            f"--kubeconfig={pki}/controller-manager.kubeconfig",
            f"--authentication-kubeconfig={pki}/controller-manager.kubeconfig",
            f"--authorization-kubeconfig={pki}/controller-manager.kubeconfig",
            "--bind-address=127.0.0.1",
            f"--secure-port={port}",
            f"--service-account-private-key-file={pki}/service-accounts.key",
            f"--root-ca-file={pki}/ca.crt",
            f"--cluster-cidr={plan.pod_network}",
            "--allocate-node-cidrs=false",
            "--use-service-account-credentials",
            "--leader-elect=false",
            *((f"--controllers={_WITHOUT_ENDPOINTS}",) if plan.shape is Shape.KWOK else ()),
            "--kube-api-qps=500",
            "--kube-api-burst=1000",
            f"--horizontal-pod-autoscaler-sync-period={plan.hpa.sync_period}s",
            f"--horizontal-pod-autoscaler-downscale-stabilization={plan.hpa.downscale_stabilization}s",
            f"--horizontal-pod-autoscaler-cpu-initialization-period={plan.hpa.cpu_initialization_period}s",
            f"--horizontal-pod-autoscaler-initial-readiness-delay={plan.hpa.initial_readiness_delay}s",
        ),
        ready_url=f"https://127.0.0.1:{port}/healthz",
        # It exits when it starts before the RBAC bootstrap is done, so it waits for the API server's /readyz.
        after=("kube-apiserver",),
    )


def _scheduler(plan: Plan, binaries: Binaries) -> Component:
    port, kubeconfig = plan.ports["scheduler"], f"{plan.pki}/scheduler.kubeconfig"
    return Component(
        "kube-scheduler",
        (
            str(binaries.path("kube-scheduler")),
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            "--bind-address=127.0.0.1",
            f"--secure-port={port}",
            "--leader-elect=false",
        ),
        ready_url=f"https://127.0.0.1:{port}/healthz",
        after=("kube-apiserver",),
    )


def _metrics_server(plan: Plan, binaries: Binaries) -> Component:
    kubeconfig = f"{plan.pki}/companion.kubeconfig"
    port = plan.ports["metrics-server"]
    return Component(
        "metrics-server",
        (
            str(binaries.path("metrics-server")),
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            f"--secure-port={port}",
            "--bind-address=127.0.0.1",
            f"--cert-dir={plan.state}/metrics-server",
            f"--kubelet-client-certificate={plan.pki}/admin.crt",
            f"--kubelet-client-key={plan.pki}/admin.key",
            "--kubelet-insecure-tls",
            "--kubelet-use-node-status-port",
            "--kubelet-preferred-address-types=InternalIP",
            "--metric-resolution=10s",
            "--kubelet-request-timeout=5s",
        ),
        # /readyz stays red while the cluster has no pods, so liveness has to do.
        ready_url=f"https://127.0.0.1:{port}/livez",
        after=("kube-apiserver",),
    )


def _prometheus(plan: Plan, binaries: Binaries) -> Component:
    return Component(
        "prometheus",
        (
            str(binaries.path("prometheus")),
            f"--config.file={plan.state}/prometheus.yaml",
            f"--storage.tsdb.path={plan.state}/prometheus",
            "--storage.tsdb.retention.time=6h",
            f"--web.listen-address={plan.address}:{plan.ports['prometheus']}",
            "--log.level=warn",
        ),
        ready_url=f"{plan.prometheus_url}/-/ready",
        after=("kube-apiserver",),
    )


def _kwok(plan: Plan, binaries: Binaries) -> Component:
    return Component(
        "kwok",
        (
            str(binaries.path("kwok")),
            f"--kubeconfig={plan.pki}/companion.kubeconfig",
            f"--config={plan.state}/kwok.yaml",
            "--manage-all-nodes=false",
            "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
            f"--cidr={plan.pod_network}",
            f"--node-ip={plan.address}",
            f"--node-port={plan.ports['kwok']}",
            f"--server-address={plan.address}:{plan.ports['kwok']}",
            f"--tls-cert-file={plan.pki}/kubelet-serving.crt",
            f"--tls-private-key-file={plan.pki}/kubelet-serving.key",
            "--node-lease-duration-seconds=40",
        ),
        after=("kube-apiserver",),
    )


def _containerd(plan: Plan) -> Component:
    return Component(
        "containerd",
        ("containerd", f"--config={plan.state}/containerd.toml"),
        ready_file=str(plan.containerd_socket),
    )


def _kubelet(plan: Plan, binaries: Binaries) -> Component:
    return Component(
        "kubelet",
        (
            str(binaries.path("kubelet")),
            f"--config={plan.state}/kubelet.yaml",
            f"--kubeconfig={plan.pki}/kubelet.kubeconfig",
            f"--root-dir={plan.state}/kubelet",
            f"--cert-dir={plan.state}/kubelet/pki",
            f"--node-ip={plan.address}",
            f"--hostname-override={NODE_NAME}",
            "--node-labels=node.kubernetes.io/instance-type=localcluster",
        ),
        ready_url="http://127.0.0.1:10248/healthz",
        after=("kube-apiserver", "containerd"),
    )


def _kube_proxy(plan: Plan, binaries: Binaries) -> Component:
    return Component(
        "kube-proxy",
        (str(binaries.path("kube-proxy")), f"--config={plan.state}/kube-proxy.yaml"),
        after=("kube-apiserver",),
    )


def _coredns(plan: Plan, binaries: Binaries) -> Component:
    return Component(
        "coredns",
        (str(binaries.path("coredns")), "-conf", f"{plan.state}/Corefile"),
        ready_url="http://127.0.0.1:8181/ready",
        after=("kube-apiserver",),
    )


def spec_path(plan: Plan) -> Path:
    """Where `up` leaves the component list for the supervisor."""
    return plan.state / "components.json"

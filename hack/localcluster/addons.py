"""Objects that a cluster needs before it is of use: DNS, metrics API, Prometheus, fake nodes, and the HPA's rights."""

from typing import Any, Final

from localcluster.plan import Plan, Shape

MONITORING_NAMESPACE: Final = "monitoring"
FAKE_NODES: Final = 2


def manifests(plan: Plan) -> list[dict[str, Any]]:
    """All objects for this shape, to be applied in order."""
    made = [_metrics_service(), _metrics_api(plan.ports["metrics-server"])]
    if plan.shape is Shape.NODE:
        dns_ports = [{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"}]
        web_ports = [{"name": "web", "port": 9090, "protocol": "TCP"}]
        made += _process("kube-system", "kube-dns", plan.address, dns_ports, cluster_ip=plan.dns_address)
        made += [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": MONITORING_NAMESPACE}}]
        made += _process(MONITORING_NAMESPACE, "prometheus", plan.address, web_ports)
    else:
        made += [_fake_node(number) for number in range(FAKE_NODES)]
    return made


def _process(
    namespace: str, name: str, address: str, ports: list[dict[str, Any]], cluster_ip: str | None = None
) -> list[dict[str, Any]]:
    """A Service in front of a host process: no selector, its one endpoint written by hand."""
    spec: dict[str, Any] = {"ports": ports} | ({"clusterIP": cluster_ip} if cluster_ip else {})
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": namespace, "name": name}, "spec": spec},
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "namespace": namespace,
                "name": f"{name}-process",
                "labels": {"kubernetes.io/service-name": name},
            },
            "addressType": "IPv4",
            "ports": ports,
            "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        },
    ]


def _metrics_service() -> dict[str, Any]:
    # ExternalName, because an EndpointSlice may not hold the loopback address on which metrics-server listens.
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"namespace": "kube-system", "name": "metrics-server"},
        "spec": {"type": "ExternalName", "externalName": "localhost"},
    }


def _metrics_api(port: int) -> dict[str, Any]:
    return {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": "v1beta1.metrics.k8s.io"},
        "spec": {
            "group": "metrics.k8s.io",
            "version": "v1beta1",
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "insecureSkipTLSVerify": True,
            "service": {"namespace": "kube-system", "name": "metrics-server", "port": port},
        },
    }


def _fake_node(number: int) -> dict[str, Any]:
    name = f"fake-{number}"
    # A simulated pod costs nothing but its object; with 1,000 a node, 3,000 of 5,000 services had none.
    capacity = {"cpu": "64", "memory": "256Gi", "pods": "10000"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {
                "kwok.x-k8s.io/node": "fake",
                "node.alpha.kubernetes.io/ttl": "0",
                "metrics.k8s.io/resource-metrics-path": f"/metrics/nodes/{name}/metrics/resource",
            },
            "labels": {"type": "kwok", "kubernetes.io/os": "linux", "kubernetes.io/hostname": name},
        },
        "status": {"allocatable": capacity, "capacity": capacity},
    }

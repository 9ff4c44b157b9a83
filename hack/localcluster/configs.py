"""Configuration files of the components, written into the state folder before anything starts."""

import json
from pathlib import Path
from typing import Any

import yaml

from localcluster.build import Binaries
from localcluster.plan import NODE_NAME, Plan, Shape

PAUSE_IMAGE = "localcluster/pause:1"


def write(plan: Plan, binaries: Binaries) -> None:
    """Write all files that the components of this shape read."""
    files: dict[str, str] = {"audit-policy.yaml": _yaml(_audit_policy()), "prometheus.yaml": _yaml(_prometheus(plan))}
    if plan.shape is Shape.KWOK:
        files["kwok.yaml"] = _kwok(binaries)
    else:
        files |= {
            "containerd.toml": _containerd(plan),
            "cni/10-localcluster.conflist": json.dumps(_cni(plan)),
            "kubelet.yaml": _yaml(_kubelet(plan)),
            "kube-proxy.yaml": _yaml(_kube_proxy(plan)),
            "Corefile": _corefile(plan),
            "resolv.conf": "# The cluster has no name server but its own.\n",
        }
    for name, text in files.items():
        path = plan.state / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _yaml(value: dict[str, Any]) -> str:
    return yaml.safe_dump(value, sort_keys=False)


def _audit_policy() -> dict[str, Any]:
    """Who wrote what: requests that change something, with their bodies only for our own group and the workloads."""
    writes = ["create", "update", "patch", "delete", "deletecollection"]
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "None", "resources": [{"group": "coordination.k8s.io"}, {"group": "", "resources": ["events"]}]},
            {"level": "Request", "verbs": writes, "resources": [
                {"group": "generation.dev"}, {"group": "apps"}, {"group": "autoscaling"},
            ]},
            {"level": "Metadata", "verbs": writes},
            {"level": "Metadata", "resources": [{"group": "generation.dev"}, {"group": "apps"}]},
            {"level": "None"},
        ],
    }  # fmt: skip


def _prometheus(plan: Plan) -> dict[str, Any]:
    """Scrape annotated pods, labelled with namespace and pod; without real pods, the processes of a target file."""
    interval = f"{plan.scrape_interval_seconds}s"
    annotation = "__meta_kubernetes_pod_annotation_prometheus_io"
    pods = {
        "job_name": "pods",
        "kubernetes_sd_configs": [{"role": "pod", "kubeconfig_file": f"{plan.pki}/companion.kubeconfig"}],
        "relabel_configs": [
            {"source_labels": [f"{annotation}_scrape"], "action": "keep", "regex": "true"},
            {"source_labels": ["__meta_kubernetes_pod_phase"], "action": "keep", "regex": "Running"},
            {
                "source_labels": ["__meta_kubernetes_pod_ip", f"{annotation}_port"],
                "regex": "(.+);(.+)",
                "replacement": "$1:$2",
                "target_label": "__address__",
            },
            {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
            {"source_labels": ["__meta_kubernetes_pod_name"], "target_label": "pod"},
        ],
    }
    processes = {
        "job_name": "processes",
        # Who speaks for many pods says itself which.
        "honor_labels": True,
        "file_sd_configs": [{"files": [f"{plan.state}/targets/*.json"], "refresh_interval": "1s"}],
    }
    return {
        "global": {"scrape_interval": interval, "scrape_timeout": interval},
        "scrape_configs": [pods if plan.shape is Shape.NODE else processes],
    }


def _containerd(plan: Plan) -> str:
    return f"""version = 2
root = "{plan.state}/containerd"
state = "{plan.state}/run/containerd"
oom_score = 0
disabled_plugins = ["io.containerd.internal.v1.restart"]
[grpc]
  address = "{plan.containerd_socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  # Root in a virtual machine or container may lack CAP_SYS_RESOURCE; runc then cannot lower the OOM score.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{plan.state}/cni"
[plugins."io.containerd.internal.v1.opt"]
  path = "{plan.state}/containerd-opt"
"""


def _cni(plan: Plan) -> dict[str, Any]:
    return {
        "cniVersion": "0.4.0",
        "name": "localcluster",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "pods0",
                "isGateway": True,
                "ipMasq": False,
                "hairpinMode": True,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": plan.pod_network}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                    "dataDir": f"{plan.state}/run/ipam",
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def _kubelet(plan: Plan) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{plan.cgroup}",
        "containerRuntimeEndpoint": f"unix://{plan.containerd_socket}",
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "address": plan.address,
        "healthzBindAddress": "127.0.0.1",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True, "cacheTTL": "10s"},
            "x509": {"clientCAFile": f"{plan.pki}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{plan.pki}/kubelet-serving.crt",
        "tlsPrivateKeyFile": f"{plan.pki}/kubelet-serving.key",
        "clusterDNS": [plan.dns_address],
        "clusterDomain": "cluster.local",
        "resolvConf": f"{plan.state}/resolv.conf",
        "serializeImagePulls": False,
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "1%",
            "imagefs.available": "1%",
            "nodefs.inodesFree": "1%",
        },
        "makeIPTablesUtilChains": False,
        # Pods appear and end faster than the API server's default limits allow when a demo scales tenfold.
        "kubeAPIQPS": 200,
        "kubeAPIBurst": 400,
    }


def _kube_proxy(plan: Plan) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "bindAddress": plan.address,
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "clientConnection": {"kubeconfig": f"{plan.pki}/proxy.kubeconfig"},
        "mode": "nftables",
        "clusterCIDR": plan.pod_network,
        "hostnameOverride": NODE_NAME,
        # Zero leaves the machine's connection tracking limits alone: they are not per network namespace.
        "conntrack": {"maxPerCore": 0},
    }


def _corefile(plan: Plan) -> str:
    # ttl 1: a pod that goes away is out of the answer within a second.
    return f""".:53 {{
  bind {plan.address}
  errors
  ready 127.0.0.1:8181
  kubernetes cluster.local in-addr.arpa {{
    kubeconfig {plan.pki}/companion.kubeconfig localcluster
    pods insecure
    ttl 1
  }}
}}
"""


def _kwok(binaries: Binaries) -> str:
    documents = [path.read_text() for path in binaries.kwok_stages]
    return "\n---\n".join([*documents, (Path(__file__).parent / "kwok-usage.yaml").read_text()])

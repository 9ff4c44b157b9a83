"""The golden manifests: which resources they are made from, and how to write them anew.

`python tests/unit/desired/regenerate_golden.py` rewrites the folder; read the diff before you keep it.
"""

import sys
from pathlib import Path

import yaml

GOLDEN = Path(__file__).parent / "golden"
if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

from builders import WITH_VPA, make_service  # noqa: E402 - the path is set above when this runs as a script
from generation_operator.api.kinds import Manifest  # noqa: E402
from generation_operator.desired.available import Available  # noqa: E402
from generation_operator.desired.children import children  # noqa: E402

DOMAIN = "cluster.local"
FULL = (
    make_service("chat", "prod")
    .image("registry.example/chat:1.2.3")
    .replicas(3, 12)
    .targets(workflowDurationSeconds=45, concurrentWorkflows=8)
    .env("LOG_LEVEL", "debug")
    .env("POD_NAME", "mine")
    .proxy(replicas=2, image="nginx:1.30")
    .spec(
        port=9000,
        resources={"requests": {"cpu": "250m", "memory": "512Mi"}, "limits": {"cpu": "2", "memory": "4Gi"}},
        podTemplate={
            "labels": {"team": "chat"},
            "annotations": {"prometheus.io/path": "/numbers"},
            "nodeSelector": {"pool": "inference"},
            "tolerations": [{"key": "inference", "operator": "Exists"}],
            "affinity": {
                "podAntiAffinity": {
                    "preferredDuringSchedulingIgnoredDuringExecution": [
                        {
                            "weight": 10,
                            "podAffinityTerm": {
                                "labelSelector": {"matchLabels": {"team": "batch"}},
                                "topologyKey": "kubernetes.io/hostname",
                            },
                        }
                    ]
                }
            },
            "volumes": [{"name": "models", "persistentVolumeClaim": {"claimName": "models", "readOnly": True}}],
            "volumeMounts": [{"name": "models", "mountPath": "/models", "readOnly": False}],
            "serviceAccountName": "chat-reader",
            "imagePullSecrets": [{"name": "registry"}],
            "securityContext": {"fsGroup": 2000},
        },
        dependencies={
            "database": {"secretKeyRef": {"name": "chat-database", "key": "url"}},
            "redis": {"url": "redis://cache:6379/0"},
            "generator": {"url": "https://llm.example/v1", "apiKey": {"name": "llm", "key": "token"}, "model": "m$1"},
        },
        vertical={"mode": "Active"},
    )
    .scaling(
        horizontalPodAutoscaler={
            "cpuPercent": 60,
            "requestsPerSecond": 100,
            "behavior": {"scaleUp": {"stabilizationWindowSeconds": 0}},
        }
    )
)
FLOOR = make_service("a").scaling(
    engine="Floor",
    horizontalPodAutoscaler={"memoryPercent": 80, "behavior": {"scaleDown": {"stabilizationWindowSeconds": 600}}},
)


def golden() -> dict[str, str]:
    """File name -> text of every golden file."""
    minimal = _by_name(children(make_service("a").obj(), cluster_domain=DOMAIN, available=WITH_VPA))
    everything = Available(vertical_pod_autoscaler=True, custom_metrics=True)
    full = _by_name(children(FULL.obj(), cluster_domain=DOMAIN, available=everything, may_resize=True))
    floor = _by_name(children(FLOOR.obj(), cluster_domain=DOMAIN, available=WITH_VPA))
    paused = _by_name(
        children(
            make_service("a").mode("Paused").obj(),
            cluster_domain=DOMAIN,
            available=WITH_VPA,
        )
    )
    monitored = _by_name(
        children(make_service("a").obj(), cluster_domain=DOMAIN, available=Available(pod_monitor=True))
    )
    manifests = {
        "service-account": minimal["ServiceAccount/a-service"],
        "pdb": minimal["PodDisruptionBudget/a"],
        "pod-monitor": monitored["PodMonitor/a"],
        "service-cluster-ip": minimal["Service/a"],
        "service-headless": minimal["Service/a-headless"],
        "deployment": minimal["Deployment/a"],
        "deployment-full": full["Deployment/chat"],
        "hpa": minimal["HorizontalPodAutoscaler/a"],
        "hpa-full": full["HorizontalPodAutoscaler/chat"],
        "hpa-paused": paused["HorizontalPodAutoscaler/a"],
        "hpa-floor": floor["HorizontalPodAutoscaler/a"],
        "vpa-active": full["VerticalPodAutoscaler/chat"],
        "vpa": minimal["VerticalPodAutoscaler/a"],
        "proxy-deployment": minimal["Deployment/a-proxy"],
        "proxy-deployment-full": full["Deployment/chat-proxy"],
        "proxy-service": minimal["Service/a-proxy"],
        "proxy-config": next(manifest for name, manifest in minimal.items() if name.startswith("ConfigMap/")),
        "proxy-config-full": next(manifest for name, manifest in full.items() if name.startswith("ConfigMap/")),
    }
    return {f"{name}.yaml": _text(manifest) for name, manifest in manifests.items()}


def _by_name(manifests: tuple[Manifest, ...]) -> dict[str, Manifest]:
    return {f"{manifest['kind']}/{manifest['metadata']['name']}": manifest for manifest in manifests}


class _Dumper(yaml.SafeDumper):
    """Block style for text of several lines, no anchors: the files should read like manifests."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _string(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _string)


def _text(manifest: Manifest) -> str:
    return yaml.dump(manifest, Dumper=_Dumper, sort_keys=False, width=120)


if __name__ == "__main__":
    for file in GOLDEN.glob("*.yaml"):
        file.unlink()
    for file_name, text in golden().items():
        (GOLDEN / file_name).write_text(text)

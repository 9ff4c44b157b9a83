"""The nginx in front of the service: its ConfigMap, Deployment and Service.

The ConfigMap is immutable and named after its content. A new configuration is a new object that the Deployment rolls
out like an image; a rollback finds the old one by its name.
"""

from typing import Any, Final

from generation_operator.api.kinds import CONFIG_MAP, DEPLOYMENT, SERVICE, Manifest
from generation_operator.api.resource import GenerationService
from generation_operator.desired import names
from generation_operator.desired.deployment import (
    DRAIN_MARGIN_SECONDS,
    PRE_STOP_SECONDS,
    container_security_context,
    pod_security_context,
    probe,
    topology_spread,
)
from generation_operator.desired.names import Component
from generation_operator.desired.nginx import HEALTH_PATH, RESOLVER_FILE, ProxyConfig, render

CONFIG_FOLDER: Final = "/etc/generation-proxy"
CONFIG_FILE: Final = "nginx.conf"

# Any number but 0 will do: nginx needs no account, and images that declare root are run without it too.
_USER: Final = 65532

# nginx takes addresses only, so the cluster's DNS is read where the kubelet wrote it. IPv6 addresses need brackets.
# TERM would cut requests off; QUIT lets nginx finish them, whatever stop signal the image declares. The second `wait`
# is reached when the first is interrupted by the signal.
_START: Final = f"""\
set -eu
awk '$1 == "nameserver" {{ list = list " " (index($2, ":") ? "[" $2 "]" : $2) }}
END {{ print "resolver" list " valid=1s ipv6=off;" }}' /etc/resolv.conf > {RESOLVER_FILE}
nginx -e stderr -c {CONFIG_FOLDER}/{CONFIG_FILE} -g 'daemon off;' &
trap 'kill -QUIT $!' TERM QUIT
wait $! || wait $!
"""


def proxy(service: GenerationService, *, cluster_domain: str) -> tuple[Manifest, ...]:
    """ConfigMap, Deployment and Service in apply order; nothing when the proxy is disabled."""
    if not service.spec.proxy.enabled:
        return ()
    config = _config_map(service, cluster_domain)
    return config, _deployment(service, config["metadata"]["name"]), _service(service)


def proxy_config(service: GenerationService, cluster_domain: str) -> ProxyConfig:
    """What the proxy of this service needs to know."""
    name, namespace = service.key.name, service.key.namespace
    return ProxyConfig(
        upstream_host=f"{names.headless(name)}.{namespace}.svc.{cluster_domain}",
        upstream_port=service.spec.port,
        read_timeout_seconds=_read_timeout_seconds(service),
    )


def _read_timeout_seconds(service: GenerationService) -> int:
    # Twice the target: a slow workflow is a missed target, not a failed request. 60 s is nginx's own default.
    return max(60, 2 * service.spec.targets.workflow_duration_seconds)


def _config_map(service: GenerationService, cluster_domain: str) -> Manifest:
    content = render(proxy_config(service, cluster_domain))
    name = names.proxy_config(service.key.name, content)
    return names.child(CONFIG_MAP, service, name, Component.PROXY) | {"immutable": True, "data": {CONFIG_FILE: content}}


def _deployment(service: GenerationService, config_map: str) -> Manifest:
    name = service.key.name
    return names.child(DEPLOYMENT, service, names.proxy(name), Component.PROXY) | {
        "spec": {
            "replicas": service.spec.proxy.replicas,
            "selector": {"matchLabels": names.selector(name, Component.PROXY)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {
                "metadata": {"labels": names.labels(name, Component.PROXY)},
                "spec": _pod(service, config_map),
            },
        }
    }


def _pod(service: GenerationService, config_map: str) -> dict[str, Any]:
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": _read_timeout_seconds(service) + PRE_STOP_SECONDS + DRAIN_MARGIN_SECONDS,
        "securityContext": pod_security_context() | {"runAsUser": _USER, "runAsGroup": _USER},
        "topologySpreadConstraints": topology_spread(service.key.name, Component.PROXY),
        "containers": [
            {
                "name": names.PROXY_CONTAINER,
                "image": service.spec.proxy.image,
                "imagePullPolicy": "IfNotPresent",
                "command": ["sh", "-c", _START],
                "ports": [{"name": names.PORT, "containerPort": names.PROXY_PORT, "protocol": "TCP"}],
                # No CPU limit: a burst should not be throttled in front of pods that could take it.
                "resources": {"requests": {"cpu": "50m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}},
                "livenessProbe": probe(HEALTH_PATH, period=10, failures=3, timeout=5),
                "readinessProbe": probe(HEALTH_PATH, period=2, failures=2, timeout=2),
                # New connections go elsewhere before nginx stops to accept them.
                "lifecycle": {"preStop": {"sleep": {"seconds": PRE_STOP_SECONDS}}},
                "securityContext": container_security_context(),
                "volumeMounts": [
                    {"name": "config", "mountPath": CONFIG_FOLDER, "readOnly": True},
                    {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - an emptyDir of this pod
                ],
            }
        ],
        "volumes": [{"name": "config", "configMap": {"name": config_map}}, {"name": "tmp", "emptyDir": {}}],
    }


def _service(service: GenerationService) -> Manifest:
    name = service.key.name
    return names.child(SERVICE, service, names.proxy(name), Component.PROXY) | {
        "spec": {
            "type": "ClusterIP",
            "selector": names.selector(name, Component.PROXY),
            "ports": [
                {
                    "name": names.PORT,
                    "port": names.PROXY_SERVICE_PORT,
                    "targetPort": names.PORT,
                    "protocol": "TCP",
                }
            ],
        }
    }

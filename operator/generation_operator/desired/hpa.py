"""The HorizontalPodAutoscaler beside the operator: a guard that may raise the replica count and never lower it.

The guard works while the operator is down. Because only the operator lowers, the two can never pull against each other.
"""

from typing import Any

from generation_operator.api.kinds import DEPLOYMENT, HPA, Manifest
from generation_operator.api.resource import GenerationService
from generation_operator.api.spec import Mode
from generation_operator.desired import names
from generation_operator.desired.names import Component


def hpa(service: GenerationService) -> Manifest | None:
    """The guard; None in mode Recommend, in which nothing may write replicas."""
    if service.mode is Mode.RECOMMEND:
        return None
    scaling = service.spec.scaling
    return names.child(HPA, service, names.hpa(service.key.name), Component.SERVICE) | {
        "spec": {
            "scaleTargetRef": {
                "apiVersion": DEPLOYMENT.api_version,
                "kind": DEPLOYMENT.kind,
                "name": names.deployment(service.key.name),
            },
            "minReplicas": scaling.min_replicas,
            "maxReplicas": scaling.max_replicas,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {
                        "name": "cpu",
                        "target": {
                            "type": "Utilization",
                            "averageUtilization": scaling.horizontal_pod_autoscaler.cpu_percent,
                        },
                    },
                }
            ],
            "behavior": _behavior(service.mode),
        }
    }


def _behavior(mode: Mode) -> dict[str, Any]:
    """All of it is said, also what the API server would fill in, so that all of it is ours.

    Scaling up follows the performance guide: within 60 s of seeing the need, at most doubling per 30 s or four pods per
    60 s, whichever is more.
    """
    return {
        "scaleUp": {
            "stabilizationWindowSeconds": 60,
            "selectPolicy": "Disabled" if mode is Mode.PAUSED else "Max",
            "policies": [
                {"type": "Percent", "value": 100, "periodSeconds": 30},
                {"type": "Pods", "value": 4, "periodSeconds": 60},
            ],
        },
        "scaleDown": {
            "selectPolicy": "Disabled",
            # The API server's default. Without effect while disabled; said because it would appear anyway.
            "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
        },
    }

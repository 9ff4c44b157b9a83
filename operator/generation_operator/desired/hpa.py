"""The HorizontalPodAutoscaler beside the operator: a guard that may raise the replica count and never lower it.

The guard works while the operator is down. Because only the operator lowers, the two can never pull against each other.
"""

from typing import Any, Final

from generation_operator.api.kinds import DEPLOYMENT, HPA, Manifest
from generation_operator.api.quantity import parse_quantity
from generation_operator.api.resource import GenerationService
from generation_operator.api.spec import GenerationServiceSpec, Mode, Policy
from generation_operator.desired import names
from generation_operator.desired.names import Component

# The performance guide's number, in % of the request.
_WITH_SCORE: Final = 70
# In % of the limit. The policy Targets fills replicas on purpose; a guard at 80 % cost 20 to 40 % more on smooth
# traffic where slots were the limit and not CPU. Beyond 90 % the kernel throttles, and that the guard is for.
_WITH_TARGETS: Final = 90


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
                            "averageUtilization": cpu_percent(service.spec),
                        },
                    },
                }
            ],
            "behavior": _behavior(service.mode),
        }
    }


def cpu_percent(spec: GenerationServiceSpec) -> int:
    """CPU use, in % of the request, above which the guard raises."""
    chosen = spec.scaling.horizontal_pod_autoscaler.cpu_percent
    if chosen is not None:
        return chosen
    if spec.scaling.policy is Policy.SCORE:
        return _WITH_SCORE
    request, limit = parse_quantity(spec.resources.requests.cpu), parse_quantity(spec.resources.limits.cpu)
    if request <= 0:
        return _WITH_TARGETS  # of nothing: the HPA finds no utilisation then, whatever is asked for
    return min(max(_WITH_TARGETS, int(_WITH_TARGETS * limit / request)), 2**31 - 1)


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

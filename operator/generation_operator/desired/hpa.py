"""The HorizontalPodAutoscaler of the service.

With engine Direct it is a guard that may raise the replica count and never lower it: it works while the operator is
down, and because only the operator lowers, the two can never pull against each other. With engine Floor it is the only
one that writes, in both directions, within bounds that `floor.py` says.
"""

from typing import Any, Final

from generation_operator.api.kinds import DEPLOYMENT, HPA, Manifest
from generation_operator.api.quantity import parse_quantity
from generation_operator.api.resource import GenerationService
from generation_operator.api.spec import Engine, GenerationServiceSpec, Mode, Policy, Scaling
from generation_operator.desired import names
from generation_operator.desired.names import Component

# The performance guide's number, in % of the request.
_WITH_SCORE: Final = 70
# In % of the limit. The policy Targets fills replicas on purpose; a guard at 80 % cost 20 to 40 % more on smooth
# traffic where slots were the limit and not CPU. Beyond 90 % the kernel throttles, and that the guard is for.
_WITH_TARGETS: Final = 90


def hpa(service: GenerationService) -> Manifest | None:
    """The HPA, with engine Floor without bounds; None in mode Recommend, in which nothing may write replicas."""
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
            **({} if scaling.engine is Engine.FLOOR else _own_bounds(scaling)),
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
            "behavior": _behavior(service.mode, scaling.engine),
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


def _own_bounds(scaling: Scaling) -> dict[str, int]:
    return {"minReplicas": scaling.min_replicas, "maxReplicas": scaling.max_replicas}


def _behavior(mode: Mode, engine: Engine) -> dict[str, Any]:
    """All of it is said, also what the API server would fill in, so that all of it is ours.

    Scaling up follows the performance guide: within 60 s of seeing the need, at most doubling per 30 s or four pods per
    60 s, whichever is more. Scaling down, which engine Floor alone leaves to the HPA, has no window of its own in the
    manifest: the controller's applies, 300 s unless the cluster says otherwise, which is the guide's number too.
    """
    lowers = engine is Engine.FLOOR and mode is not Mode.PAUSED
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
            "selectPolicy": "Max" if lowers else "Disabled",
            # The API server's default. Without effect while disabled; said because it would appear anyway.
            "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
        },
    }

"""The HorizontalPodAutoscaler of the service.

With engine Direct it is a guard that may raise the replica count and never lower it: it works while the operator is
down, and because only the operator lowers, the two can never pull against each other. With engine Floor it is the only
one that writes, in both directions, within bounds that `floor.py` says.
"""

from typing import Any, Final

from generation_operator.api.kinds import DEPLOYMENT, HPA, Manifest
from generation_operator.api.model import as_said
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


def hpa(service: GenerationService, *, custom_metrics: bool = True) -> Manifest | None:
    """The HPA, with engine Floor without bounds; None in mode Recommend, in which nothing may write replicas.

    Args:
        service: the parsed resource.
        custom_metrics: whether the cluster has a custom metrics API. A metric that cannot be had keeps the HPA from
            lowering, so it is left out.
    """
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
            "metrics": _metrics(service.spec, custom_metrics=custom_metrics),
            "behavior": _behavior(service.mode, scaling),
        }
    }


def _metrics(spec: GenerationServiceSpec, *, custom_metrics: bool) -> list[dict[str, Any]]:
    """What the HPA watches; the most demanding one counts."""
    guard = spec.scaling.horizontal_pod_autoscaler
    metrics = [_resource("cpu", cpu_percent(spec))]
    if guard.memory_percent is not None:
        metrics.append(_resource("memory", guard.memory_percent))
    if guard.requests_per_second is not None and custom_metrics:
        target = {"type": "AverageValue", "averageValue": str(guard.requests_per_second)}
        metrics.append({"type": "Pods", "pods": {"metric": {"name": guard.requests_metric}, "target": target}})
    return metrics


def _resource(name: str, percent: int) -> dict[str, Any]:
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": name, "target": target}}


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


def _behavior(mode: Mode, scaling: Scaling) -> dict[str, Any]:
    """All of it is said, also what the API server would fill in, so that all of it is ours.

    The window for scaling down alone may be left to the controller, whose own is 300 s unless the cluster says
    otherwise, which is the guide's number too.
    """
    said = scaling.horizontal_pod_autoscaler.behavior
    lowers = scaling.engine is Engine.FLOOR and mode is not Mode.PAUSED
    up, down = as_said(said.scale_up), as_said(said.scale_down)
    if mode is Mode.PAUSED:
        up["selectPolicy"] = "Disabled"
    if not lowers:
        down["selectPolicy"] = "Disabled"
    return {"scaleUp": up, "scaleDown": down}

"""What the HorizontalPodAutoscaler beside us needs, and that no scale-down goes below it.

The HPA may only raise. If the operator lowered below the HPA's need, the HPA would raise again at its next sync, and
the two would pull in opposite directions. So the operator computes the same need from the same metrics with the
HPA's own arithmetic. The guard never raises by itself: that is the HPA's part.
"""

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple

from generation_operator.api.quantity import parse_quantity
from generation_operator.decide.draft import Draft
from generation_operator.decide.types import Guard, Reason, Replicas, Stage

# The controller's reason when somebody has set the count to 0: it leaves that alone until somebody else raises it.
SWITCHED_OFF: Final = "ScalingDisabled"


class _Use(NamedTuple):
    """What one metric of the HPA says: a mean over the ready pods, and what it should be."""

    name: str
    current: Decimal
    target: Decimal

    def need(self, ready: int) -> int:
        """The replicas that would bring the mean to its target."""
        # 10 %: the HPA's default tolerance, within which it leaves the count alone. Without rounding, so that 77 of 70
        # is exactly the edge.
        if 9 * self.target <= 10 * self.current <= 11 * self.target:
            return ready
        return math.ceil(ready * self.current / self.target)


def guard_need(hpa_manifest: Mapping[str, Any] | None, ready: int) -> Guard:
    """The replicas that the HPA's metrics call for, as its controller computes them: the most demanding one counts.

    Args:
        hpa_manifest: the HPA as last seen, None when there is none.
        ready: replicas that are ready; the HPA's averages are theirs.

    The averages were taken at the HPA's last sync, when there may have been more replicas. With the fewer of now they
    would say less than there is to do, and the HPA would raise again what was lowered by that; so the larger count is
    taken.
    """
    manifest = hpa_manifest or {}
    inactive = [
        condition.get("reason")
        for condition in _dicts(manifest, "status", "conditions")
        if condition.get("type") == "ScalingActive" and condition.get("status") == "False"
    ]
    uses = [] if inactive else _uses(manifest)
    if not uses:
        return Guard(None, SWITCHED_OFF if SWITCHED_OFF in inactive else "NoMetrics")
    if ready <= 0:
        return Guard(None, "NoReadyPods")
    seen = (manifest.get("status") or {}).get("currentReplicas")
    ready = max(ready, seen if isinstance(seen, int) else 0)
    need, name = max(((use.need(ready), use.name) for use in uses), key=lambda found: found[0])
    return Guard(Replicas(need), name)


def guarded(draft: Draft, guard: Guard) -> Draft:
    """Let a scale-down go no further than the guard's need."""
    if guard.replicas is None:
        return draft.passed(Stage.GUARD, f"need unknown: {guard.reason}")
    need = f"the HorizontalPodAutoscaler needs {guard.replicas} ({guard.reason})"
    if not draft.lowers or draft.desired >= guard.replicas:
        return draft.passed(Stage.GUARD, need)
    to = min(guard.replicas, draft.current)
    return draft.held_by(Stage.GUARD, to, Reason.GUARD_NEED, f"Held at {to}, {need}: {draft.message}")


def _dicts(manifest: Mapping[str, Any], section: str, field: str) -> list[dict[str, Any]]:
    """A list of objects in the manifest; what is absent or not an object is left out."""
    values = (manifest.get(section) or {}).get(field) or []
    return [value for value in values if isinstance(value, dict)]


def _uses(manifest: Mapping[str, Any]) -> list[_Use]:
    """The metrics that have both a current value and a target."""
    targets = {name: value for name, value in map(_target, _dicts(manifest, "spec", "metrics")) if value}
    current = dict(map(_current, _dicts(manifest, "status", "currentMetrics")))
    return [
        _Use(name, value, targets[name]) for name, value in current.items() if value is not None and name in targets
    ]


def _target(metric: Mapping[str, Any]) -> tuple[str, Decimal | None]:
    return _value(metric, "target")


def _current(metric: Mapping[str, Any]) -> tuple[str, Decimal | None]:
    return _value(metric, "current")


def _value(metric: Mapping[str, Any], side: str) -> tuple[str, Decimal | None]:
    """What a metric is called here, and its mean: in % of the request, or in its own unit. None when there is none."""
    resource, pods = metric.get("resource") or {}, metric.get("pods") or {}
    if metric.get("type") == "Resource":
        value = (resource.get(side) or {}).get("averageUtilization")
        name = f"{str(resource.get('name')).capitalize()}Utilization"
        return name, Decimal(value) if isinstance(value, int) else None
    if metric.get("type") == "Pods":
        return "RequestsPerSecond", _quantity((pods.get(side) or {}).get("averageValue"))
    return "", None


def _quantity(text: object) -> Decimal | None:
    try:
        return parse_quantity(str(text))
    except ValueError:
        return None

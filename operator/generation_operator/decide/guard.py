"""What the HorizontalPodAutoscaler beside us needs, and that no scale-down goes below it.

The HPA may only raise. If the operator lowered below the HPA's need, the HPA would raise again at its next sync, and
the two would pull in opposite directions. So the operator computes the same need from the same metric with the HPA's
own arithmetic. The guard never raises by itself: that is the HPA's part.
"""

from collections.abc import Mapping
from typing import Any

from generation_operator.decide.draft import Draft
from generation_operator.decide.types import Guard, Reason, Replicas, Stage


def guard_need(hpa_manifest: Mapping[str, Any] | None, ready: int) -> Guard:
    """The replicas that the HPA's CPU metric calls for, as its controller computes them.

    Args:
        hpa_manifest: the HPA as last seen, None when there is none.
        ready: replicas that are ready; the HPA's average is theirs.

    The average was taken at the HPA's last sync, when there may have been more replicas. With the fewer of now it would
    say less than there is to do, and the HPA would raise again what was lowered by that; so the larger count is taken.
    """
    manifest = hpa_manifest or {}
    active = not any(
        condition.get("type") == "ScalingActive" and condition.get("status") == "False"
        for condition in _dicts(manifest, "status", "conditions")
    )
    current = _utilization(_dicts(manifest, "status", "currentMetrics"), "current")
    target = _utilization(_dicts(manifest, "spec", "metrics"), "target")
    if not active or current is None or not target:
        return Guard(None, "NoMetrics")
    if ready <= 0:
        return Guard(None, "NoReadyPods")
    seen = (manifest.get("status") or {}).get("currentReplicas")
    ready = max(ready, seen if isinstance(seen, int) else 0)
    # 10 %: the HPA's default tolerance, within which it leaves the count alone. In integers, so that 77 of 70 is
    # exactly the edge.
    if 9 * target <= 10 * current <= 11 * target:
        return Guard(Replicas(ready), "CpuUtilization")
    return Guard(Replicas(-(-ready * current // target)), "CpuUtilization")


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


def _utilization(metrics: list[dict[str, Any]], side: str) -> int | None:
    """`averageUtilization` of the CPU metric, in % of the request."""
    for metric in metrics:
        resource = metric.get("resource") or {}
        if metric.get("type") == "Resource" and resource.get("name") == "cpu":
            value = (resource.get(side) or {}).get("averageUtilization")
            return value if isinstance(value, int) else None
    return None

"""The bodies of the guide's endpoints. Pure: figures in, JSON out.

Keys that the guide's validation script reads stay where it expects them, as JSON numbers. What has no samples is null
with its number of samples beside it, never 0: jq's `//` then takes the script's own default.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from generation_service.domain.workflow import Json, JsonObject
from generation_service.performance.activity import (
    RESPONSE_WINDOW_SECONDS,
    WORKFLOW_WINDOW_SECONDS,
    ResponseFigures,
    WorkflowFigures,
)
from generation_service.performance.collector import CacheCounts
from generation_service.performance.optimizer import Entry, RuleStatus
from generation_service.performance.rating import Rating, rate
from generation_service.performance.snapshot import Snapshot
from generation_service.performance.trend import Trend
from generation_service.ports import Backlog


class PoolFigures(Protocol):
    """What is shown of a pool."""

    @property
    def size(self) -> int:
        """Places."""

    @property
    def configured(self) -> int:
        """Places as configured."""

    @property
    def busy(self) -> int:
        """Places taken."""

    @property
    def waiting(self) -> int:
        """Callers in the queue."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How far the collector's figures can be trusted."""

    snapshot: Snapshot | None
    age_seconds: float | None
    fresh: bool
    last_error: str | None


def status(sampling: Sampling) -> JsonObject:
    """`/api/performance/status`: the grade, where it comes from, and the guide's figures."""
    snapshot = sampling.snapshot
    rating = rate(snapshot)
    figures: JsonObject = {}
    if snapshot is not None:
        figures = {
            "cpu_percent": _rounded(snapshot.cpu_percent, 2),
            "memory_mb": _rounded(snapshot.memory_mb, 2),
            "active_connections": snapshot.active_connections,
            "request_rate": _rounded(snapshot.request_rate, 3),
            "response_time_p95": _rounded(snapshot.response_time_p95, 4),
            "cached_response_time_p95": _rounded(snapshot.cached_response_p95, 4),
            "cache_hit_ratio": _rounded(snapshot.cache_hit_ratio, 4),
            "error_rate": _rounded(snapshot.error_rate, 4),
            "success_rate": _rounded(snapshot.success_rate, 4),
        }
    return {**_sampled(sampling), **_rated(rating), "metrics": figures}


def resources(sampling: Sampling, pools: Mapping[str, PoolFigures]) -> JsonObject:
    """`/api/performance/resources`: memory, CPU and pools."""
    snapshot = sampling.snapshot
    memory: JsonObject = {}
    cpu: JsonObject = {}
    if snapshot is not None:
        memory = {
            "process_tree_mb": _rounded(snapshot.memory_mb, 2),
            "process_mb": _rounded(snapshot.process_memory_mb, 2),
            "container_mb": _rounded(snapshot.cgroup_memory_mb, 2),
            "container_limit_mb": _rounded(snapshot.cgroup_limit_mb, 2),
        }
        cpu = {
            "percent": _rounded(snapshot.cpu_percent, 2),
            "process_tree_percent": _rounded(snapshot.tree_cpu_percent, 2),
            "process_percent_of_one_core": _rounded(snapshot.process_cpu_percent, 2),
        }
    places: dict[str, Json] = {
        name: {"size": pool.size, "configured": pool.configured, "busy": pool.busy, "waiting": pool.waiting}
        for name, pool in pools.items()
    }
    return {**_sampled(sampling), "memory": memory, "cpu": cpu, "pools": places}


def load(
    sampling: Sampling, backlog: Backlog, *, in_flight: int, queued: float, arrived: int, connections: int
) -> JsonObject:
    """`/api/performance/load`: what is going on now; only the rate comes from the newest sample."""
    snapshot = sampling.snapshot
    return {
        **_sampled(sampling),
        "active_connections": connections,
        "in_flight": in_flight,
        "queue_length": _rounded(queued, 2),
        "arrived_total": arrived,
        "request_rate": None if snapshot is None else _rounded(snapshot.request_rate, 3),
        "shared_queue": {
            "length": backlog.queued,
            "oldest_seconds": _rounded(backlog.oldest_seconds, 3),
            "replicas": backlog.replicas,
        },
    }


def monitoring(sampling: Sampling, workflows: WorkflowFigures, responses: ResponseFigures) -> JsonObject:
    """`/api/monitoring/metrics`: what the objectives are about, of this moment's windows.

    `workflow_execution_time` is the p95 of the window in seconds, from admission to the end.
    """
    snapshot = sampling.snapshot
    return {
        **_sampled(sampling),
        "metrics": {
            "workflow_execution_time": _rounded(workflows.p95, 4),
            "workflow_execution_time_avg": _rounded(workflows.average, 4),
            "workflow_execution_time_max": _rounded(workflows.maximum, 4),
            "workflow_execution_time_count": workflows.count,
            "workflow_window_seconds": WORKFLOW_WINDOW_SECONDS,
            "success_rate": _rounded(workflows.success_rate, 6),
            "samples": workflows.outcomes,
            "memory_usage_mb": None if snapshot is None else _rounded(snapshot.memory_mb, 2),
            "container_memory_mb": None if snapshot is None else _rounded(snapshot.cgroup_memory_mb, 2),
            "container_memory_limit_mb": None if snapshot is None else _rounded(snapshot.cgroup_limit_mb, 2),
            "response_time_p95": _rounded(responses.p95, 4),
            "response_time_count": responses.count,
            "cached_response_time_p95": _rounded(responses.cached_p95, 4),
            "cached_response_time_count": responses.cached_count,
            "response_window_seconds": RESPONSE_WINDOW_SECONDS,
            "error_rate": _rounded(responses.error_rate, 6),
        },
    }


def cache_status(counts: CacheCounts, details: JsonObject, warmer: JsonObject) -> JsonObject:
    """`/api/cache/status`: ratios since the start; null while nothing was looked up.

    Args:
        counts: lookups and hits.
        details: the cache's own statistics, by level.
        warmer: the warmer's own statistics.
    """
    return {
        "statistics": {
            "hit_ratio": _rounded(counts.hit_ratio, 6),
            "lookups": counts.lookups,
            "hits": counts.l1_hits + counts.l2_hits,
            "misses": counts.lookups - counts.l1_hits - counts.l2_hits,
            "l1": {
                "hit_ratio": _rounded(counts.l1_hit_ratio, 6),
                "lookups": counts.lookups,
                "hits": counts.l1_hits,
                "misses": counts.lookups - counts.l1_hits,
            },
            "l2": {
                "hit_ratio": _rounded(counts.l2_hit_ratio, 6),
                "lookups": counts.l2_lookups,
                "hits": counts.l2_hits,
                "misses": counts.l2_lookups - counts.l2_hits,
            },
        },
        "details": details,
        "warmer": warmer,
    }


def trend_report(found: Trend, rating: Rating) -> JsonObject:
    """`/api/performance/trend`: the guide's keys, and where each figure is going."""
    figures: dict[str, Json] = {
        name: {
            "average": _rounded(movement.average, 4),
            "minimum": _rounded(movement.minimum, 4),
            "maximum": _rounded(movement.maximum, 4),
            "slope_per_minute": _rounded(movement.slope_per_minute, 6),
            "change": _rounded(movement.change, 4),
            "direction": movement.direction.value,
        }
        for name, movement in found.figures.items()
    }
    figures["response_time_p95"] = {
        "p95": _rounded(found.response_time_p95, 4),
        "change": _rounded(found.response_time_change, 4),
        "direction": found.response_time_direction.value,
        "count": found.response_count,
    }
    return {
        "period_minutes": found.period_minutes,
        "snapshot_count": found.snapshot_count,
        "avg_cpu_percent": _rounded(found.figures["cpu_percent"].average, 2),
        "avg_memory_mb": _rounded(found.figures["memory_mb"].average, 2),
        # The guide's name; it is the p95 of the period, not an average of p95s.
        "avg_response_time_p95": _rounded(found.response_time_p95, 3),
        "current_performance_rating": rating.grade.value,
        "figures": figures,
    }


def optimizations(entries: Sequence[Entry], rules: Sequence[RuleStatus], last_error: str | None) -> JsonObject:
    """`/api/performance/optimizations`: what was done, newest first, and how the rules stand."""
    return {
        "optimizations": [
            {
                "id": entry.id,
                "at": entry.at,
                "rule": entry.rule,
                "action": entry.action.value,
                "reason": entry.reason,
                "detail": entry.detail,
                "before": _figures(entry.before),
                "after": None if entry.after is None else _figures(entry.after),
                "reverted_at": entry.reverted_at,
                "outcome": entry.outcome.value,
            }
            for entry in reversed(entries)
        ],
        "rules": [
            {
                "metric": status.rule.figure,
                "condition": "below" if status.rule.below else "above",
                "threshold": status.rule.threshold,
                "fine": status.rule.fine,
                "action": status.rule.action.value,
                "cooldown_seconds": status.rule.cooldown_seconds,
                "state": status.state.value,
                "cooldown_seconds_left": _rounded(status.cooldown_seconds_left, 1),
                "refusal": status.refusal,
            }
            for status in rules
        ],
        "last_error": last_error,
    }


def _sampled(sampling: Sampling) -> JsonObject:
    return {
        "timestamp": None if sampling.snapshot is None else sampling.snapshot.timestamp,
        "age_seconds": _rounded(sampling.age_seconds, 3),
        "stale": not sampling.fresh,
        "last_error": sampling.last_error,
    }


def _rated(rating: Rating) -> JsonObject:
    points: dict[str, Json] = dict(rating.points)
    return {
        "performance_rating": rating.grade.value,
        "score": rating.score,
        "scores": points,
        "capped_by_errors": rating.capped,
    }


def _figures(figures: Mapping[str, float | None]) -> dict[str, Json]:
    return {name: _rounded(value, 4) for name, value in figures.items()}


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)

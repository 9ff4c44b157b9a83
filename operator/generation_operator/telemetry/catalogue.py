"""The operator's own metrics in one table: the collectors are made from it, and `docs/operator-metrics.md` is too.

Every label has a bounded set of values; no metric has one series per service, because a cluster may have thousands.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

PREFIX: Final = "generation_operator_"

# Seconds. A tick of a few services takes milliseconds, one of thousands a second.
_TICK: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_REQUEST: Final = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Kind(StrEnum):
    """Prometheus' types."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """One metric; `labels` tells the values of each label in words."""

    name: str  # without the prefix, as queried
    kind: Kind
    help: str
    use: str
    labels: Mapping[str, str] = field(default_factory=dict)
    buckets: tuple[float, ...] = ()


LEADER: Final = MetricSpec(
    "leader",
    Kind.GAUGE,
    "1 while this process leads, else 0.",
    "Alert when the sum over all replicas is not 1 for 30 s.",
)
TICK: Final = MetricSpec(
    "tick_duration_seconds",
    Kind.HISTOGRAM,
    "Time that a part of a tick took, all services together.",
    "`observe` waits for Prometheus and pods, `actuate` for the API server; `decide` is our own CPU.",
    {"phase": "observe, decide, actuate, publish"},
    _TICK,
)
DECISIONS: Final = MetricSpec(
    "decisions_total",
    Kind.COUNTER,
    "Decisions by what they came to.",
    "What holds services back, over the whole cluster: `MissingMetrics`, `AtMaximum`, `BudgetExhausted`.",
    {"reason": "as in `status.autoscaling.lastDecision.reason`", "binder": "the stage that set the count"},
)
STEPS: Final = MetricSpec(
    "steps_total", Kind.COUNTER, "Steps that were written.", "How restless the services are.", {"direction": "up, down"}
)
SIGNALS: Final = MetricSpec(
    "signals",
    Kind.GAUGE,
    "Services whose signal was in this state when they were last decided on.",
    "`Stale` and `Missing` of a signal that the policy needs hold replicas.",
    {"signal": "as in `status.autoscaling.lastDecision.signals`", "state": "Fresh, Stale, Missing, NoTraffic"},
)
RECONCILES: Final = MetricSpec(
    "reconcile_duration_seconds",
    Kind.HISTOGRAM,
    "Time that one reconcile of one service took.",
    "`error` comes back with a delay that doubles; the log says why.",
    {"outcome": "success, error"},
    _REQUEST,
)
QUEUE_DEPTH: Final = MetricSpec(
    "queue_depth", Kind.GAUGE, "Services that wait for a reconcile.", "Grows when the API server is slow."
)
QUEUE_RETRIES: Final = MetricSpec(
    "queue_failing", Kind.GAUGE, "Services whose last reconcile failed.", "Alert when it stays above 0."
)
REQUESTS: Final = MetricSpec(
    "api_request_duration_seconds",
    Kind.HISTOGRAM,
    "Time that one request to the API server took, each try by itself; watches are not counted.",
    "Writes are PATCH, POST and DELETE: none when nothing changes.",
    {
        "method": "GET, PATCH, POST, DELETE",
        "resource": "as in the API, for example deployments",
        "code": "HTTP status; 0 without an answer",
    },
    _REQUEST,
)

METRICS: Final = (LEADER, TICK, DECISIONS, STEPS, SIGNALS, RECONCILES, QUEUE_DEPTH, QUEUE_RETRIES, REQUESTS)

"""All metrics in one table: the collectors are made from it, and `docs/metrics.md` is too, so neither can lag behind.

Names and buckets of the first group are a contract with whoever scales the service. Every label has a bounded set of
values. There is no label for the owner: `namespace`, `pod` and `generationservice` are added when a pod is scraped.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from generation_service.domain.workflow import Outcome, Status
from generation_service.performance.rules import ActionName
from generation_service.ports import CacheStatus

# Seconds. Fine around 0.2 and 1 (the thresholds of the score policy) and up to the 30 s of the workflow target.
DURATION_BUCKETS: Final = (
    0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1, 1.5, 2, 3, 5, 7.5, 10, 15, 20, 25, 30, 45, 60,
)  # fmt: skip
# Seconds. Fine around the 0.1 s of the objective for cached answers.
RESPONSE_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10, 30)
# Seconds. Coarse: a histogram for each type of step.
STEP_BUCKETS: Final = (0.01, 0.05, 0.25, 1, 2.5, 5, 10, 20, 30, 60)

OTHER: Final = "other"  # for whatever is not in a label's set


class Kind(StrEnum):
    """Prometheus' types."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    SUMMARY = "summary"  # sum and count
    INFO = "info"


class Origin(StrEnum):
    """Who writes it."""

    COUNTED = "counted"  # by an observer, when it happens
    READ = "read"  # from its owner, at each scrape


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSpec:
    """One metric."""

    name: str  # as queried, so counters end with _total
    kind: Kind
    unit: str
    help: str
    use: str  # what to look at it for
    labels: Mapping[str, str]  # name: its values, in words
    origin: Origin
    buckets: tuple[float, ...] = ()


CACHE_STATUSES: Final = tuple(status.value for status in CacheStatus)
OUTCOMES: Final = tuple(outcome.value for outcome in Outcome)
ENDED: Final = tuple(status.value for status in Status if status.terminal)
STATUS_CLASSES: Final = ("2xx", "3xx", "4xx", "5xx")
ACTIONS: Final = tuple(name.value for name in ActionName)
ACTION_RESULTS: Final = ("done", "failed")
LEVELS: Final = ("l1", "l2")

_POOLS: Final = {"pool": "a pool of the service"}
_STATEMENTS: Final = {"statement": "the name of an SQL statement of the service"}
_LEVEL: Final = {"level": _levels if (_levels := ", ".join(LEVELS)) else ""}


def _spec(
    kind: Kind, name: str, unit: str, text: str, use: str, *,
    origin: Origin = Origin.READ, labels: Mapping[str, str] | None = None, buckets: tuple[float, ...] = (),
) -> MetricSpec:  # fmt: skip
    return MetricSpec(
        name=f"generation_service_{name}", kind=kind, unit=unit, help=text, use=use, labels=labels or {},
        origin=origin, buckets=buckets,
    )  # fmt: skip

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


_POOL: Final = {"pool": "a pool of the service"}
_STATEMENT: Final = {"statement": "the name of an SQL statement of the service"}
_QUANTILES: Final = _STATEMENT | {"quantile": "0.5, 0.95, 0.99"}
_LEVEL: Final = {"level": ", ".join(LEVELS)}


def _counted(
    kind: Kind,
    name: str,
    unit: str,
    about: tuple[str, str],
    labels: Mapping[str, str] | None = None,
    *,
    buckets: tuple[float, ...] = (),
) -> MetricSpec:
    return _spec(Origin.COUNTED, kind, name, unit, about, labels=labels, buckets=buckets)


def _read(
    kind: Kind, name: str, unit: str, about: tuple[str, str], labels: Mapping[str, str] | None = None
) -> MetricSpec:
    return _spec(Origin.READ, kind, name, unit, about, labels=labels, buckets=())


def _spec(
    origin: Origin,
    kind: Kind,
    name: str,
    unit: str,
    about: tuple[str, str],
    *,
    labels: Mapping[str, str] | None,
    buckets: tuple[float, ...],
) -> MetricSpec:
    text, use = about
    return MetricSpec(
        name=f"generation_service_{name}", kind=kind, unit=unit, help=text, use=use, labels=labels or {},
        origin=origin, buckets=buckets,
    )  # fmt: skip


# Each row: kind, name without prefix, unit, (help, what to use it for), labels. Lines of a table, hence not wrapped.
METRICS: Final[tuple[MetricSpec, ...]] = (
    _counted(
        Kind.INFO, "info", "",
        ("Which service this process belongs to.",
         "Joins all other metrics of a pod with its service."),
        {"service": "the name of the service"},
    ),
    _counted(
        Kind.HISTOGRAM, "request_duration_seconds", "seconds",
        ("Time from arrival to end of workflows and chat completions; rejected ones took none.",
         "Response time of the autoscaler; share of work within a target."),
        buckets=DURATION_BUCKETS,
    ),
    _counted(
        Kind.COUNTER, "requests_total", "requests",
        ("Workflows and chat completions that ended; rejected ones are errors, invalid ones do not count.",
         "Request rate, error ratio, burn rate of an error budget."),
        {"outcome": ", ".join(OUTCOMES)},
    ),
    _counted(
        Kind.COUNTER, "workflows_arrived_total", "requests",
        ("Work that asked for admission, rejected work included.",
         "Demand: the arrival rate, also while the service cannot keep up."),
    ),
    _counted(
        Kind.SUMMARY, "workflow_service_seconds", "seconds",
        ("Time that work kept its slot, waiting excluded.",
         "Capacity: arrival rate times mean gives the slots that are needed."),
    ),
    _counted(
        Kind.COUNTER, "workflows_total", "workflows",
        ("Workflows that ended, by how.",
         "Failures apart from cancellations."),
        {"status": ", ".join(ENDED)},
    ),
    _counted(
        Kind.HISTOGRAM, "step_duration_seconds", "seconds",
        ("Time that one run of a step took.",
         "Which kind of step is slow."),
        {"type": "a registered type of step, other"}, buckets=STEP_BUCKETS,
    ),
    _counted(
        Kind.COUNTER, "steps_total", "steps",
        ("Runs of steps that ended.",
         "Which kind of step fails."),
        {"type": "a registered type of step, other", "outcome": ", ".join(OUTCOMES)},
    ),
    _counted(
        Kind.COUNTER, "http_responses_total", "responses",
        ("HTTP answers; a client that left before its answer counts as 4xx.",
         "Errors by endpoint."),
        {"route": "a path template of the API, other", "status_class": ", ".join(STATUS_CLASSES)},
    ),
    _counted(
        Kind.HISTOGRAM, "http_response_seconds", "seconds",
        ("Time to answer requests to the API; streams and waits that were asked for are left out.",
         "Response time of the API itself."),
        buckets=RESPONSE_BUCKETS,
    ),
    _counted(
        Kind.HISTOGRAM, "cached_response_seconds", "seconds",
        ("Time to answer requests from the cache.",
         "Objective: p95 below 0.1 s."),
        _LEVEL, buckets=RESPONSE_BUCKETS,
    ),
    _counted(
        Kind.COUNTER, "cache_responses_total", "responses",
        ("Answers by where they came from, as in the header X-Cache.",
         "Hit ratio as clients see it."),
        {"status": ", ".join(CACHE_STATUSES)},
    ),
    _counted(
        Kind.COUNTER, "generator_retries_total", "requests",
        ("Requests to the generator that were repeated.",
         "A generator in trouble, before requests fail."),
    ),
    _counted(
        Kind.COUNTER, "optimizer_actions_total", "actions",
        ("What the optimizer did.",
         "How often the service had to help itself."),
        {"action": ", ".join(ACTIONS), "result": ", ".join(ACTION_RESULTS)},
    ),
    _counted(
        Kind.COUNTER, "scrape_errors_total", "errors",
        ("Metrics that their owner could not tell at a scrape; they are missing from it.",
         "A defect of the service."),
    ),
    _read(
        Kind.GAUGE, "queue_length", "requests",
        ("Work that waits for a slot of this replica: its own, and its share of what waits in the store.",
         "Backlog of the autoscaler; the sum over pods is the whole."),
    ),
    _read(
        Kind.GAUGE, "requests_in_flight", "requests",
        ("Work in a slot of this replica.",
         "Use of the capacity."),
    ),
    _read(
        Kind.GAUGE, "shared_queue_length", "workflows",
        ("Workflows that wait in the store, for all replicas together.",
         "Backlog; the same in every pod: take the maximum, not the sum."),
    ),
    _read(
        Kind.GAUGE, "shared_queue_oldest_seconds", "seconds",
        ("Age of the workflow that waits longest.",
         "Whether anything is stuck, whatever the length."),
    ),
    _read(
        Kind.GAUGE, "replicas", "replicas",
        ("Replicas that share the store and are alive.",
         "Replicas that run but do no work."),
    ),
    _read(
        Kind.GAUGE, "pool_size", "places",
        ("Places in a pool.",
         "Shows what the optimizer took away."),
        _POOL,
    ),
    _read(
        Kind.GAUGE, "pool_busy", "places",
        ("Places taken.",
         "Which pool is the bottleneck."),
        _POOL,
    ),
    _read(
        Kind.GAUGE, "pool_waiting", "callers",
        ("Callers that wait for a place.",
         "Which pool is the bottleneck."),
        _POOL,
    ),
    _read(
        Kind.GAUGE, "breaker_state", "",
        ("0 closed (all is well), 1 half open (trying), 2 open (nothing is sent).",
         "Which dependency is down."),
        {"breaker": "generator, redis"},
    ),
    _read(
        Kind.COUNTER, "cache_lookups_total", "lookups",
        ("Lookups at a level; L2 is asked for what L1 does not have.",
         "Hit ratio by level."),
        _LEVEL,
    ),
    _read(
        Kind.COUNTER, "cache_hits_total", "lookups",
        ("Lookups that a level could answer.",
         "Hit ratio by level."),
        _LEVEL,
    ),
    _read(
        Kind.GAUGE, "cache_entries", "entries",
        ("Answers in L1.",
         "Whether L1 is full."),
    ),
    _read(
        Kind.GAUGE, "cache_bytes", "bytes",
        ("Size of the answers in L1.",
         "Memory; shows what the optimizer took away."),
    ),
    _read(
        Kind.COUNTER, "cache_evictions_total", "entries",
        ("Answers dropped from L1 to make room.",
         "Whether L1 is too small."),
    ),
    _read(
        Kind.COUNTER, "cache_errors_total", "errors",
        ("Requests to Redis that failed or were too slow.",
         "Redis in trouble; requests go on without it."),
    ),
    _read(
        Kind.COUNTER, "cache_coalesced_total", "lookups",
        ("Lookups that waited for a load under way instead of starting another.",
         "What single-flight saves."),
    ),
    _read(
        Kind.COUNTER, "warmer_loaded_total", "answers",
        ("Answers loaded ahead of time.",
         "Cost of warming."),
    ),
    _read(
        Kind.COUNTER, "warmer_used_total", "answers",
        ("Of those, the ones that were asked for later.",
         "Use of warming; the warmer stops when it is low."),
    ),
    _read(
        Kind.COUNTER, "queries_total", "statements",
        ("SQL statements executed.",
         "Load on the database."),
        _STATEMENT,
    ),
    _read(
        Kind.COUNTER, "query_errors_total", "statements",
        ("SQL statements that failed.",
         "Trouble with the database."),
        _STATEMENT,
    ),
    _read(
        Kind.GAUGE, "query_seconds", "seconds",
        ("Quantiles of the time that a statement runs, since the start.",
         "A slow statement."),
        _QUANTILES,
    ),
    _read(
        Kind.GAUGE, "query_wait_seconds", "seconds",
        ("Quantiles of the time that a statement waits for a connection, since the start.",
         "A connection pool that is too small."),
        _QUANTILES,
    ),
    _read(
        Kind.GAUGE, "process_tree_resident_memory_bytes", "bytes",
        ("Resident memory of this process and its children; shared pages count for each.",
         "Objective: below 2 GB; includes embedded servers."),
    ),
    _read(
        Kind.GAUGE, "cgroup_memory_bytes", "bytes",
        ("Memory that the container uses; NaN outside of one.",
         "Distance to the limit at which the kernel kills."),
    ),
    _read(
        Kind.GAUGE, "cgroup_memory_limit_bytes", "bytes",
        ("Memory that the container may use; NaN without a limit.",
         "Distance to the limit at which the kernel kills."),
    ),
    _read(
        Kind.GAUGE, "cpu_percent", "percent",
        ("CPU used, of the container's quota or of the cores that may be used; NaN when not known.",
         "Saturation; compare with the load before adding replicas."),
    ),
    _read(
        Kind.GAUGE, "snapshot_age_seconds", "seconds",
        ("Age of the newest sample of the collector; NaN before the first.",
         "Whether reports and optimizer see anything."),
    ),
)  # fmt: skip

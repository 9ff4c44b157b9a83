"""How the service was doing at one moment. A value without samples is None; nothing here or later reads it as 0."""

from dataclasses import dataclass, field

from generation_service.performance.histogram import Histogram

MEGABYTE = 1024 * 1024  # bytes, as the guide counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One sample of everything. Shares are 0..1, percentages 0..100, times seconds, memory MB of 2**20 bytes."""

    at: float  # on the monotonic clock; only differences mean anything
    timestamp: float  # seconds since the epoch, for people
    cpu_percent: float | None  # of what we may use: the container's over its quota, else the process tree's over cores
    tree_cpu_percent: float | None  # the process tree's own part of that
    process_cpu_percent: float | None  # this process, of one core; its event loop cannot use more than 100
    memory_mb: float  # resident, process tree
    process_memory_mb: float  # resident, this process alone
    cgroup_memory_mb: float | None
    cgroup_limit_mb: float | None
    active_connections: int
    in_flight: int
    queue_length: float  # of this replica: its share of what waits for all
    request_rate: float | None  # API requests per second since the sample before
    response_time_p95: float | None  # API answers, last minute
    response_count: int
    cached_response_p95: float | None
    error_rate: float | None  # API answers with 5xx, last minute
    cache_lookups: int  # last minute
    cache_hit_ratio: float | None
    l1_hit_ratio: float | None
    l2_hit_ratio: float | None  # of what L1 did not have
    workflow_p95: float | None  # last five minutes, as all about workflows
    workflow_average: float | None
    workflow_maximum: float | None
    workflow_count: int
    outcome_count: int  # rejected ones included
    success_rate: float | None
    responses: Histogram = field(repr=False, compare=False)  # response times since the sample before; not to be changed

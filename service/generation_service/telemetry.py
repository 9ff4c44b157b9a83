"""Tell the metrics where each figure that is read at a scrape comes from.

Read in the scraping thread, so every reader only looks at what its owner keeps anyway.
"""

from collections.abc import Callable, Mapping

from generation_service.adapters.cache.statistics import CacheStatistics
from generation_service.adapters.cache.warming import SmartWarmer
from generation_service.adapters.postgres.monitor import Report
from generation_service.backends import Backends
from generation_service.engine.admission import Admission
from generation_service.engine.pools import Pool
from generation_service.performance.collector import CacheCounts, Collector
from generation_service.performance.metrics import Metrics
from generation_service.performance.snapshot import MEGABYTE, Snapshot

Row = tuple[str, ...]


def watch_engine(metrics: Metrics, admission: Admission, pools: Mapping[str, Pool]) -> None:
    """Queues, slots and pools."""
    metrics.watch("generation_service_queue_length", lambda: admission.queue_length)
    metrics.watch("generation_service_requests_in_flight", lambda: admission.in_flight)
    metrics.watch("generation_service_shared_queue_length", lambda: admission.backlog.queued)
    metrics.watch("generation_service_shared_queue_oldest_seconds", lambda: admission.backlog.oldest_seconds)
    metrics.watch("generation_service_replicas", lambda: admission.backlog.replicas)
    metrics.watch("generation_service_pool_size", lambda: {(name,): pool.size for name, pool in pools.items()})
    metrics.watch("generation_service_pool_busy", lambda: {(name,): pool.busy for name, pool in pools.items()})
    metrics.watch("generation_service_pool_waiting", lambda: {(name,): pool.waiting for name, pool in pools.items()})


def watch_backends(metrics: Metrics, backends: Backends, warmer: SmartWarmer) -> None:
    """Cache, generator and database."""
    cache = backends.cache

    def levels(l1: Callable[[CacheStatistics], int], l2: Callable[[CacheStatistics], int]) -> Mapping[Row, float]:
        statistics = cache.statistics()
        return {("l1",): l1(statistics), ("l2",): l2(statistics)}

    def breakers() -> Mapping[Row, float]:
        level = cache.statistics().l2
        redis = 0.0 if level is None or level.available else 2.0
        return {("generator",): float(backends.generator.breaker_state), ("redis",): redis}

    metrics.watch("generation_service_breaker_state", breakers)
    metrics.watch(
        "generation_service_cache_lookups_total",
        lambda: levels(lambda s: s.l1.hits + s.l1.misses, lambda s: s.l2.hits + s.l2.misses if s.l2 else 0),
    )
    metrics.watch(
        "generation_service_cache_hits_total", lambda: levels(lambda s: s.l1.hits, lambda s: s.l2.hits if s.l2 else 0)
    )
    metrics.watch("generation_service_cache_entries", lambda: cache.statistics().l1.entries)
    metrics.watch("generation_service_cache_bytes", lambda: cache.statistics().l1.bytes)
    metrics.watch("generation_service_cache_evictions_total", lambda: cache.statistics().l1.evictions)
    metrics.watch("generation_service_cache_coalesced_total", lambda: cache.statistics().coalesced)
    metrics.watch("generation_service_cache_errors_total", lambda: _errors(cache.statistics()))
    metrics.watch("generation_service_warmer_loaded_total", lambda: warmer.statistics().warmed)
    metrics.watch("generation_service_warmer_used_total", lambda: warmer.statistics().used)
    metrics.watch("generation_service_queries_total", lambda: _statements(backends, "count"))
    metrics.watch("generation_service_query_errors_total", lambda: _statements(backends, "errors"))
    metrics.watch("generation_service_query_seconds", lambda: _quantiles(backends, "execution"))
    metrics.watch("generation_service_query_wait_seconds", lambda: _quantiles(backends, "wait"))


def watch_collector(metrics: Metrics, collector: Collector) -> None:
    """What the newest sample says about memory and processors."""

    def sampled(read: Callable[[Snapshot], float | None]) -> Callable[[], float | None]:
        return lambda: None if collector.latest is None else read(collector.latest)

    metrics.watch(
        "generation_service_process_tree_resident_memory_bytes", sampled(lambda found: found.memory_mb * MEGABYTE)
    )
    metrics.watch("generation_service_cgroup_memory_bytes", sampled(lambda found: _bytes(found.cgroup_memory_mb)))
    metrics.watch("generation_service_cgroup_memory_limit_bytes", sampled(lambda found: _bytes(found.cgroup_limit_mb)))
    metrics.watch("generation_service_cpu_percent", sampled(lambda found: found.cpu_percent))
    metrics.watch("generation_service_snapshot_age_seconds", lambda: collector.age_seconds)


def cache_counts(statistics: CacheStatistics) -> CacheCounts:
    """The cache's figures as the collector and the reports take them."""
    level = statistics.l2
    return CacheCounts(
        lookups=statistics.lookups,
        l1_hits=statistics.l1.hits,
        l2_hits=level.hits if level else 0,
        l2_lookups=level.hits + level.misses if level else 0,
    )


def query_report(backends: Backends) -> Report:
    """Figures of the statements; empty without a database."""
    return {} if backends.durable is None else backends.durable.monitor.report()


def _errors(statistics: CacheStatistics) -> float:
    return 0.0 if statistics.l2 is None else float(statistics.l2.errors)


def _bytes(megabytes: float | None) -> float | None:
    return None if megabytes is None else megabytes * MEGABYTE


def _statements(backends: Backends, figure: str) -> Mapping[Row, float | None]:
    found = {name: figures[figure] for name, figures in query_report(backends).items()}
    return {(name,): value for name, value in found.items() if not isinstance(value, dict)}


def _quantiles(backends: Backends, figure: str) -> Mapping[Row, float | None]:
    rows: dict[Row, float | None] = {}
    for name, figures in query_report(backends).items():
        milliseconds = figures[figure]
        if isinstance(milliseconds, dict):
            for label, key in (("0.5", "p50_ms"), ("0.95", "p95_ms"), ("0.99", "p99_ms")):
                value = milliseconds[key]
                rows[name, label] = None if value is None else value / 1000
    return rows

"""The performance guide's endpoints: how the service is doing, and what it does about it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import orjson
from aiohttp import web

from generation_service.adapters.http.endpoints import Endpoint, Parameter, Reply
from generation_service.adapters.http.problems import problem
from generation_service.adapters.http.wire import Problem
from generation_service.domain.workflow import Json, JsonObject
from generation_service.engine.engine import Engine
from generation_service.engine.pools import Pool
from generation_service.performance import report
from generation_service.performance.activity import Activity
from generation_service.performance.collector import CacheCounts, Collector
from generation_service.performance.optimizer import Optimizer
from generation_service.performance.rating import rate
from generation_service.performance.trend import trend

LONGEST_PERIOD_MINUTES: Final = 160  # the collector keeps a little more


@dataclass(frozen=True, slots=True, kw_only=True)
class PerformanceSources:
    """Whom these endpoints ask."""

    engine: Engine
    pools: Mapping[str, Pool]
    activity: Activity
    collector: Collector
    optimizer: Optimizer
    connections: Callable[[], int]
    now: Callable[[], float]  # the clock of the collector's samples
    cache_counts: Callable[[], CacheCounts]
    cache_details: Callable[[], JsonObject]
    warmer_details: Callable[[], JsonObject]
    queries: Callable[[], JsonObject]
    backends: JsonObject  # what is behind the service, and what stands in for what


class PerformanceRoutes:
    """Handlers that show figures. Never cached: a report of five minutes ago is not the present."""

    def __init__(self, sources: PerformanceSources) -> None:
        self._sources = sources

    async def get_performance_status(self, _request: web.Request) -> web.Response:
        """The rating and the figures behind it."""
        return _shown({**report.status(self._sampling()), "backends": self._sources.backends})

    async def get_resources(self, _request: web.Request) -> web.Response:
        """Memory, processors, pools."""
        return _shown(report.resources(self._sampling(), self._sources.pools))

    async def get_performance_load(self, _request: web.Request) -> web.Response:
        """What is going on now."""
        admission = self._sources.engine.admission
        return _shown(
            report.load(
                self._sampling(),
                admission.backlog,
                in_flight=admission.in_flight,
                queued=admission.queue_length,
                arrived=admission.arrived,
                connections=self._sources.connections(),
            )
        )

    async def get_trend(self, request: web.Request) -> web.Response:
        """Where the figures are going."""
        text = request.query.get("minutes", "60")
        if not (text.isascii() and text.isdigit() and len(text) <= 3 and 1 <= int(text) <= LONGEST_PERIOD_MINUTES):
            return problem(
                422,
                "invalid-request",
                f"minutes: must be a number from 1 to {LONGEST_PERIOD_MINUTES}",
                fields=[{"field": "minutes", "message": f"must be a number from 1 to {LONGEST_PERIOD_MINUTES}"}],
            )
        collector = self._sources.collector
        found = trend(collector.snapshots, self._sources.now(), int(text))
        body = report.trend_report(found, rate(collector.latest))
        return _shown(body if found.snapshot_count else {**body, "error": "No recent data available"})

    async def get_optimizations(self, _request: web.Request) -> web.Response:
        """What the service did to help itself, with figures before and after."""
        optimizer = self._sources.optimizer
        return _shown(report.optimizations(optimizer.entries, optimizer.rules, optimizer.last_error))

    async def get_queries(self, _request: web.Request) -> web.Response:
        """How long the statements of the database take, by name."""
        return _shown({"queries": self._sources.queries()})

    async def get_monitoring_metrics(self, _request: web.Request) -> web.Response:
        """The figures that the objectives are about."""
        activity = self._sources.activity
        return _shown(report.monitoring(self._sampling(), activity.workflows(), activity.responses()))

    async def get_cache_status(self, _request: web.Request) -> web.Response:
        """The cache by level."""
        sources = self._sources
        return _shown(report.cache_status(sources.cache_counts(), sources.cache_details(), sources.warmer_details()))

    def endpoints(self) -> list[Endpoint]:
        """What is served, for the router and the description."""
        minutes: dict[str, Json] = {"type": "integer", "minimum": 1, "maximum": LONGEST_PERIOD_MINUTES, "default": 60}
        plain = {200: Reply("Figures; null where there are no samples.")}
        tag = "performance"
        return [
            Endpoint("GET", "/api/performance/status", self.get_performance_status, "Rating", tag, plain),
            Endpoint("GET", "/api/performance/resources", self.get_resources, "Memory, CPU, pools", tag, plain),
            Endpoint("GET", "/api/performance/load", self.get_performance_load, "Load now", tag, plain),
            Endpoint(
                "GET", "/api/performance/trend", self.get_trend, "Trends", tag,
                {**plain, 422: Reply("", Problem)}, (Parameter("minutes", "query", "How far back.", minutes),),
            ),
            Endpoint("GET", "/api/performance/optimizations", self.get_optimizations, "Optimizations", tag, plain),
            Endpoint("GET", "/api/performance/queries", self.get_queries, "Database statements", tag, plain),
            Endpoint("GET", "/api/monitoring/metrics", self.get_monitoring_metrics, "Objectives", tag, plain),
            Endpoint("GET", "/api/cache/status", self.get_cache_status, "The cache by level", tag, plain),
        ]  # fmt: skip

    def _sampling(self) -> report.Sampling:
        collector = self._sources.collector
        return report.Sampling(collector.latest, collector.age_seconds, collector.fresh, collector.last_error)


def _shown(body: JsonObject) -> web.Response:
    return web.Response(body=orjson.dumps(body), content_type="application/json", headers={"Cache-Control": "no-store"})

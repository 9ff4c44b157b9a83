"""Put the parts together. The one place that knows which adapter stands behind which port."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict
from importlib.metadata import version
from typing import Final

from aiohttp import web

from generation_service.adapters.cache.warming import SmartWarmer, WarmingSettings
from generation_service.adapters.http import endpoints, openapi
from generation_service.adapters.http.around import around, last_headers
from generation_service.adapters.http.chat import ChatRoutes
from generation_service.adapters.http.operations import OperationsRoutes
from generation_service.adapters.http.performance import PerformanceRoutes, PerformanceSources
from generation_service.adapters.http.wire import BODY_LIMIT_BYTES, estimated_tokens
from generation_service.adapters.http.workflows import WorkflowRoutes
from generation_service.adapters.postgres.history import MetricsHistory
from generation_service.backends import Backends
from generation_service.engine.admission import Admission
from generation_service.engine.completions import Completions
from generation_service.engine.engine import Engine
from generation_service.engine.pools import Pool
from generation_service.engine.runner import Runner
from generation_service.performance.actions import KeepLonger, ReduceWorkers, RelieveMemory, Warm, load_malloc_trim
from generation_service.performance.activity import Activity
from generation_service.performance.collector import Collector, Sources
from generation_service.performance.machine import ProcessTree
from generation_service.performance.metrics import Metrics
from generation_service.performance.optimizer import Optimizer, figures
from generation_service.ports import Clock, StoreUnavailableError
from generation_service.settings import Settings
from generation_service.steps.registry import step_types
from generation_service.steps.workers import Workers
from generation_service.telemetry import (
    cache_counts,
    query_report,
    watch_backends,
    watch_collector,
    watch_engine,
)

HISTORY_SECONDS: Final = 60.0


class Connections:
    """Counts open connections, once somebody has said which server accepts them."""

    def __init__(self) -> None:
        self.server: web.Server | None = None

    def __call__(self) -> int:
        """How many there are now."""
        return 0 if self.server is None else len(self.server.connections)


class Background:
    """Tasks that run as long as the service. None of them may end by itself."""

    def __init__(self) -> None:
        self.broken = asyncio.Event()
        self.error: BaseException | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, name: str, work: Awaitable[None]) -> None:
        """Run it until `close`."""
        task = asyncio.ensure_future(work)
        task.set_name(name)
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    async def close(self) -> None:
        """End all."""
        for task in self._tasks:
            task.remove_done_callback(self._ended)
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        error = None if task.cancelled() else task.exception()
        self.error = error or RuntimeError(f"the task {task.get_name()} ended by itself")
        self.broken.set()


ENGINE: Final = web.AppKey("engine", Engine)
BACKGROUND: Final = web.AppKey("background", Background)
CONNECTIONS: Final = web.AppKey("connections", Connections)


class Work:
    """What does the work in one replica."""

    def __init__(self, settings: Settings, backends: Backends, clock: Clock, activity: Activity) -> None:
        self.workers = Workers()
        self.pools = {
            # Whoever waits here was admitted already, so the bound is the admission's.
            "workflows": Pool("workflows", settings.concurrent_workflows, settings.queue_limit + 100_000),
            "ai_api": Pool("ai_api", settings.ai_api_concurrency, settings.pool_queue_limit),
            "io_operations": Pool("io_operations", settings.io_concurrency, settings.pool_queue_limit),
            "cpu_intensive": Pool("cpu_intensive", settings.cpu_concurrency, settings.pool_queue_limit),
        }
        self.warmer = SmartWarmer(
            backends.cache,
            self._warm,
            clock,
            settings=WarmingSettings(tokens_per_minute=settings.warming_tokens_per_minute if settings.warming else 0),
            estimate=estimated_tokens,
            saturated=lambda: self.pools["ai_api"].waiting > 0,
        )
        self.completions = Completions(
            backends.generator,
            backends.cache,
            self.pools["ai_api"],
            self.warmer,
            retried=self._retried,
        )
        self.step_types = step_types(self.completions, self.workers, settings.generator_model)
        self.metrics = Metrics(settings.name, activity, routes=endpoints.ROUTES, step_types=tuple(self.step_types))
        self.admission = Admission(self.pools["workflows"], settings.queue_limit, clock, self.metrics)
        runner = Runner(backends.store, self.step_types, self.pools, clock=clock, observer=self.metrics)
        self.engine = Engine(
            backends.store, backends.dispatcher, runner, self.admission, clock=clock, observer=self.metrics
        )

    async def _warm(self, request: bytes) -> None:
        await self.completions.warm(request)  # which are made after the warmer that they tell

    def _retried(self, count: int) -> None:
        self.metrics.retried(count)  # which are made after the step types that they count


class Care:
    """What looks after the work: samples, and what is done about them."""

    def __init__(
        self,
        work: Work,
        backends: Backends,
        activity: Activity,
        connections: Connections,
        *,
        clock: Clock,
        wall: Callable[[], float],
    ) -> None:
        self.machine = ProcessTree()
        self.collector = Collector(
            Sources(
                activity=activity,
                machine=self.machine,
                active_connections=connections,
                in_flight=lambda: work.admission.in_flight,
                queue_length=lambda: work.admission.queue_length,
                cache=lambda: cache_counts(backends.cache.statistics()),
            ),
            clock,
            wall,
        )
        # The slots say how much one replica can do; the autoscaler counts on them, so they are not the optimizer's.
        adaptable = {name: pool for name, pool in work.pools.items() if name != "workflows"}
        self.optimizer = Optimizer(
            self.collector,
            [
                RelieveMemory(backends.cache, self.machine.process_rss_bytes, load_malloc_trim()),
                ReduceWorkers(adaptable),
                KeepLonger(backends.cache),
                Warm(work.warmer),
            ],
            clock,
            wall,
            acted=work.metrics.optimized,
        )

    async def keep_history(self, history: MetricsHistory, clock: Clock) -> None:
        """Write the newest figures to the database every minute."""
        while True:
            await clock.sleep(HISTORY_SECONDS)
            if self.collector.latest is not None and self.collector.fresh:
                known = {name: value for name, value in figures(self.collector.latest).items() if value is not None}
                with contextlib.suppress(StoreUnavailableError):  # a gap in a chart, and readiness tells about it
                    await history.write(known)


def create_app(
    settings: Settings, backends: Backends, clock: Clock, wall: Callable[[], float] = time.time
) -> web.Application:
    """Build the application; whoever serves it drains `app[ENGINE]` before stopping."""
    activity = Activity(clock)
    connections = Connections()
    work = Work(settings, backends, clock, activity)
    care = Care(work, backends, activity, connections, clock=clock, wall=wall)
    watch_engine(work.metrics, work.admission, work.pools)
    watch_backends(work.metrics, backends, work.warmer)
    watch_collector(work.metrics, care.collector)
    operations = OperationsRoutes(work.engine, work.metrics.render)
    performance = PerformanceRoutes(
        PerformanceSources(
            engine=work.engine,
            pools=work.pools,
            activity=activity,
            collector=care.collector,
            optimizer=care.optimizer,
            connections=connections,
            now=clock.now,
            cache_counts=lambda: cache_counts(backends.cache.statistics()),
            cache_details=lambda: asdict(backends.cache.statistics()),
            warmer_details=lambda: asdict(work.warmer.statistics()),
            queries=lambda: query_report(backends),
            backends={**backends.opened, "stand_ins": list(backends.stand_ins)},
        )
    )
    served = [
        *WorkflowRoutes(
            work.engine, work.step_types, settings.workflow_deadline_seconds, settings.follower_limit
        ).endpoints(),
        *ChatRoutes(
            work.completions, work.engine, settings.generator_model, settings.workflow_deadline_seconds
        ).endpoints(),
        *performance.endpoints(),
        *operations.endpoints(),
    ]
    if missing := {endpoint.path for endpoint in served} - set(endpoints.ROUTES):
        raise LookupError(f"endpoints.ROUTES lacks {sorted(missing)}")
    operations.described_by(openapi.describe(served, work.step_types, settings.name, version("generation-operator")))
    app = web.Application(client_max_size=BODY_LIMIT_BYTES)
    app[ENGINE] = work.engine
    app[CONNECTIONS] = connections
    app[BACKGROUND] = Background()
    app.add_routes(endpoints.routes(served, around(work.metrics)))
    app.on_response_prepare.append(last_headers(work.admission, backends.generator.description))
    app.cleanup_ctx.append(_running(work, care, backends, settings, clock))
    return app


def _running(
    work: Work, care: Care, backends: Backends, settings: Settings, clock: Clock
) -> Callable[[web.Application], AsyncIterator[None]]:
    """Everything that runs beside the requests, from the start of the application to its end."""

    async def context(app: web.Application) -> AsyncIterator[None]:
        background = app[BACKGROUND]
        await work.engine.start()
        background.start("engine", work.engine.watch())
        background.start("collector", care.collector.run())
        if settings.optimizer:
            background.start("optimizer", care.optimizer.run())
        if settings.warming:
            await work.warmer.start()
        if backends.durable is not None:
            background.start("history", care.keep_history(backends.durable.history, clock))
        for number, run in enumerate(backends.background):
            background.start(f"backend {number}", run())
        yield
        await background.close()
        await work.warmer.close()
        await work.engine.close()
        work.workers.close()

    return context

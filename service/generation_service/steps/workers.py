"""Processes that compute for steps: started when first needed, ended when their caller gives up.

A process pool of the standard library cannot stop a call that runs; here a call that is cancelled ends its process, so
a function that never returns costs one process for the time of one deadline.
"""

import asyncio
import multiprocessing
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Final, cast

from generation_service.domain.workflow import Json
from generation_service.ports import StepError

GROUP: Final = "generation_service.functions"
# Calls after which a process is replaced: what a function leaks does not add up.
CALLS_PER_PROCESS: Final = 1000


def function_names() -> list[str]:
    """Names of the registered functions."""
    return sorted(entry_points(group=GROUP).names)


@dataclass(eq=False)
class _Worker:
    process: BaseProcess
    connection: Connection
    calls: int = 0


class Workers:
    """Idle processes are kept for the next call; how many run at once is the business of the pool around the calls."""

    def __init__(self) -> None:
        self._idle: list[_Worker] = []
        self._busy: set[_Worker] = set()

    @property
    def processes(self) -> list[int]:
        """Ids of the processes that live."""
        return [worker.process.pid for worker in [*self._idle, *self._busy] if worker.process.pid is not None]

    async def call(self, function: str, arguments: Mapping[str, Json]) -> Json:
        """Call a function. Raises `StepError` when it raises or its process dies."""
        worker = self._idle.pop() if self._idle else await asyncio.to_thread(_start)
        self._busy.add(worker)
        fine = False
        try:
            # In a thread: the pipe holds 64 KiB and a process that has just been started does not read yet.
            await asyncio.to_thread(worker.connection.send, (function, dict(arguments)))
            await _readable(worker.connection)
            good, value = worker.connection.recv()
            fine = True
        except (EOFError, OSError):
            raise StepError(f"the process of the function {function!r} died", retryable=False) from None
        finally:
            self._busy.discard(worker)
            worker.calls += 1
            if fine and worker.calls < CALLS_PER_PROCESS:
                self._idle.append(worker)
            else:
                _end(worker)
        if not good:
            raise StepError(f"the function {function!r} raised {value}")
        return cast("Json", value)

    def close(self) -> None:
        """End all processes."""
        for worker in [*self._idle, *self._busy]:
            _end(worker)
        self._idle.clear()
        self._busy.clear()


def _start() -> _Worker:
    # `spawn`: a fork of a process with threads and an event loop inherits their locks in whatever state they are.
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_work, args=(there,), daemon=True)
    process.start()
    there.close()
    return _Worker(process, here)


def _end(worker: _Worker) -> None:
    worker.connection.close()
    worker.process.kill()
    worker.process.join(timeout=5)


async def _readable(connection: Connection) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(connection.fileno(), ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(connection.fileno())


def _work(connection: Connection) -> None:
    """Answer calls until the other end is gone. Runs in the child."""
    found = {point.name: point for point in entry_points(group=GROUP)}
    parent = os.getppid()
    while os.getppid() == parent:
        try:
            name, arguments = connection.recv()
        except EOFError:
            return
        connection.send(_outcome(found, name, arguments))


def _outcome(found: Mapping[str, Any], name: str, arguments: Mapping[str, Any]) -> tuple[bool, object]:
    try:
        return True, found[name].load()(**arguments)
    except Exception as error:  # noqa: BLE001 - whatever it is, the caller is told
        return False, f"{type(error).__name__}: {error}"[:1000]

"""Submitting and running workflows on Postgres, beside bare loops of the same statements."""

import asyncio
import json
import time
import uuid
from collections.abc import Awaitable, Callable

import asyncpg

from generation_service.adapters.clock import LoopClock
from generation_service.adapters.postgres.driver import PoolSettings
from generation_service.adapters.postgres.store import PostgresStore
from generation_service.domain.workflow import Outcome, Status, Step, Workflow
from generation_service.engine.admission import Admission
from generation_service.engine.engine import Engine
from generation_service.engine.pools import Pool
from generation_service.engine.runner import Runner
from generation_service.steps.prompt import PromptStep

CONCURRENT = 20
STEPS = tuple(
    Step(name, "prompt", {"template": f"text of step {name}, some fifty letters long, as a prompt"}, needs)
    for name, needs in (("a", ()), ("b", ("a",)), ("c", ("b",)))
)
OUTPUT = json.dumps({"text": "text of step a, some fifty letters long, as a prompt"})
TABLES = """
    CREATE TABLE IF NOT EXISTS bare_workflows (
        id uuid PRIMARY KEY, status text NOT NULL, attempt int NOT NULL, definition json NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(), finished_at timestamptz);
    CREATE TABLE IF NOT EXISTS bare_steps (
        workflow_id uuid NOT NULL, id text NOT NULL, output json, PRIMARY KEY (workflow_id, id));
"""


def workflow() -> Workflow:
    return Workflow(str(uuid.uuid4()), STEPS, 300)


def definition() -> str:
    return json.dumps([{"id": step.id, "type": step.type, "inputs": dict(step.inputs)} for step in STEPS])


async def rate(work: Callable[[], Awaitable[None]], seconds: float) -> float:
    """How often the work is done a second, `CONCURRENT` at a time."""
    count = 0
    until = time.perf_counter() + seconds

    async def repeat() -> None:
        nonlocal count
        while time.perf_counter() < until:
            await work()
            count += 1

    started = time.perf_counter()
    await asyncio.gather(*(repeat() for _ in range(CONCURRENT)))
    return count / (time.perf_counter() - started)


class Endings:
    """Counts; wakes whoever waits for the end of some workflow."""

    def __init__(self) -> None:
        self.ended = asyncio.Semaphore(0)

    def arrived(self) -> None: ...

    def ran(self, seconds: float) -> None: ...

    def finished(self, outcome: Outcome, seconds: float) -> None: ...

    def rejected(self) -> None: ...

    def step_finished(self, step_type: str, outcome: Outcome, seconds: float) -> None: ...

    def workflow_ended(self, status: Status) -> None:
        assert status is Status.SUCCEEDED
        self.ended.release()


async def submits(store: PostgresStore, pool: "asyncpg.Pool", seconds: float) -> tuple[float, float]:
    """Submitted and bare inserts a second. Nothing takes what is submitted."""

    async def ours() -> None:
        await store.submit(workflow())

    async def bare() -> None:
        await pool.execute(
            "INSERT INTO bare_workflows (id, status, attempt, definition) VALUES ($1, 'queued', 0, $2)",
            uuid.uuid4(),
            definition(),
        )

    return await rate(ours, seconds), await rate(bare, seconds)


async def runs(url: str, pool: "asyncpg.Pool", seconds: float) -> tuple[float, float]:
    """Workflows of three steps a second, from submission to end, ours and bare."""
    clock = LoopClock()
    store = await PostgresStore.open(url, PoolSettings(max_size=8), clock)
    endings = Endings()
    slots = Pool("workflows", CONCURRENT, 1000)
    runner = Runner(store, {"prompt": PromptStep()}, {}, clock=clock, observer=endings)
    admission = Admission(slots, 1000, clock, endings)
    engine = Engine(store, store.dispatcher(CONCURRENT), runner, admission, clock=clock, observer=endings)
    await engine.start()
    await asyncio.sleep(0.5)

    async def ours() -> None:
        await engine.submit(workflow())
        await endings.ended.acquire()

    ours_rate = await rate(ours, seconds)
    await engine.drain(10)
    await engine.close()
    await store.close()
    return ours_rate, await rate(lambda: _bare_run(pool), seconds)


async def _bare_run(pool: "asyncpg.Pool") -> None:
    key = uuid.uuid4()
    async with pool.acquire() as connection:
        await connection.execute(
            "INSERT INTO bare_workflows (id, status, attempt, definition) VALUES ($1, 'running', 1, $2)",
            key,
            definition(),
        )
        for step in STEPS:
            await connection.execute(
                "INSERT INTO bare_steps (workflow_id, id, output) "
                "SELECT $1, $2, $3 FROM bare_workflows WHERE id = $1 AND attempt = $4",
                key,
                step.id,
                OUTPUT,
                1,
            )
        await connection.execute(
            "UPDATE bare_workflows SET status = 'succeeded', finished_at = now() WHERE id = $1 AND attempt = $2", key, 1
        )

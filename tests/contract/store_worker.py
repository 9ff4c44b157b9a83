"""A replica that does nothing but run workflows, for tests that end it badly.

`python store_worker.py URL STEP_SECONDS`; prints `ready`, then `lost ID` for each claim that it lost.
"""

import asyncio
import sys

from generation_service.adapters.clock import LoopClock
from generation_service.adapters.postgres.dispatcher import DispatcherSettings
from generation_service.adapters.postgres.driver import PoolSettings
from generation_service.adapters.postgres.store import PostgresStore
from generation_service.domain.workflow import Ending, Status, StepChange
from generation_service.ports import LostClaimError


async def main(url: str, step_seconds: float) -> None:
    """Run until killed."""
    store = await PostgresStore.open(url, PoolSettings(max_size=4), LoopClock())

    async def handle(workflow_id: str) -> None:
        claim = await store.claim(workflow_id)
        if claim is None:
            return
        try:
            for step in claim.workflow.steps:
                if step.id not in claim.outputs:
                    attempt = claim.step_attempts.get(step.id, 0) + 1
                    store.note(claim, StepChange(step.id, Status.RUNNING, attempt))
                    await asyncio.sleep(step_seconds)
                    output = {"attempt": claim.attempt}
                    await store.advance(claim, StepChange(step.id, Status.SUCCEEDED, attempt, output=output))
            await store.finish(claim, Ending(Status.SUCCEEDED))
        except LostClaimError:
            print("lost", workflow_id, flush=True)  # noqa: T201 - what the test waits for

    settings = DispatcherSettings(heartbeat_timeout_seconds=1.2, poll_seconds=0.3)
    print("ready", flush=True)  # noqa: T201 - what the test waits for
    await store.dispatcher(4, settings).run(handle)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2])))

"""Whatever is done to a workflow, the store in memory and the one in Postgres tell the same story."""

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from contract.job_store_contract import BAD, GOOD, changed, make_workflow
from contract.postgres_server import SETTINGS, PostgresServer
from generation_service.adapters.clock import LoopClock
from generation_service.adapters.memory import MemoryStore
from generation_service.adapters.postgres.store import PostgresStore
from generation_service.domain.workflow import Status, Workflow
from generation_service.ports import Claim, JobStore, LostClaimError, NotRetryableError

STATUSES = st.sampled_from([Status.RUNNING, Status.SUCCEEDED, Status.FAILED])
CLAIM = st.integers(-3, -1)  # the last claim, the one before ...
ACTIONS = st.one_of(
    st.tuples(st.sampled_from(["claim", "cancel", "retry"])),
    st.tuples(st.sampled_from(["finish", "fail", "hand_back"]), CLAIM),
    st.tuples(st.sampled_from(["advance", "note"]), CLAIM, st.sampled_from("ab"), STATUSES, st.integers(1, 3)),
)


@pytest.fixture
async def postgres_store(postgres: PostgresServer) -> AsyncIterator[PostgresStore]:
    store = await PostgresStore.open(await postgres.fresh(), SETTINGS, LoopClock())
    yield store
    await store.close()


@given(actions=st.lists(ACTIONS, min_size=1, max_size=15))
@example(actions=[("claim",)] * 5)  # begun too often
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_stores_agree(postgres_store: PostgresStore, actions: list[tuple[Any, ...]]) -> None:
    workflow = make_workflow()
    in_memory = await story(MemoryStore(LoopClock(), time.time), workflow, actions)
    assert await story(postgres_store, workflow, actions) == in_memory


async def story(store: JobStore, workflow: Workflow, actions: list[tuple[Any, ...]]) -> list[object]:
    """What every action answered, and what is known in the end, without times."""
    await store.submit(workflow)
    claims: list[Claim] = []
    told: list[object] = [await act(store, workflow, claims, action) for action in [("claim",), *actions]]
    if claims:  # a note may wait for the next write, so there is one
        told.append(await act(store, workflow, claims, ("advance", -1, "a", Status.SUCCEEDED, 1)))
    record = await store.get(workflow.id)
    assert record is not None
    told += [record.status, record.attempt, record.steps, record.failure, record.cancel_requested]
    told += [(event.number, event.kind, event.data) for event in await store.events(workflow.id, 0, 1000)]
    return told


async def act(store: JobStore, workflow: Workflow, claims: list[Claim], action: tuple[Any, ...]) -> object:
    """Do one thing; its answer as a value."""
    try:
        match action:
            case ("claim",):
                claim = await store.claim(workflow.id)
                if claim is None:
                    return None
                claims.append(claim)
                return claim.attempt, claim.outputs, claim.cancel_requested
            case ("cancel" | "retry" as verb,):
                record = await getattr(store, verb)(workflow.id)
                return record.status, record.failure, record.cancel_requested
            case (verb, back, *rest) if len(claims) >= -back:
                await write(store, verb, claims[back], rest)
    except (LostClaimError, NotRetryableError) as error:
        return type(error)
    return None


async def write(store: JobStore, verb: str, claim: Claim, rest: list[Any]) -> None:
    """Do one thing with a claim."""
    if verb in {"advance", "note"}:
        step, status, attempt = rest
        change = changed(step, status, attempt, output=attempt, error="no" if status is Status.FAILED else None)
        if verb == "advance":
            await store.advance(claim, change)
        elif claim.attempt > 0 and status is Status.RUNNING:
            store.note(claim, change)
            await store.advance(claim, change)
    elif verb == "hand_back":
        await store.hand_back(claim)
    else:
        await store.finish(claim, GOOD if verb == "finish" else BAD)

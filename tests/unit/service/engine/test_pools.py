"""Places and the queue before them, also while their number changes."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generation_service.engine.pools import Pool, PoolFullError
from service_fakes import settle


async def test_places_are_taken_and_the_next_one_waits_its_turn() -> None:
    pool = Pool("ai_api", 1, 10)
    order: list[str] = []

    async def work(name: str) -> None:
        async with pool.slot():
            order.append(name)
            await settle()

    await asyncio.gather(*(work(name) for name in "abc"))
    assert order == ["a", "b", "c"]
    assert (pool.busy, pool.waiting) == (0, 0)


async def test_full_queue_refuses_at_once_and_names_the_pool() -> None:
    pool = Pool("ai_api", 1, 0)
    await pool.acquire()
    with pytest.raises(PoolFullError, match="ai_api"):
        await pool.acquire()


async def test_growing_lets_waiting_callers_in_at_once() -> None:
    pool = Pool("p", 1, 10)
    await pool.acquire()
    waiting = [asyncio.create_task(pool.acquire()) for _ in range(3)]
    await settle()
    pool.resize(3)
    await settle()
    assert (pool.busy, pool.waiting) == (3, 1)
    waiting[2].cancel()
    await settle()
    assert pool.waiting == 0


async def test_shrinking_takes_effect_as_work_ends() -> None:
    pool = Pool("p", 3, 10)
    for _ in range(3):
        await pool.acquire()
    waiting = asyncio.create_task(pool.acquire())
    await settle()
    pool.resize(1)
    pool.release()
    pool.release()
    await settle()
    assert (pool.busy, waiting.done()) == (1, False)
    pool.release()
    await settle()
    assert (pool.busy, waiting.done()) == (1, True)
    assert (pool.size, pool.configured) == (1, 3)


async def test_pool_never_shrinks_to_nothing() -> None:
    pool = Pool("p", 3, 10)
    pool.resize(0)
    assert pool.size == 1


async def test_place_handed_over_to_a_caller_that_gives_up_goes_to_the_next() -> None:
    pool = Pool("p", 1, 10)
    await pool.acquire()
    first, second = asyncio.create_task(pool.acquire()), asyncio.create_task(pool.acquire())
    await settle()
    pool.release()  # handed to `first`, which is cancelled before it runs
    first.cancel()
    await settle()
    assert first.cancelled()
    assert second.done()
    assert pool.busy == 1


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.sampled_from(["acquire", "release", "cancel", "grow", "shrink"]), max_size=60),
    st.integers(1, 4),
    st.integers(0, 4),
)
def test_no_place_is_ever_lost_or_given_twice(steps: list[str], size: int, queue: int) -> None:
    async def run() -> None:
        pool = Pool("p", size, queue)
        tasks: list[asyncio.Task[None]] = []
        held = 0
        for step in steps:
            if step == "acquire":
                tasks.append(asyncio.create_task(pool.acquire()))
            elif step == "release" and held:
                pool.release()
                held -= 1
            elif step == "cancel" and tasks:
                tasks[-1].cancel()
            elif step == "grow":
                pool.resize(pool.size + 1)
            elif step == "shrink":
                pool.resize(pool.size - 1)
            await settle()
            done = [task for task in tasks if task.done()]
            tasks = [task for task in tasks if not task.done()]
            held += sum(not task.cancelled() and task.exception() is None for task in done)
            assert pool.busy == held
            assert pool.waiting == len(tasks) <= queue
            assert not pool.waiting or pool.busy >= pool.size
        for task in tasks:
            task.cancel()
        await settle()

    asyncio.run(run())

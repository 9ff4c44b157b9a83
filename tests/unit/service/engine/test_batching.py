"""Many items, one call: nobody is lost, mixed up, delayed without need, or disturbed by another caller."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generation_service.engine.batching import Batcher, BatchFullError, BatchMismatchError


class Doubler:
    """Doubles numbers when told to go on; remembers the batches."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go = asyncio.Event()
        self.go.set()

    async def __call__(self, items: Sequence[int]) -> list[int | BaseException]:
        self.batches.append(list(items))
        await self.go.wait()
        return [ValueError(str(item)) if item < 0 else 2 * item for item in items]


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_callers_of_one_turn_share_a_call_without_waiting_for_a_timer() -> None:
    doubler = Doubler()
    batcher = Batcher(doubler, max_size=10)
    async with asyncio.timeout(0.05):
        assert await asyncio.gather(*(batcher.submit(number) for number in range(5))) == [0, 2, 4, 6, 8]
    assert doubler.batches == [[0, 1, 2, 3, 4]]


async def test_full_batches_are_split() -> None:
    doubler = Doubler()
    batcher = Batcher(doubler, max_size=10)
    results = await asyncio.gather(*(batcher.submit(number) for number in range(35)))
    assert results == [2 * number for number in range(35)]
    assert [len(batch) for batch in doubler.batches] == [10, 10, 10, 5]


async def test_items_that_come_while_a_batch_runs_are_in_the_next_one() -> None:
    doubler = Doubler()
    doubler.go.clear()
    batcher = Batcher(doubler, max_size=10)
    first = asyncio.create_task(batcher.submit(1))
    await turns()
    late = [asyncio.create_task(batcher.submit(number)) for number in (2, 3)]
    await turns()
    assert doubler.batches == [[1]]
    doubler.go.set()
    assert await asyncio.gather(first, *late) == [2, 4, 6]
    assert doubler.batches == [[1], [2, 3]]


async def test_cancelled_caller_disturbs_no_other() -> None:
    doubler = Doubler()
    doubler.go.clear()
    batcher = Batcher(doubler, max_size=10)
    tasks = [asyncio.create_task(batcher.submit(number)) for number in range(3)]
    await turns()
    tasks[1].cancel()
    await turns()
    doubler.go.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert tasks[0].result() == 0
    assert tasks[1].cancelled()
    assert tasks[2].result() == 4


async def test_caller_that_gave_up_before_the_call_is_not_in_it() -> None:
    doubler = Doubler()
    doubler.go.clear()
    batcher = Batcher(doubler, max_size=1)
    running = asyncio.create_task(batcher.submit(1))
    await turns()
    waiting = asyncio.create_task(batcher.submit(2))
    await turns()
    waiting.cancel()
    await turns()
    doubler.go.set()
    await running
    await batcher.drain()
    assert doubler.batches == [[1]]


async def test_result_that_is_an_exception_is_raised_for_its_caller_alone() -> None:
    batcher = Batcher(Doubler(), max_size=10)
    good, bad = await asyncio.gather(batcher.submit(4), batcher.submit(-1), return_exceptions=True)
    assert good == 8
    assert isinstance(bad, ValueError)


async def test_wrong_number_of_results_fails_all_instead_of_leaving_the_rest_hanging() -> None:
    async def short(items: Sequence[int]) -> list[int | BaseException]:
        return list(items[:-1])

    batcher = Batcher(short, max_size=10)
    results = await asyncio.gather(*(batcher.submit(number) for number in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [BatchMismatchError] * 3


async def test_call_that_raises_fails_all_and_the_next_batch_is_fine() -> None:
    calls = 0

    async def once(items: Sequence[int]) -> list[int | BaseException]:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise OSError("gone")
        return list(items)

    batcher = Batcher(once, max_size=10)
    first = await asyncio.gather(batcher.submit(1), batcher.submit(2), return_exceptions=True)
    assert [type(result) for result in first] == [OSError] * 2
    assert await batcher.submit(3) == 3


async def test_queue_is_bounded() -> None:
    doubler = Doubler()
    doubler.go.clear()
    batcher = Batcher(doubler, max_size=1, queue_limit=1)
    running = asyncio.create_task(batcher.submit(1))
    await turns()
    waiting = asyncio.create_task(batcher.submit(2))
    await turns()
    assert batcher.waiting == 1
    with pytest.raises(BatchFullError):
        await batcher.submit(3)
    doubler.go.set()
    assert list(await asyncio.gather(running, waiting)) == [2, 4]


async def test_several_calls_run_at_once_when_allowed() -> None:
    doubler = Doubler()
    doubler.go.clear()
    batcher = Batcher(doubler, max_size=1, concurrency=2)
    tasks = [asyncio.create_task(batcher.submit(number)) for number in range(3)]
    await turns()
    assert doubler.batches == [[0], [1]]
    doubler.go.set()
    assert await asyncio.gather(*tasks) == [0, 2, 4]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 100), st.booleans(), st.integers(0, 3)), max_size=40),
    st.integers(1, 7),
    st.integers(1, 3),
)
def test_everybody_gets_their_own_result_whoever_else_gives_up(
    callers: list[tuple[int, bool, int]], size: int, concurrency: int
) -> None:
    async def run() -> None:
        async def slowly(items: Sequence[int]) -> list[int | BaseException]:
            assert len(items) <= size
            await turns(2)
            return [item + 1000 for item in items]

        batcher = Batcher(slowly, max_size=size, concurrency=concurrency)
        tasks = []
        for number, gives_up, pause in callers:
            tasks.append((number, gives_up, asyncio.create_task(batcher.submit(number))))
            await turns(pause)
            if gives_up:
                tasks[-1][2].cancel()
        for number, gives_up, task in tasks:
            done = (await asyncio.gather(task, return_exceptions=True))[0]
            assert done == number + 1000 or (gives_up and task.cancelled())
        async with asyncio.timeout(5):
            await batcher.drain()

    asyncio.run(run())

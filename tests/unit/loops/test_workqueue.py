"""The promises of the work queue: nothing lost, nothing twice at once, failures come back later and alone."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generation_operator.cluster.ports import ClusterError
from generation_operator.loops.workqueue import WorkQueue

Handle = Callable[[str], Awaitable[None]]


@asynccontextmanager
async def running(queue: WorkQueue[str], handle: Handle, workers: int = 2) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(queue.run(handle, workers=workers))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def settle(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the condition is a test's own
            await asyncio.sleep(0.001)


class Recorder:
    """Handles keys; `failing` says how many times each fails first."""

    def __init__(self, failing: dict[str, int] | None = None, error: Exception | None = None) -> None:
        self.seen: list[str] = []
        self.at: list[float] = []
        self._failing = dict(failing or {})
        self._error = error or RuntimeError("broken")

    async def __call__(self, key: str) -> None:
        self.seen.append(key)
        self.at.append(asyncio.get_running_loop().time())
        if self._failing.get(key, 0):
            self._failing[key] -= 1
            raise self._error


async def test_key_added_often_is_handled_once() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for key in ("a", "b", "a", "a"):
        queue.add(key)
    assert len(queue) == 2
    handle = Recorder()
    async with running(queue, handle):
        await settle(lambda: len(handle.seen) >= 2)
        await asyncio.sleep(0.02)
    assert handle.seen == ["a", "b"]


async def test_key_added_while_it_is_handled_is_handled_again_afterwards() -> None:
    queue: WorkQueue[str] = WorkQueue()
    log: list[str] = []

    async def handle(key: str) -> None:
        log.append("start")
        if len(log) == 1:
            queue.add(key)
            queue.add(key)
            await asyncio.sleep(0.01)
        log.append("end")

    queue.add("a")
    async with running(queue, handle, workers=4):
        await settle(lambda: len(log) == 4)
        await asyncio.sleep(0.02)
    assert log == ["start", "end", "start", "end"]


async def test_busy_key_does_not_hold_up_another() -> None:
    queue: WorkQueue[str] = WorkQueue()
    done = asyncio.Event()

    async def handle(key: str) -> None:
        if key == "slow":
            await done.wait()
        else:
            done.set()

    queue.add("slow")
    queue.add("quick")
    async with running(queue, handle, workers=2):
        await asyncio.wait_for(done.wait(), 5)


async def test_keys_that_wait_for_nobody_leave_everybody_else_a_turn() -> None:
    queue: WorkQueue[str] = WorkQueue()
    handled: list[str] = []

    async def handle(key: str) -> None:
        handled.append(key)

    for number in range(100):
        queue.add(str(number))
    async with running(queue, handle, workers=10):
        between = []
        while len(handled) < 100:
            before = len(handled)
            await asyncio.sleep(0)
            between.append(len(handled) - before)
        assert max(between) == 10, "one of each worker"


async def test_failing_key_comes_back_after_doubling_delays_up_to_the_cap() -> None:
    queue: WorkQueue[str] = WorkQueue(base=0.02, cap=0.05)
    handle = Recorder({"a": 4})
    queue.add("a")
    async with running(queue, handle):
        await settle(lambda: len(handle.seen) == 5)
    waits = [later - earlier for earlier, later in zip(handle.at, handle.at[1:], strict=False)]
    for wait, least in zip(waits, (0.02, 0.04, 0.05, 0.05), strict=True):
        assert wait >= least * 0.99


async def test_success_forgets_earlier_failures(caplog: pytest.LogCaptureFixture) -> None:
    queue: WorkQueue[str] = WorkQueue(base=0.001)
    handle = Recorder({"a": 3})
    queue.add("a")
    async with running(queue, handle):
        await settle(lambda: len(handle.seen) == 4)
        handle._failing["a"] = 1
        caplog.clear()
        queue.add("a")
        await settle(lambda: len(handle.seen) == 6)
    assert [record.args[1] for record in caplog.records if isinstance(record.args, tuple)] == [0.001]


async def test_server_that_asks_for_patience_gets_it() -> None:
    queue: WorkQueue[str] = WorkQueue(base=0.001)
    handle = Recorder({"a": 1}, ClusterError(429, "too many requests", retry_after=0.05))
    queue.add("a")
    async with running(queue, handle):
        await settle(lambda: len(handle.seen) == 2)
    assert handle.at[1] - handle.at[0] >= 0.0495


async def test_bug_is_logged_with_its_key_and_ends_no_worker(caplog: pytest.LogCaptureFixture) -> None:
    queue: WorkQueue[str] = WorkQueue(base=60)
    handle = Recorder({"bad": 1})
    async with running(queue, handle, workers=1) as task:
        queue.add("bad")
        queue.add("good")
        await settle(lambda: "good" in handle.seen)
        assert not task.done()
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.message.startswith("bad: failed")
    assert record.exc_info


async def test_refusal_of_the_cluster_is_logged_without_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    queue: WorkQueue[str] = WorkQueue(base=60)
    handle = Recorder({"a": 1}, ClusterError(403, "forbidden"))
    queue.add("a")
    async with running(queue, handle):
        await settle(lambda: bool(caplog.records))
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.message == "a: 403: forbidden; trying again in 60.0 s"
    assert record.exc_info is None


async def test_change_during_backoff_is_handled_at_once() -> None:
    queue: WorkQueue[str] = WorkQueue(base=60)
    handle = Recorder({"a": 1})
    queue.add("a")
    async with running(queue, handle):
        await settle(lambda: len(handle.seen) == 1)
        queue.add("a")
        await settle(lambda: len(handle.seen) == 2)


async def test_key_added_for_later_waits() -> None:
    queue: WorkQueue[str] = WorkQueue()
    handle = Recorder()
    async with running(queue, handle):
        started = asyncio.get_running_loop().time()
        queue.add_after("a", 0.03)
        assert len(queue) == 0
        await settle(lambda: bool(handle.seen))
    assert handle.at[0] - started >= 0.0295


@pytest.mark.parametrize("delays", [(0.02, 30.0), (30.0, 0.02)])
async def test_earliest_of_several_times_counts(delays: tuple[float, float]) -> None:
    queue: WorkQueue[str] = WorkQueue()
    handle = Recorder()
    async with running(queue, handle):
        for delay in delays:
            queue.add_after("a", delay)
        await settle(lambda: bool(handle.seen))
        await asyncio.sleep(0.03)
    assert handle.seen == ["a"]


async def test_key_in_hand_when_cancelled_waits_again() -> None:
    queue: WorkQueue[str] = WorkQueue()
    started = asyncio.Event()

    async def forever(_: str) -> None:
        started.set()
        await asyncio.sleep(60)

    queue.add("a")
    async with running(queue, forever):
        await asyncio.wait_for(started.wait(), 5)
    assert len(queue) == 1
    handle = Recorder()
    async with running(queue, handle):
        await settle(lambda: handle.seen == ["a"])


class Fatal(BaseException):
    """What no handler should raise."""


async def test_end_of_a_worker_ends_the_queue() -> None:
    queue: WorkQueue[str] = WorkQueue()

    async def handle(_: str) -> None:
        raise Fatal

    queue.add("a")
    with pytest.raises(BaseExceptionGroup) as caught:
        await queue.run(handle, workers=2)
    assert caught.group_contains(Fatal)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), max_size=30), st.integers(1, 4))
def test_no_key_is_ever_held_twice_and_the_last_change_is_always_seen(
    adds: list[tuple[str, int]], workers: int
) -> None:
    async def scenario() -> None:
        queue: WorkQueue[str] = WorkQueue(base=0.0001)
        held: set[str] = set()
        wanted: dict[str, int] = {}
        handled: dict[str, int] = {}
        failures = {"a": 2}

        async def handle(key: str) -> None:
            assert key not in held
            held.add(key)
            try:
                seen = wanted[key]
                await asyncio.sleep(0)
                if failures.get(key, 0):
                    failures[key] -= 1
                    raise ClusterError(409, "conflict")
                handled[key] = seen
            finally:
                held.discard(key)

        async with running(queue, handle, workers):
            for number, (key, pauses) in enumerate(adds):
                wanted[key] = number
                queue.add(key)
                for _ in range(pauses):
                    await asyncio.sleep(0)
            await settle(lambda: handled == wanted)

    asyncio.run(scenario())


async def test_a_queue_without_work_does_not_stall_and_one_that_hangs_does() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("early")
    assert queue.stalled_seconds() == 0.0, "nobody has started to work yet"
    blocked, done = asyncio.Event(), []

    async def handle(key: str) -> None:
        if key == "slow":
            await blocked.wait()
        done.append(key)

    async with running(queue, handle):
        await settle(lambda: done == ["early"])
        assert queue.stalled_seconds() == 0.0
        queue.add("slow")
        await asyncio.sleep(0.05)
        assert queue.stalled_seconds() >= 0.04
        blocked.set()
        await settle(lambda: done == ["early", "slow"])
        assert queue.stalled_seconds() == 0.0


async def test_keys_that_fail_are_counted_until_they_do_not() -> None:
    queue: WorkQueue[str] = WorkQueue(base=0.001)
    failures = [ClusterError(500, "no")]

    async def handle(key: str) -> None:
        if failures:
            raise failures.pop()

    async with running(queue, handle):
        queue.add("a")
        await settle(lambda: queue.failing == 1)
        await settle(lambda: queue.failing == 0)

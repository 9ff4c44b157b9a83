"""Admission, order, deadlines and draining, on a clock that only the test moves."""

import asyncio
import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from generation_service.engine.slots import Slots
from hypothesis import given, settings
from hypothesis import strategies as st

from generation_service.domain.errors import (
    DeadlineExceededError,
    DrainingError,
    InvalidWorkflowError,
    QueueFullError,
    StepFailedError,
)
from generation_service.domain.workflow import Generation, Outcome, Prompt, Step, Workflow, WorkflowResult
from generation_service.engine.engine import Engine, Limits, Phase
from generation_service.ports import GeneratorError


@dataclass
class FakeTimer:
    callback: Callable[[], None] | None

    def cancel(self) -> None:
        self.callback = None


@dataclass
class FakeClock:
    """Time stands still until `pass_time`; whatever is due meanwhile happens at its exact moment."""

    seconds: float = 0.0
    timers: list[tuple[float, int, FakeTimer]] = field(default_factory=list)
    count: int = 0

    def now(self) -> float:
        return self.seconds

    def call_later(self, seconds: float, callback: Callable[[], None]) -> FakeTimer:
        timer = FakeTimer(callback)
        self.count += 1
        heapq.heappush(self.timers, (self.seconds + seconds, self.count, timer))
        return timer

    async def sleep(self, seconds: float) -> None:
        done = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not done.done():
                done.set_result(None)

        timer = self.call_later(seconds, wake)
        try:
            await done
        finally:
            timer.cancel()

    async def pass_time(self, seconds: float) -> None:
        until = self.seconds + seconds
        await settle()
        while self.timers and self.timers[0][0] <= until:
            self.seconds = self.timers[0][0]
            while self.timers and self.timers[0][0] == self.seconds:  # as the event loop: all that is due, in one turn
                timer = heapq.heappop(self.timers)[2]
                if timer.callback is not None:
                    timer.callback()
            await settle()
        self.seconds = until


async def settle() -> None:
    for _ in range(10):  # no chain of wake-ups in the engine is longer
        await asyncio.sleep(0)


@dataclass
class FakeGenerator:
    """Takes as many seconds as the prompt says; `fail` in the prompt is an error, `crash` a bug."""

    clock: FakeClock
    started: list[str] = field(default_factory=list)
    started_at: dict[str, float] = field(default_factory=dict)
    running: int = 0
    most_running: int = 0

    async def generate(self, prompt: Prompt) -> Generation:
        name, _, seconds = prompt.text.partition(":")
        self.started.append(name)
        self.started_at[name] = self.clock.now()
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await self.clock.sleep(float(seconds or 1))
        finally:
            self.running -= 1
        if name == "fail":
            raise GeneratorError("the model is not loaded")
        if name == "crash":
            raise RuntimeError("bug")
        return Generation(name.upper(), 1)


@dataclass
class FakeObserver:
    seen: list[tuple[Outcome, float]] = field(default_factory=list)
    arrivals: int = 0
    kept: list[float] = field(default_factory=list)

    def arrived(self) -> None:
        self.arrivals += 1

    def ran(self, seconds: float) -> None:
        self.kept.append(seconds)

    def finished(self, outcome: Outcome, seconds: float) -> None:
        self.seen.append((outcome, seconds))

    def counts(self) -> tuple[int, int]:
        outcomes = [outcome for outcome, _ in self.seen]
        return outcomes.count(Outcome.SUCCESS), outcomes.count(Outcome.ERROR)


class World:
    """An engine with its fakes, and the requests made so far."""

    def __init__(self, slots: int = 1, queue: int = 10) -> None:
        self.clock = FakeClock()
        self.generator = FakeGenerator(self.clock)
        self.observer = FakeObserver()
        self.engine = Engine(self.generator, self.clock, self.observer, Limits(slots, queue))

    def submit(self, *prompts: str, deadline: float = 1000) -> asyncio.Task[WorkflowResult]:
        steps = tuple(Step(f"s{index}", Prompt(prompt, 8)) for index, prompt in enumerate(prompts))
        return asyncio.create_task(self.engine.run(Workflow(prompts[0], steps, deadline)))


async def test_steps_run_in_order_and_times_add_up() -> None:
    world = World()
    task = world.submit("a:2", "b:3")
    await world.clock.pass_time(5)
    result = task.result()
    assert [(step.id, step.output.text) for step in result.steps] == [("s0", "A"), ("s1", "B")]
    assert (result.queued_seconds, result.duration_seconds) == (0, 5)
    assert world.observer.seen == [(Outcome.SUCCESS, 5)]


async def test_queue_is_served_first_come_first_served_and_never_overtaken() -> None:
    world = World(slots=2)
    tasks = [world.submit(f"{name}:10") for name in "abcde"]
    await settle()
    assert (world.engine.in_flight, world.engine.queue_length) == (2, 3)
    await world.clock.pass_time(10)
    late = world.submit("late:10")
    await world.clock.pass_time(30)
    assert world.generator.started == ["a", "b", "c", "d", "e", "late"]
    assert [task.result().queued_seconds for task in tasks] == [0, 0, 10, 10, 20]
    assert late.result().queued_seconds == 10
    assert world.generator.most_running == 2


async def test_newcomer_in_the_same_turn_as_a_release_does_not_overtake() -> None:
    world = World(slots=1)
    first, second = world.submit("first:1"), world.submit("second:1")
    await settle()
    first.add_done_callback(lambda _: world.submit("newcomer:1"))
    await world.clock.pass_time(3)
    assert world.generator.started == ["first", "second", "newcomer"]
    assert second.done()


@pytest.mark.parametrize(
    ("queue", "waiting", "ran_for", "retry_after"),
    [
        (0, 0, None, 1),  # nothing known yet: the guess of 1 s
        (4, 4, None, 5),
        (4, 4, 20, 15),  # one workflow of 20 s moved the mean from 1 to 2.9 s; five turns
        (100, 100, None, 30),  # never longer than the operator needs to help
    ],
)
async def test_full_queue_rejects_at_once_and_says_when_to_come_back(
    queue: int, waiting: int, ran_for: float | None, retry_after: int
) -> None:
    world = World(slots=1, queue=queue)
    if ran_for is not None:
        world.submit(f"before:{ran_for}")
        await world.clock.pass_time(ran_for)
    accepted = [world.submit("busy:500") for _ in range(1 + waiting)]
    await settle()
    with pytest.raises(QueueFullError) as caught:
        await world.submit("one too many")
    assert caught.value.retry_after_seconds == retry_after
    assert world.observer.seen[-1] == (Outcome.ERROR, 0.0)
    assert not any(task.done() for task in accepted)
    assert world.engine.queue_length == waiting


async def test_deadline_counts_the_time_in_the_queue_and_frees_the_place() -> None:
    world = World(slots=1)
    running, queued = world.submit("slow:60", deadline=30), world.submit("queued", deadline=10)
    await world.clock.pass_time(9.99)
    assert not queued.done()
    await world.clock.pass_time(0.01)
    assert isinstance(queued.exception(), DeadlineExceededError)
    assert (world.engine.in_flight, world.engine.queue_length) == (1, 0)
    await world.clock.pass_time(20)
    assert isinstance(running.exception(), DeadlineExceededError)
    assert (world.engine.in_flight, world.generator.running) == (0, 0)
    assert world.generator.started == ["slow"]
    assert world.observer.seen == [(Outcome.ERROR, 10), (Outcome.ERROR, 30)]


async def test_finished_workflow_leaves_no_timer_that_could_fire() -> None:
    world = World()
    task = world.submit("a:1", deadline=5)
    await world.clock.pass_time(1)
    assert task.result().duration_seconds == 1
    assert world.clock.timers
    assert all(timer.callback is None for _, _, timer in world.clock.timers)


async def test_caller_who_gives_up_in_a_slot_hands_it_to_the_next() -> None:
    world = World(slots=1)
    first, second = world.submit("first:100"), world.submit("second:1")
    await settle()
    first.cancel()
    await world.clock.pass_time(1)
    assert first.cancelled()
    assert second.result().duration_seconds == 1
    assert world.observer.seen == [(Outcome.ERROR, 0), (Outcome.SUCCESS, 1)]


async def test_caller_who_gives_up_in_the_queue_is_never_run() -> None:
    world = World(slots=1, queue=1)
    first, second = world.submit("first:1"), world.submit("second:1")
    await settle()
    second.cancel()
    await settle()
    assert world.engine.queue_length == 0
    third = world.submit("third:1")  # takes the place that became free
    await world.clock.pass_time(2)
    assert world.generator.started == ["first", "third"]
    assert (first.done(), third.done()) == (True, True)


@pytest.mark.parametrize("waiting_behind", [0, 1])
async def test_slot_handed_to_a_caller_who_gives_up_in_the_same_turn_is_not_lost(waiting_behind: int) -> None:
    slots = Slots(count=1, queue_limit=5)
    await slots.acquire()
    leaving = asyncio.create_task(slots.acquire())
    behind = [asyncio.create_task(slots.acquire()) for _ in range(waiting_behind)]
    await settle()
    slots.release()  # hands over to `leaving`, which gives up before it gets to run
    leaving.cancel()
    await settle()
    assert leaving.cancelled()
    assert all(task.done() for task in behind)
    assert (slots.busy, slots.waiting) == (waiting_behind, 0)


async def test_cancellation_by_the_caller_wins_over_a_deadline_in_the_same_turn() -> None:
    world = World()
    task = world.submit("a:100", deadline=10)
    await settle()

    def hang_up() -> None:
        task.cancel()

    world.clock.call_later(10, hang_up)  # due with the deadline, after it
    await world.clock.pass_time(10)
    assert task.cancelled()


@pytest.mark.parametrize(
    ("prompt", "error", "message"),
    [
        ("fail:1", StepFailedError, "Step 's1' failed: the model is not loaded"),
        ("crash:1", RuntimeError, "bug"),
    ],
)
async def test_failing_step_ends_the_workflow_and_frees_the_slot(
    prompt: str, error: type[Exception], message: str
) -> None:
    world = World()
    task = world.submit("ok:1", prompt, "never")
    await world.clock.pass_time(2)
    with pytest.raises(error, match=message):
        task.result()
    assert world.generator.started == ["ok", prompt.partition(":")[0]]
    assert world.engine.in_flight == 0
    assert world.observer.seen == [(Outcome.ERROR, 2)]


async def test_retiring_replica_still_takes_work() -> None:
    world = World()
    world.engine.retire()
    task = world.submit("a:1")
    await world.clock.pass_time(1)
    assert task.result().steps[0].output.text == "A"
    assert world.engine.phase is Phase.RETIRING


async def test_drain_finishes_running_and_queued_work_and_refuses_new() -> None:
    world = World(slots=1)
    tasks = [world.submit("a:4"), world.submit("b:4")]
    await settle()
    drain = asyncio.create_task(world.engine.drain(10))
    await settle()
    with pytest.raises(DrainingError):
        await world.submit("new")
    world.engine.retire()
    assert world.engine.phase.value == "Closed"  # never back
    await world.clock.pass_time(7.99)
    assert not drain.done()
    await world.clock.pass_time(0.01)
    assert drain.result() == 0
    assert all(task.result() for task in tasks)


async def test_drain_out_of_time_stops_the_rest_with_an_answer() -> None:
    world = World(slots=1)
    running, queued = world.submit("a:100"), world.submit("b:100")
    await settle()
    drain = asyncio.create_task(world.engine.drain(10))
    await world.clock.pass_time(10)
    assert drain.result() == 2
    assert isinstance(running.exception(), DrainingError)
    assert isinstance(queued.exception(), DrainingError)
    assert world.generator.running == 0


async def test_drain_of_an_idle_engine_returns_at_once() -> None:
    world = World()
    assert await world.engine.drain(10) == 0


def test_two_steps_with_one_id_are_refused_by_field() -> None:
    step = Step("a", Prompt("x", 1))
    with pytest.raises(InvalidWorkflowError) as caught:
        Workflow("w", (step, Step("b", Prompt("x", 1)), step), 1)
    assert caught.value.field == "steps[2].id"


Event = tuple[str, int]
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("submit"), st.integers(1, 9)),  # seconds of work
        st.tuples(st.just("cancel"), st.integers(0, 30)),  # which request
        st.tuples(st.just("cancel now"), st.integers(0, 30)),  # without letting anything else run first
        st.tuples(st.just("wait"), st.integers(1, 5)),  # seconds
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(events=EVENTS, slots=st.integers(1, 3), queue=st.integers(0, 4), deadline=st.integers(3, 40))
def test_nothing_is_lost_whatever_comes_and_goes(events: list[Event], slots: int, queue: int, deadline: int) -> None:
    asyncio.run(_play(events, slots, queue, deadline))


async def _play(events: list[Event], slots: int, queue: int, deadline: int) -> None:
    world = World(slots, queue)
    tasks: list[asyncio.Task[WorkflowResult]] = []
    for kind, number in events:
        if kind == "submit":
            tasks.append(world.submit(f"{len(tasks)}:{number}", deadline=deadline))
        elif kind == "wait":
            await world.clock.pass_time(number)
        elif tasks:
            tasks[number % len(tasks)].cancel()
        if kind != "cancel now":
            await settle()
        assert world.generator.running <= slots
        assert world.engine.queue_length <= queue
    drain = asyncio.create_task(world.engine.drain(1000))
    await world.clock.pass_time(1000)
    assert drain.done()
    assert all(task.done() for task in tasks)
    finished = rejected = late = cancelled = 0
    for task in tasks:
        if task.cancelled():
            cancelled += 1
        elif task.exception() is None:
            finished += 1
        else:
            rejected += isinstance(task.exception(), QueueFullError)
            late += isinstance(task.exception(), DeadlineExceededError)
    assert finished + rejected + late + cancelled == len(tasks)
    assert (world.engine.in_flight, world.engine.queue_length, world.generator.running) == (0, 0, 0)
    started_at = [world.generator.started_at[name] for name in sorted(world.generator.started, key=int)]
    assert started_at == sorted(started_at)  # nobody starts before somebody who came earlier
    # A task cancelled before its first step never reached the engine; everything else was counted exactly once.
    successes, errors = world.observer.counts()
    assert successes == finished
    assert rejected + late <= errors <= len(tasks) - finished


async def test_arrivals_and_the_time_in_a_slot_are_counted_apart_from_waiting() -> None:
    world = World(slots=1, queue=1)
    runs = [world.submit(f"p{index}") for index in range(3)]
    await world.clock.pass_time(100)
    await asyncio.gather(*runs, return_exceptions=True)
    assert world.observer.arrivals == 3
    assert len(world.observer.kept) == 2
    assert len(set(world.observer.kept)) == 1

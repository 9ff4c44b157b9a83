"""When a watch may start again, and that nothing else waits."""

import ssl

from aiohttp import web

from generation_operator.cluster.pace import Pace, paced_session


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def make(seconds: float = 1.0) -> tuple[Time, Pace]:
    time = Time()
    return time, Pace(seconds, clock=lambda: time.now, sleep=time.sleep)


async def test_the_first_turn_of_a_path_comes_at_once() -> None:
    time, pace = make()
    for path in ("/a", "/b", "/c"):
        await pace.turn(path)
    assert time.slept == []


async def test_a_path_that_comes_back_too_soon_waits_for_the_rest_of_the_pause() -> None:
    time, pace = make(2.0)
    await pace.turn("/a")
    time.now += 0.5
    await pace.turn("/a")
    await pace.turn("/a")
    assert time.slept == [1.5, 2.0]


async def test_a_path_that_lasted_long_enough_does_not_wait() -> None:
    time, pace = make()
    await pace.turn("/a")
    time.now += 1.0
    await pace.turn("/a")
    assert time.slept == []


async def test_only_watches_take_turns() -> None:
    time, pace = make()
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path_qs)
        return web.Response()

    application = web.Application()
    application.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        async with paced_session(ssl.create_default_context(), {"Authorization": "Bearer t"}, pace) as session:
            for path in ("/pods", "/pods", "/pods?watch=true", "/pods?watch=true&resourceVersion=7", "/pods"):
                async with session.get(f"http://127.0.0.1:{port}{path}") as response:
                    assert response.status == 200
    finally:
        await runner.cleanup()
    assert len(asked) == 5
    assert time.slept == [1.0]

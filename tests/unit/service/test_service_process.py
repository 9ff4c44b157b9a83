"""The real process: it starts, tells its port, drains on SIGTERM without losing an answer, and exits as promised."""

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

WAIT = {"Prefer": "wait=60"}
BODY = {"steps": [{"id": "a", "type": "generate", "inputs": {"prompt": "x"}}]}


def environment(**values: str) -> dict[str, str]:
    ours = {"HOST": "127.0.0.1", "PORT": "0", "LAME_DUCK_SECONDS": "0"} | values
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GENERATION_SERVICE_")}
    alone = {"DATABASE_URL": "memory:", "REDIS_URL": "memory:", "GENERATOR_URL": "built-in:"}
    return clean | alone | {f"GENERATION_SERVICE_{name}": value for name, value in ours.items()}


@asynccontextmanager
async def process(**values: str) -> AsyncIterator[asyncio.subprocess.Process]:
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "generation_service", env=environment(**values), stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(30):
            yield started
    finally:
        if started.returncode is None:
            started.kill()
        await started.communicate()


async def log_until(started: asyncio.subprocess.Process, pattern: str) -> re.Match[str]:
    assert started.stderr is not None
    seen = ""
    while line := (await started.stderr.readline()).decode():
        if match := re.search(pattern, line):
            return match
        seen += line
    raise AssertionError(f"{pattern!r} was never logged; the log is:\n{seen}")


async def status(session: aiohttp.ClientSession, url: str) -> int:
    async with session.post(f"{url}/v1/workflows", json=BODY, headers=WAIT) as response:
        await response.read()
        return response.status


async def until_accepted(session: aiohttp.ClientSession, url: str, count: int) -> None:
    while True:
        async with session.get(f"{url}/metrics") as response:
            gauges = re.findall(
                r"^generation_service_(?:queue_length|requests_in_flight) (\d+)", await response.text(), re.MULTILINE
            )
        if sum(map(int, gauges)) == count:
            return
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signal_lets_running_and_queued_requests_finish(number: signal.Signals) -> None:
    settings = {"SIMULATED_LATENCY_MILLISECONDS": "1000", "CONCURRENT_WORKFLOWS": "4"}
    async with process(**settings) as started, aiohttp.ClientSession() as session:
        url = (await log_until(started, r"http://[\w.:]+"))[0]
        requests = [asyncio.create_task(status(session, url)) for _ in range(8)]  # 4 run, 4 wait
        await until_accepted(session, url, 8)
        started.send_signal(number)
        await log_until(started, "draining: 4 running, 4 queued")
        with pytest.raises(aiohttp.ClientConnectorError):  # nobody listens any more
            async with aiohttp.ClientSession() as late:
                await status(late, url)
        assert await asyncio.gather(*requests) == [200] * 8
        assert await started.wait() == 0


async def test_lame_duck_is_not_ready_but_serves() -> None:
    async with process(LAME_DUCK_SECONDS="1") as started, aiohttp.ClientSession() as session:
        url = (await log_until(started, r"http://[\w.:]+"))[0]
        started.terminate()
        await log_until(started, "not ready any more")
        async with session.get(f"{url}/readyz") as ready:
            assert ready.status == 503
        assert await status(session, url) == 200
        assert await started.wait() == 0


async def test_drain_time_over_still_answers_and_exits_cleanly() -> None:
    settings = {"SIMULATED_LATENCY_MILLISECONDS": "60000", "WORKFLOW_DEADLINE_SECONDS": "60", "DRAIN_SECONDS": "0"}
    async with process(**settings) as started, aiohttp.ClientSession() as session:
        url = (await log_until(started, r"http://[\w.:]+"))[0]
        request = asyncio.create_task(status(session, url))
        await until_accepted(session, url, 1)
        started.terminate()
        assert await request == 503
        await log_until(started, "1 workflows were still unfinished")
        assert await started.wait() == 0


async def test_bad_setting_is_one_sentence_and_exit_code_2() -> None:
    async with process(PORT="eighty") as started:
        _, error = await started.communicate()
    assert started.returncode == 2
    assert error.decode().count("\n") == 1
    assert "GENERATION_SERVICE_PORT='eighty'" in error.decode()


async def test_busy_port_is_one_sentence_and_exit_code_1() -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        async with process(PORT=str(port)) as started:
            _, error = await started.communicate()
    assert started.returncode == 1
    assert "Traceback" not in error.decode()
    assert f"cannot listen on 127.0.0.1 port {port}" in error.decode()

"""Processes that stand in for fake pods: they come and go with the pods, and no request is lost on the way."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import aiohttp

from localcluster.processes import ProcessPods

BODY = {"steps": [{"id": "a", "type": "generate", "inputs": {"prompt": "x", "max_tokens": 4}}]}


class FakePods:
    """What kubectl would print."""

    def __init__(self, *names: str) -> None:
        self.names = list(names)

    def __call__(self) -> str:
        pods = [
            {
                "metadata": {"namespace": "default", "name": name},
                "status": {"phase": "Running"},
                "spec": {"containers": [{"env": [{"name": "GENERATION_SERVICE_LAME_DUCK_SECONDS", "value": "0"}]}]},
            }
            for name in self.names
        ]
        return json.dumps({"items": pods})


def announced(targets: Path) -> list[str]:
    """For which pods Prometheus has a target."""
    return sorted(file.stem for file in targets.glob("*.json"))


async def until(reached: Callable[[], bool], *, seconds: float = 20.0) -> None:
    deadline = asyncio.get_running_loop().time() + seconds
    while not reached():
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.05)


async def test_processes_follow_the_pods_and_answer_every_request(tmp_path: Path) -> None:
    pods = FakePods("a", "b")
    async with ProcessPods(pods, tmp_path).running() as stand_ins, aiohttp.ClientSession() as session:

        async def answers() -> int:
            async with session.post(
                f"{stand_ins.url}/v1/workflows", json=BODY, headers={"Prefer": "wait=60"}
            ) as response:
                await response.read()
                return response.status

        await until(lambda: stand_ins.ready == 2)
        assert announced(tmp_path) == ["a", "b"]
        first = [asyncio.create_task(answers()) for _ in range(20)]
        await asyncio.sleep(0.1)
        pods.names.remove("a")
        await until(lambda: stand_ins.ready == 1)
        assert await asyncio.gather(*first) == [200] * 20, "requests on the pod that went away are finished"
        assert await answers() == 200
    assert announced(tmp_path) == []

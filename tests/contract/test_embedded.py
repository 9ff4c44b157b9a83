"""The service without any configuration: its own servers and model, a first answer, and nothing left behind."""

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import psutil
import pytest
from redis.asyncio import Redis

from generation_service.adapters.clock import LoopClock
from generation_service.adapters.embedded import EmbeddedError
from generation_service.adapters.embedded.generator import start_embedded_generator
from generation_service.adapters.embedded.model import EmbeddedModel
from generation_service.adapters.embedded.valkey import EmbeddedValkey
from generation_service.adapters.generators.built_in import BuiltInGenerator

NAMES = ("DATABASE_URL", "REDIS_URL", "GENERATOR_URL", "GENERATOR_API_KEY")


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not tmp_path: as root Postgres runs as a user of its own, who may not enter pytest's folders.
    with tempfile.TemporaryDirectory(prefix="generation-embedded-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield Path(name)
        identity = Path(name) / "postgres" / "postmaster.pid"
        if identity.exists():  # of a service that was killed: it would go on by design, for the next one
            os.kill(int(identity.read_text().split()[0]), signal.SIGQUIT)


@asynccontextmanager
async def service(folder: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """`python -m generation_service` and its URL."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GENERATION_SERVICE_") and name not in NAMES
    }
    ours = {
        "GENERATION_SERVICE_DATA_DIRECTORY": str(folder),
        "GENERATION_SERVICE_HOST": "127.0.0.1",
        "GENERATION_SERVICE_PORT": "0",
        "GENERATION_SERVICE_LAME_DUCK_SECONDS": "0",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "generation_service", env=clean | ours, stderr=asyncio.subprocess.PIPE
    )
    try:
        assert process.stderr is not None
        said = ""
        async with asyncio.timeout(60):
            while "listens on " not in said:
                line = (await process.stderr.readline()).decode()
                assert line, said
                said += line
        yield process, said.rpartition("listens on ")[2].split('"')[0]
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.communicate()


def family(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


async def test_service_without_configuration_answers_and_keeps_its_workflows_over_a_restart(folder: Path) -> None:
    body = {"steps": [{"id": "a", "type": "generate", "inputs": {"prompt": "The sky is", "max_tokens": 4}}]}
    async with aiohttp.ClientSession() as session:
        async with service(folder) as (process, url):
            async with session.post(f"{url}/v1/workflows", json=body, headers={"Prefer": "wait=60"}) as response:
                first = await response.json()
                assert response.status == 200, first
            async with session.get(f"{url}/api/performance/status") as response:
                backends = (await response.json())["backends"]
            children = family(process.pid)
        assert backends == {
            "database": "embedded",
            "redis": "embedded",
            "generator": "local:SmolLM2-135M",
            "stand_ins": [],
        }
        assert first["steps"][0]["output"]["tokens"] == 4
        assert children
        _, alive = psutil.wait_procs(children, timeout=5)
        assert alive == [], "nothing is left behind"
        async with service(folder) as (_, url), session.get(f"{url}/v1/workflows/{first['id']}") as response:
            assert await response.json() == first


async def test_killed_service_leaves_neither_cache_nor_model_behind(folder: Path) -> None:
    async with service(folder) as (process, _):
        children = family(process.pid)
        assert len(children) >= 2
        process.kill()
        await process.wait()
        _, alive = await asyncio.to_thread(psutil.wait_procs, children, timeout=5)
    assert alive == []


async def test_model_that_dies_is_started_again_at_the_same_address() -> None:
    said: list[str] = []
    model = EmbeddedModel(said.append)
    url = await model.start()
    try:
        before = model.process_id
        assert before is not None
        os.kill(before, signal.SIGKILL)
        async with asyncio.timeout(30), aiohttp.ClientSession() as session:
            while True:
                await asyncio.sleep(0.1)
                if model.process_id == before:
                    continue
                try:
                    async with session.get(url.replace("/v1", "/health")) as response:
                        if response.status == 200:
                            break
                except aiohttp.ClientError:
                    continue
        assert any("started again" in line for line in said)
    finally:
        await model.stop()


async def test_without_the_models_package_the_built_in_generator_answers_and_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "path", [path for path in sys.path if "site-packages" not in path])
    monkeypatch.delitem(sys.modules, "xllamacpp", raising=False)
    built_in = BuiltInGenerator(LoopClock(), latency_seconds=0, jitter_percent=0, tokens=4)
    embedded = await start_embedded_generator(built_in, LoopClock(), lambda _line: None)
    assert embedded.generator is built_in
    assert embedded.stand_in is not None
    assert "xllamacpp is not installed" in embedded.stand_in
    await embedded.stop()


async def test_server_that_cannot_start_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("x" * 120)))  # longer than a socket's name may be
    (tmp_path / ("x" * 120)).mkdir()
    with pytest.raises(EmbeddedError, match="REDIS_URL"):
        await EmbeddedValkey(lambda _line: None).start()


async def test_embedded_cache_writes_nothing_to_the_disk() -> None:
    server = EmbeddedValkey(lambda _line: None)
    client = Redis.from_url(await server.start())
    try:
        found = await client.config_get("save", "appendonly", "maxmemory-policy")
    finally:
        await client.aclose()
        await server.stop()
    assert found == {"save": "", "appendonly": "no", "maxmemory-policy": "allkeys-lfu"}

"""The validation scripts against the real service: ours, and the performance guide's requests and comparisons."""

import asyncio
import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from contract.postgres_server import PostgresServer
from service.replicas import backend, replica, valkey

STRICT = Path(__file__).parents[2] / "scripts" / "performance-validation.sh"
# What the guide's script asks for and compares, key by key, with its defaults.
GUIDE = (
    ("/api/monitoring/metrics", ".metrics.workflow_execution_time // 0", "> 30"),
    ("/api/cache/status", ".statistics.hit_ratio // 0", "< 0.7"),
    ("/api/monitoring/metrics", ".metrics.memory_usage_mb // 0", "> 2048"),
    ("/api/monitoring/metrics", ".metrics.success_rate // 1", "< 0.95"),
)


@pytest.fixture
def socket() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="generation-test-") as folder:
        yield Path(folder) / "socket"


async def printed(*command: str, text: str | None = None) -> str:
    result = await asyncio.to_thread(subprocess.run, command, input=text, capture_output=True, text=True, check=True)
    return result.stdout.strip()


async def test_healthy_service_passes_the_strict_script_and_every_comparison_of_the_guide(
    postgres: PostgresServer, socket: Path
) -> None:
    async with (
        backend(latency_ms=50) as model,
        valkey(socket),
        replica(await postgres.fresh(), model.url, f"unix://{socket}") as only,
        aiohttp.ClientSession() as session,
    ):
        body = {"messages": [{"role": "user", "content": "popular"}], "max_tokens": 4}
        for _ in range(200):  # a service under load, whose questions repeat
            async with session.post(f"{only.url}/v1/chat/completions", json=body) as response:
                assert response.status == 200
        await asyncio.sleep(2)  # the first sample of memory
        strict = await asyncio.to_thread(
            subprocess.run, [str(STRICT), "--url", only.url, "--json"], capture_output=True, text=True, check=False
        )
        report = json.loads(strict.stdout)
        assert strict.returncode == 0, strict.stdout
        assert len(report["objectives"]) == 6
        for path, selector, bad in GUIDE:
            answer = await printed("curl", "-s", only.url + path)
            value = await printed("jq", "-r", selector, text=answer)
            assert await printed("bc", "-l", text=f"{value} {bad}\n") == "0", (selector, value)


async def test_service_whose_generator_fails_does_not_pass_the_strict_script(postgres: PostgresServer) -> None:
    async with backend(fail_rate=1, latency_ms=5) as model, replica(await postgres.fresh(), model.url) as only:
        strict = await asyncio.to_thread(
            subprocess.run, [str(STRICT), "--url", only.url, "--json"], capture_output=True, text=True, check=False
        )
    assert strict.returncode == 1
    assert json.loads(strict.stdout)["passed"] is False

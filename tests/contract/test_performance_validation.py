"""Our validation script, and the queries of the guide's, against a small service with our reports."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from generation_service.adapters.clock import LoopClock
from generation_service.domain.workflow import Outcome
from generation_service.performance import report
from generation_service.performance.activity import Activity
from generation_service.performance.collector import CacheCounts
from performance_fakes import sample

OURS = Path(__file__).parents[2] / "scripts" / "performance-validation.sh"

# The guide's script: its requests, filters, defaults and comparisons as they are, its messages shortened.
GUIDE = r"""
set -e
METRICS=$(curl -s http://localhost:8000/api/monitoring/metrics)
CACHE_STATUS=$(curl -s http://localhost:8000/api/cache/status)
PERFORMANCE_STATUS=$(curl -s http://localhost:8000/api/performance/status)
WORKFLOW_TIME=$(echo $METRICS | jq -r '.metrics.workflow_execution_time // 0')
if (( $(echo "$WORKFLOW_TIME > 30" | bc -l) )); then echo "BAD time"; else echo "OK time ${WORKFLOW_TIME}"; fi
CACHE_HIT_RATIO=$(echo $CACHE_STATUS | jq -r '.statistics.hit_ratio // 0')
if (( $(echo "$CACHE_HIT_RATIO < 0.7" | bc -l) )); then echo "BAD hits"; else echo "OK hits ${CACHE_HIT_RATIO}"; fi
MEMORY_MB=$(echo $METRICS | jq -r '.metrics.memory_usage_mb // 0')
if (( $(echo "$MEMORY_MB > 2048" | bc -l) )); then echo "BAD memory"; else echo "OK memory ${MEMORY_MB}"; fi
SUCCESS_RATE=$(echo $METRICS | jq -r '.metrics.success_rate // 1')
if (( $(echo "$SUCCESS_RATE < 0.95" | bc -l) )); then echo "BAD success"; else echo "OK success ${SUCCESS_RATE}"; fi
"""


class Service:
    """Just enough of the service; `broken` names what goes wrong."""

    def __init__(self, broken: str = "") -> None:
        self.broken = broken
        self.activity = Activity(LoopClock())
        self.counts = CacheCounts(lookups=20)
        self.running = self.most_running = 0
        self.seen: set[bytes] = set()

    async def workflows(self, request: web.Request) -> web.Response:
        assert request.headers["Prefer"].startswith("wait=")
        assert (await request.json())["steps"][0]["type"] == "generate"
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        await asyncio.sleep(0.5)
        self.running -= 1
        self.activity.finished(Outcome.SUCCESS, 0.5)
        failed = self.broken == "workflows" and self.running == 0
        return web.json_response({"status": "failed" if failed else "succeeded"})

    async def chat(self, request: web.Request) -> web.Response:
        body = await request.read()
        hit = body in self.seen and self.broken != "cache"
        self.seen.add(body)
        self.counts = CacheCounts(self.counts.lookups + 1, self.counts.l1_hits + hit)
        return web.Response(body=b"{}", headers={"X-Cache": "HIT-L1" if hit else "MISS"})

    async def metrics(self, _request: web.Request) -> web.Response:
        sampling = report.Sampling(sample(memory_mb=3000.0 if self.broken == "memory" else 120.0), 1.0, True, None)
        body: dict[str, Any] = dict(report.monitoring(sampling, self.activity.workflows(), self.activity.responses()))
        if self.broken == "missing key":
            del body["metrics"]["success_rate"]
        if self.broken == "text":
            body["metrics"]["memory_usage_mb"] = "12"
        return web.Response(body=orjson.dumps(body), status=500 if self.broken == "status 500" else 200)

    async def cache(self, _request: web.Request) -> web.Response:
        return web.json_response(report.cache_status(self.counts, {}, {}))

    async def status(self, _request: web.Request) -> web.Response:
        return web.json_response({})

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_post("/v1/workflows", self.workflows)
        app.router.add_post("/v1/chat/completions", self.chat)
        app.router.add_get("/api/monitoring/metrics", self.metrics)
        app.router.add_get("/api/cache/status", self.cache)
        app.router.add_get("/api/performance/status", self.status)
        async with TestServer(app) as server:
            yield str(server.make_url("")).rstrip("/")


async def run(*command: str) -> tuple[int, str, str]:
    for program in ("curl", "jq", "bc", "awk"):
        assert shutil.which(program), f"{program} is not installed; install it, the validation scripts need it"
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_all_six_objectives_pass_on_a_good_service() -> None:
    service = Service()
    async with service.serving() as url:
        code, out, err = await run(str(OURS), "--url", url, "--json")
    result = json.loads(out)
    assert [row["name"] for row in result["objectives"] if not row["passed"]] == [], err
    assert code == 0
    assert result["passed"] is True
    assert len(result["objectives"]) == 6
    assert service.most_running == 20
    assert all(isinstance(row["value"], int | float) for row in result["objectives"])


@pytest.mark.parametrize(
    ("broken", "failing"),
    [
        ("workflows", {"concurrent_workflows"}),
        ("cache", {"cached_response_p95", "cache_hit_ratio"}),
        ("memory", {"memory_usage"}),
        ("missing key", {"success_rate"}),
        ("text", {"memory_usage"}),
        ("status 500", {"workflow_execution_time", "memory_usage", "success_rate"}),
    ],
)
async def test_each_miss_fails_and_is_named(broken: str, failing: set[str]) -> None:
    async with Service(broken).serving() as url:
        code, out, _ = await run(str(OURS), "--url", url, "--json")
    result = json.loads(out)
    assert {row["name"] for row in result["objectives"] if not row["passed"]} == failing
    assert (code, result["passed"]) == (1, False)


async def test_service_that_is_not_there_fails_everything() -> None:
    code, out, _ = await run(str(OURS), "--url", "http://127.0.0.1:1", "--json")
    assert code == 1
    assert not any(row["passed"] for row in json.loads(out)["objectives"])


@pytest.mark.parametrize("arguments", [["--url"], ["--what"]])
async def test_wrong_use_is_told_apart_from_a_miss(arguments: list[str]) -> None:
    code, _, err = await run(str(OURS), *arguments)
    assert code == 2
    assert err


async def test_script_of_the_guide_works_unchanged() -> None:
    service = Service()
    service.activity.finished(Outcome.SUCCESS, 2.0)
    service.counts = CacheCounts(lookups=100, l1_hits=80)
    async with service.serving() as url:
        code, out, err = await run("bash", "-c", GUIDE.replace("http://localhost:8000", url))
    assert (code, err) == (0, "")
    assert out.splitlines() == ["OK time 2", "OK hits 0.8", "OK memory 120", "OK success 1"]


async def test_script_of_the_guide_takes_its_defaults_where_nothing_is_known() -> None:
    service = Service()
    service.counts = CacheCounts()
    async with service.serving() as url:
        code, out, err = await run("bash", "-c", GUIDE.replace("http://localhost:8000", url))
    assert (code, err) == (0, "")
    assert out.splitlines() == ["OK time 0", "BAD hits", "OK memory 120", "OK success 1"]

"""The operator's endpoints over real HTTP on loopback."""

import aiohttp
import pytest

from generation_operator.telemetry.serving import serving


async def get(port: int, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as response:
        return response.status, await response.text()


async def test_endpoints_say_what_they_are_told() -> None:
    problems: list[str | None] = [None, "no tick for 99 s"]
    serve = serving(
        0, alive=lambda: problems.pop(0), ready=lambda: "starting", metrics=lambda: b"up 1\n", host="127.0.0.1"
    )
    async with serve as port:
        assert await get(port, "/healthz") == (200, "ok\n")
        assert await get(port, "/healthz") == (503, "no tick for 99 s\n")
        assert await get(port, "/readyz") == (503, "starting\n")
        assert await get(port, "/metrics") == (200, "up 1\n")
        assert (await get(port, "/"))[0] == 404


async def test_a_port_that_is_taken_is_an_error() -> None:
    def fine() -> None:
        return None

    first = serving(0, alive=fine, ready=fine, metrics=bytes, host="127.0.0.1")
    async with first as port:
        with pytest.raises(OSError, match="in use"):
            async with serving(port, alive=fine, ready=fine, metrics=bytes, host="127.0.0.1"):
                pass

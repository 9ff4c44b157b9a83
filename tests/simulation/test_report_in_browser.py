"""The report as a browser shows it: a silent console, charts drawn, a hover that explains, both colour schemes."""

import asyncio
import json
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from generation_operator.simulate.outcome import Outcome
from generation_operator.simulate.report import render
from generation_operator.simulate.result import Note
from simulation.outcome_world import WHATEVER, make_outcome, said

NAMES = ("chromium", "chromium-browser", "google-chrome")
SECONDS = 60.0  # for anything; on a busy machine a browser takes ten to start
HOSTILE = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a browser's DevTools on the loopback interface."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"no browser: install one of {', '.join(NAMES)}")
    profile = tmp_path_factory.mktemp("profile")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    command = [program, *options, "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{_port(process, profile / 'DevToolsActivePort')}"
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def _port(process: "subprocess.Popen[bytes]", file: Path) -> int:
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            pytest.fail(f"the browser ended with {process.returncode}")
        lines = file.read_text().splitlines() if file.exists() else []
        if len(lines) == 2:
            return int(lines[0])
        time.sleep(0.05)
    pytest.fail("the browser did not open its DevTools")


@dataclass
class Tab:
    """One page, through the DevTools protocol."""

    socket: aiohttp.ClientWebSocketResponse
    complaints: list[str] = field(default_factory=list)
    asked_for: list[str] = field(default_factory=list)
    _seen: set[str] = field(default_factory=set)
    _last: int = 0

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._last += 1
        await self.socket.send_json({"id": self._last, "method": method, "params": parameters})
        while True:
            message = await self._receive()
            if message.get("id") == self._last:
                assert "error" not in message, message["error"]
                result: dict[str, Any] = message["result"]
                return result

    async def evaluate(self, expression: str) -> Any:
        answer = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def open(self, path: Path) -> None:
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.call(f"{domain}.enable")
        await self.resize(1280)
        await self.call("Page.navigate", url=path.as_uri())
        while "Page.loadEventFired" not in self._seen:
            await self._receive()

    async def resize(self, width: int) -> None:
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        await self.call("Emulation.setDeviceMetricsOverride", **metrics)

    async def point_at(self, selector: str, share: float) -> None:
        """Move the pointer over an element, at a share of its width."""
        box = await self.evaluate(
            f"(() => {{ const box = document.querySelector({json.dumps(selector)}).getBoundingClientRect();"
            " return [box.left, box.top, box.width, box.height]; })()"
        )
        left, top, width, height = box
        where = {"x": left + width * share, "y": top + height / 2}
        await self.call("Input.dispatchMouseEvent", type="mouseMoved", **where)

    async def _receive(self) -> dict[str, Any]:
        message: dict[str, Any] = await asyncio.wait_for(self.socket.receive_json(), SECONDS)
        method, parameters = message.get("method", ""), message.get("params", {})
        self._seen.add(method)
        if method in {"Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"}:
            self.complaints.append(json.dumps(parameters))
        if method == "Network.requestWillBeSent":
            self.asked_for.append(parameters["request"]["url"])
        return message


@asynccontextmanager
async def opened(browser: str, outcome: Outcome, folder: Path) -> AsyncIterator[Tab]:
    """A tab with the report of an outcome."""
    path = folder / "report.html"
    path.write_text(render(outcome), encoding="utf-8")
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(SECONDS)) as session:
        async with session.put(f"{browser}/json/new?about:blank") as answer:
            target = await answer.json()
        async with session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
            tab = Tab(socket)
            await tab.open(path)
            yield tab


async def count(tab: Tab, selector: str) -> int:
    found: int = await tab.evaluate(f"document.querySelectorAll({json.dumps(selector)}).length")
    return found


async def text(tab: Tab, selector: str) -> str:
    found: str = await tab.evaluate(f"document.querySelector({json.dumps(selector)}).textContent")
    return found


async def test_charts_are_drawn_without_a_complaint_or_a_request(browser: str, tmp_path: Path) -> None:
    async with opened(browser, make_outcome(), tmp_path) as tab:
        assert await count(tab, "#charts figure") == 4
        assert await count(tab, "#charts path.course") == 3 * 3  # replicas, queue and misses of three policies
        assert await count(tab, "#charts path.traffic") == 1
        assert await count(tab, "#front circle.spot") == sum(len(series.sweep) for series in make_outcome().series)
        assert await count(tab, "#front circle.ring") == 3
        drawn = await tab.evaluate("[...document.querySelectorAll('path')].map((path) => path.getAttribute('d'))")
        assert all(line and "NaN" not in line and "undefined" not in line for line in drawn)
        assert [url.split(":")[0] for url in tab.asked_for] == ["file"] + ["data"] * (len(tab.asked_for) - 1)
        assert tab.complaints == []


async def test_a_hover_shows_the_moment_and_what_was_decided(browser: str, tmp_path: Path) -> None:
    outcome = said(
        make_outcome(names=("Targets", "KPA")),
        Note(61.0, 2, "WithinRange", ("Demand: 2 -> 2 calm", "Bounds: 2 -> 2 within")),
        Note(210.0, 7, "HighLoad", ("Signals: 2 -> 2 all fresh", "Demand: 2 -> 7 a crowd came")),
    )
    async with opened(browser, outcome, tmp_path) as tab:
        await tab.point_at("#charts figure svg", 0.25)
        calm = await text(tab, "#moment")
        assert "Targets: 2, WithinRange" in calm
        assert "a crowd came" not in calm
        await tab.point_at("#charts figure:nth-child(2) svg", 0.9)
        busy = await text(tab, "#moment")
        assert "Targets: 7, HighLoad" in busy
        assert "Demand 2 → 7 a crowd came" in busy
        assert "Signals all fresh" in busy
        assert await count(tab, "#moment tbody tr") == 2
        assert await tab.evaluate("document.querySelector('.cursor').getAttribute('x1') > 500")
        assert tab.complaints == []


async def test_the_page_does_not_jump_however_much_is_said(browser: str, tmp_path: Path) -> None:
    long = tuple(f"Demand: 1 -> {count} {'because ' * 40}" for count in range(2, 30))
    outcome = said(make_outcome(), Note(61.0, 2, "WithinRange", ()), Note(300.0, 9, "HighLoad", long))
    async with opened(browser, outcome, tmp_path) as tab:
        heights = []
        for share in (0.3, 0.9):
            await tab.point_at("#charts figure svg", share)
            heights.append(await tab.evaluate("document.documentElement.scrollHeight"))
        assert "because" in await text(tab, "#moment")
        assert heights[0] == heights[1]


async def test_there_is_no_half_replica_on_an_axis_and_no_cost_twice(browser: str, tmp_path: Path) -> None:
    async with opened(browser, make_outcome(rate=0.0, seeds=1, sweep_seeds=1), tmp_path) as tab:
        labels = "[...document.querySelectorAll('%s')].map((label) => label.textContent)"
        assert await tab.evaluate(labels % "#charts figure:nth-child(2) text") == ["0", "1"]
        costs = await tab.evaluate(labels % "#front text[text-anchor=middle]")
        assert len(costs) == len(set(costs)) > 1


async def test_a_click_holds_the_moment_and_keys_move_it(browser: str, tmp_path: Path) -> None:
    async with opened(browser, make_outcome(), tmp_path) as tab:
        await tab.point_at("#charts figure svg", 0.5)
        await tab.evaluate("document.querySelector('#charts figure').click()")
        held = await text(tab, "#moment h3")
        assert "held" in held
        await tab.point_at("#charts figure svg", 0.8)
        assert await text(tab, "#moment h3") == held
        await tab.evaluate("document.querySelector('#charts').focus()")
        await tab.call("Input.dispatchKeyEvent", type="keyDown", key="End")
        assert (await text(tab, "#moment h3")).startswith("0:09:00")  # 600 s less a minute of warm-up
        await tab.call("Input.dispatchKeyEvent", type="keyDown", key="ArrowLeft")
        assert (await text(tab, "#moment h3")).startswith("0:08:5")


async def test_a_policy_can_be_hidden_and_shown(browser: str, tmp_path: Path) -> None:
    async with opened(browser, make_outcome(), tmp_path) as tab:
        for shown in (2, 3):
            await tab.evaluate("document.querySelector('#legend label:last-child input').click()")
            assert await count(tab, "#charts path.course") == 3 * shown
            assert await count(tab, "#front circle.ring") == shown
            assert await count(tab, "#moment tbody tr") == shown
        for index in range(3):
            await tab.evaluate(f"document.querySelectorAll('#legend input')[{index}].click()")
        assert await count(tab, "#charts path.course") == 0
        assert tab.complaints == []


async def test_hostile_names_are_only_shown(browser: str, tmp_path: Path) -> None:
    outcome = said(make_outcome(), Note(1.0, 3, HOSTILE, (HOSTILE, f"Demand: 1 -> 3 {HOSTILE}")))
    async with opened(browser, replace(outcome, trace=HOSTILE, notes=(HOSTILE,)), tmp_path) as tab:
        await tab.point_at("#charts figure svg", 0.5)
        assert await tab.evaluate("window.hacked === undefined")
        assert await text(tab, ".eyebrow b") == HOSTILE
        assert HOSTILE in await text(tab, "#moment")
        assert await count(tab, "img") == 0
        assert tab.complaints == []


@pytest.mark.parametrize("what", WHATEVER)
async def test_whatever_there_is_is_drawn_without_a_complaint(browser: str, tmp_path: Path, what: str) -> None:
    outcome = make_outcome(**WHATEVER[what])
    async with opened(browser, outcome, tmp_path) as tab:
        await tab.point_at("#charts figure svg", 0.5)
        assert await count(tab, "#charts path.course") == 3 * len(outcome.series)
        drawn = await tab.evaluate("document.querySelector('main').innerHTML")
        assert "NaN" not in drawn
        assert "undefined" not in drawn
        assert tab.complaints == []


async def test_it_is_dark_where_that_is_preferred_and_light_on_paper(browser: str, tmp_path: Path) -> None:
    async with opened(browser, make_outcome(), tmp_path) as tab:
        ink = "getComputedStyle(document.querySelector('h1')).color"
        light = await tab.evaluate(ink)
        dark = [{"name": "prefers-color-scheme", "value": "dark"}]
        await tab.call("Emulation.setEmulatedMedia", features=dark)
        assert await tab.evaluate(ink) != light
        await tab.call("Emulation.setEmulatedMedia", media="print", features=dark)
        assert await tab.evaluate(ink) == light


@pytest.mark.parametrize("width", [390, 800, 1600])
async def test_nothing_is_cut_off_at_any_width(browser: str, tmp_path: Path, width: int) -> None:
    async with opened(browser, make_outcome(), tmp_path) as tab:
        await tab.resize(width)
        await tab.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        assert await tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert await count(tab, "#charts path.course") == 9
        assert tab.complaints == []

"""Server-sent events of a workflow: what was missed, then what comes, until it ends or this replica must go."""

import asyncio
from typing import Final

from aiohttp import web

from generation_service.adapters.http.wire import encode_event
from generation_service.engine.engine import Engine
from generation_service.engine.notices import LONGEST_SILENCE_SECONDS

# Proxies and load balancers cut streams that are silent for 60 s.
HEARTBEAT_SECONDS: Final = 15.0
MOST_EVENTS: Final = 500  # at once
# no-transform and X-Accel-Buffering keep proxies from collecting events until a buffer is full.
STREAM_HEADERS: Final = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache, no-store, no-transform",
    "X-Accel-Buffering": "no",
}
RESUME: Final = b"event: resume\nretry: 1000\ndata: {}\n\n"


async def follow(request: web.Request, engine: Engine, workflow_id: str, after: int) -> web.StreamResponse:
    """Send events with numbers above `after`.

    The last event of a stream is a terminal `workflow.…`, or `resume`: connect again with `Last-Event-ID`.
    """
    response = web.StreamResponse(headers=STREAM_HEADERS)
    await response.prepare(request)
    loop = asyncio.get_running_loop()
    spoke = loop.time()
    with engine.notices.bell(workflow_id) as bell:
        while True:
            events = await engine.store.events(workflow_id, after, MOST_EVENTS)
            if events:
                await response.write(b"".join(map(encode_event, events)))
                after = events[-1].number
                spoke = loop.time()
            if len(events) < MOST_EVENTS:
                record = await engine.store.get(workflow_id)
                if record is None or (record.status.terminal and not await _more(engine, workflow_id, after)):
                    break
                if engine.leaving:
                    await response.write(RESUME)
                    break
                if loop.time() - spoke >= HEARTBEAT_SECONDS:
                    await response.write(b": alive\n\n")
                    spoke = loop.time()
                left = spoke + HEARTBEAT_SECONDS - loop.time()
                await bell.wait(max(0.05, min(left, LONGEST_SILENCE_SECONDS)))
    await response.write_eof()
    return response


async def _more(engine: Engine, workflow_id: str, after: int) -> bool:
    """Whether the end itself is still to be sent: it may have come between the two looks."""
    return bool(await engine.store.events(workflow_id, after, 1))

"""The decision log: a stable schema, a line only when there is something new, and never a reason not to scale."""

import io
import json

from autoscaler_world import BUSY, A, World
from builders import make_service
from generation_operator.loops.autoscaler import Autoscaler
from generation_operator.loops.witness import Nobody
from generation_operator.telemetry.decisions import SCHEMA, DecisionLog, Logged


def logging_to(world: World, stream: io.StringIO) -> None:
    world.autoscaler = Autoscaler(
        world.cluster,
        world.store,
        world.metrics,
        world.queued.append,
        removal=world.removal,
        clock=lambda: world.now,
        prometheus_default_url=None,
        tick_seconds=15,
        witness=Logged(Nobody(), DecisionLog(stream)),
    )


async def test_one_line_for_each_decision_that_brought_something_new() -> None:
    world, stream = World(make_service("a")), io.StringIO()
    logging_to(world, stream)
    await world.tick()
    await world.tick()
    await world.tick()
    calm = len(stream.getvalue().splitlines())
    world.metrics.values[A] = BUSY
    await world.tick()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert calm < 3
    assert len(lines) == calm + 1
    assert (lines[-1]["current"], lines[-1]["desired"], lines[-1]["written"]) == (5, 7, True)


async def test_the_schema_is_stable() -> None:
    world, stream = World(make_service("a")), io.StringIO()
    logging_to(world, stream)
    world.metrics.values[A] = BUSY
    await world.tick()
    [line] = stream.getvalue().splitlines()
    entry = json.loads(line)
    assert list(entry) == [
        "schema", "id", "at", "namespace", "service", "policy", "mode", "current", "desired", "ready", "written",
        "writeError", "valid", "binder", "limitedBy", "reason", "message", "guard", "signals", "stages",
    ]  # fmt: skip
    assert entry["schema"] == SCHEMA == "generation.dev/decision/v1"
    assert (entry["namespace"], entry["service"], entry["policy"], entry["mode"]) == ("default", "a", "Score", "Active")
    assert (entry["reason"], entry["binder"], entry["limitedBy"]) == ("HighLoad", "Score", None)
    assert set(entry["signals"][0]) == {"name", "state", "value", "age"}
    assert set(entry["stages"][0]) == {"stage", "before", "after", "text"}


class Full(io.StringIO):
    def write(self, _: str) -> int:
        raise OSError(28, "No space left on device")


async def test_a_log_that_cannot_be_written_keeps_nobody_from_scaling() -> None:
    world = World(make_service("a"))
    logging_to(world, Full())
    world.metrics.values[A] = BUSY
    await world.tick()
    assert world.replicas() == 7

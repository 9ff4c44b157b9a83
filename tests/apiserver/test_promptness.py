"""What is promised in seconds, as the API server's audit log and the decision log tell it.

Both are stamped on this machine, so what kubectl takes to start and to look is not in the figures. On two busy cores
0.2 to 0.4 s of the 2 s and 0.04 to 0.35 s of the 1 s were seen. Such a machine may be late once, but whatever in the
operator could take so long (a tick, a resync, a back-off, a watch that is opened again) would come every time; so one
measurement that is late does not count.
"""

import json
import re
import statistics
from functools import partial
from typing import Any, Final

import audit
from api_fixtures import Api, Object, Operator, eventually, service
from ownership_world import FAST, deployment_replicas, operator_writes, ready

_CHILDREN_SECONDS: Final = 2.0
_CHILDREN: Final = {
    "deployments/NAME",
    "deployments/NAME-proxy",
    "services/NAME",
    "services/NAME-headless",
    "services/NAME-proxy",
    "horizontalpodautoscalers/NAME",
    "poddisruptionbudgets/NAME",
    "serviceaccounts/NAME-service",
    "configmaps/NAME-proxy-HASH",
}
_STEP_SECONDS: Final = 1.0
# The next tick would be later than a second, so that an operator that writes what the last tick decided is found.
_TICK_SECONDS: Final = 3


def test_children_exist_within_two_seconds_of_the_resource(api: Api, operator: Operator) -> None:
    operator.start()
    eventually(operator.read_log, lambda log: "watching" in log, what="it watches")
    delays: list[float] = []
    for name in ("first", "second", "third"):  # the quickest counts
        api.apply(service(name))
        eventually(partial(ready, api, name), bool, seconds=60, what="Ready")
        delays.append(_seconds_until_all_children(api, name))
        if delays[-1] < _CHILDREN_SECONDS:
            return
    raise AssertionError(f"seconds until all children existed: {delays}")


def _seconds_until_all_children(api: Api, name: str) -> float:
    """From the answer to `kubectl apply` to the answer to the last request that made a child."""
    [applied] = [entry for entry in audit.writes(api) if audit.concerns(entry, "generationservices", name)
                 and entry["userAgent"].startswith("kubectl")]  # fmt: skip
    made: dict[str, float] = {}
    for entry in operator_writes(api):
        what = entry["objectRef"]
        child = re.sub(r"-proxy-[0-9a-f]+$", "-proxy-HASH", f"{what['resource']}/{what['name']}").replace(name, "NAME")
        if child in _CHILDREN and entry["responseStatus"]["code"] == 201:
            made[child] = audit.answered_at(entry)
    assert set(made) == _CHILDREN
    return max(made.values()) - audit.answered_at(applied)


def test_replicas_change_within_a_second_of_the_decision(api: Api, operator: Operator) -> None:
    for setting in ("TICK", "LOAD"):  # it decides whenever it has looked at one or the other
        operator.settings[f"GENERATION_OPERATOR_{setting}_SECONDS"] = str(_TICK_SECONDS)
    operator.start()
    api.apply(service("stepped", **FAST))
    eventually(lambda: ready(api, "stepped"), bool, seconds=60, what="Ready")
    steps = (6, 3, 7, 4, 8, 2)  # three up and three down
    for replicas in steps:
        step(api, "stepped", replicas)
    found = audit.moves(audit.writes(api), "stepped", first=2)
    decided = eventually(lambda: _written_decisions(operator), lambda told: len(told) >= len(found), what="the log")
    assert [(move.before, move.after) for move in found] == [(told["current"], told["desired"]) for told in decided]
    assert not [move for move in found if move.by_hpa]
    up, down = _delays(found, decided, up=True), _delays(found, decided, up=False)
    assert (len(up), len(down)) == (3, 3)
    # Of three the one in the middle: `at` is when the tick began, so it includes the look at Prometheus.
    assert statistics.median(up) < _STEP_SECONDS, up
    assert statistics.median(down) < _STEP_SECONDS, down


def step(api: Api, name: str, replicas: int) -> None:
    """Ask for so many and wait until they are written."""
    override = {"replicas": replicas, "until": "2099-01-01T00:00:00Z"}
    patch = {"spec": {"scaling": {"override": override}}}
    api.kubectl("patch", f"gensvc/{name}", "--type=merge", "--patch", json.dumps(patch))
    eventually(partial(deployment_replicas, api, name), lambda count: count == replicas, what=str(replicas))


def _written_decisions(operator: Operator) -> list[Object]:
    lines: list[dict[str, Any]] = [
        json.loads(line) for line in operator.read_log().splitlines() if line.startswith('{"schema":')
    ]
    return [line for line in lines if line["written"]]


def _delays(found: list[audit.Move], decided: list[Object], *, up: bool) -> list[float]:
    """Seconds from each decision that raises, or lowers, to the API server's answer to the write."""
    pairs = zip(found, decided, strict=True)
    return [move.at - told["at"] for move, told in pairs if (move.after > move.before) == up]

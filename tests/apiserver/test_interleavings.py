"""Operator, real HPA controller, restarts and changing loads at random: they never pull in opposite directions.

What both wrote is read from the API server's audit log, so nothing between two looks can be missed. CPU is a total that
the pods share, as it would be: fewer pods are busier ones. The HPA's window for scaling up is a minute, so the run has
to be somewhat longer than that for the guard to have its say.
"""

import itertools
import random
import signal
import time
from collections.abc import Callable

from api_fixtures import Api, Operator, eventually, service
from audit_log import Move, moves, written
from exporter import HIGH, LOW, Exporter
from ownership_world import FAST, ready

SEED = 20_260_101
LONGEST = 150  # seconds until the guard raises
REQUEST_MILLICORES = 100
TARGET_PERCENT = 70
# CPU is sampled every 10 s over the time since, and the HPA looks once a second: what changed less than this long ago
# the operator could not know of.
NEWS_SECONDS = 25


def conflicts(found: list[Move], news: list[float]) -> list[str]:
    """Where the guard raised what the operator had just lowered, although nothing new had happened."""
    problems = [
        f"the guard lowered {move.before} -> {move.after}" for move in found if move.by_hpa and move.after < move.before
    ]
    for lowered, raised in itertools.pairwise(found):
        opposite = (
            lowered.after < lowered.before and not lowered.by_hpa and raised.by_hpa and raised.after > raised.before
        )
        if opposite and not any(lowered.at - NEWS_SECONDS < at < raised.at for at in news):
            problems.append(f"lowered {lowered.before} -> {lowered.after}, then the guard raised to {raised.after}")
    return problems


class Load:
    """The CPU of all pods of a service, shared by those that there are."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._selector = "app.kubernetes.io/component=service"
        self.total = 0
        self.changed_at: list[float] = []

    def set(self, total: int) -> None:
        """Another total, in millicores."""
        self.total = total
        self.changed_at.append(time.time())

    def share(self) -> list[str]:
        """Spread it over the pods of now; returns their names."""
        pods = [item["metadata"]["name"] for item in self._api.items("pods", self._selector)]
        each = f"kwok.x-k8s.io/usage-cpu={self.total // max(1, len(pods))}m"
        self._api.kubectl("annotate", "pods", f"--selector={self._selector}", "--overwrite", each)
        return pods


def test_operator_and_guard_never_pull_in_opposite_directions(api: Api, operator: Operator) -> None:
    draw = random.Random(SEED)
    operator.start()
    api.apply(service("tugged", **FAST))
    eventually(lambda: ready(api, "tugged"), bool, what="Ready", seconds=60)
    load = Load(api)
    load.set(6 * REQUEST_MILLICORES * TARGET_PERCENT // 100)  # six replicas' worth
    exporter = Exporter(api.cluster.plan, api.namespace, "tugged")

    def play(*, until: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not until():
            exporter.announce(load.share())
            exporter.set(draw.choice((LOW, LOW, LOW, HIGH)))
            if draw.random() < 0.1:
                operator.stop(draw.choice((signal.SIGKILL, signal.SIGTERM)))
                time.sleep(draw.uniform(0, 2))
                operator.start()
            time.sleep(draw.uniform(0.2, 3))

    with exporter.serving(load.share(), LOW):
        play(until=lambda: any(move.by_hpa for move in moves(written(api), "tugged", first=2)), seconds=LONGEST)
        play(until=lambda: False, seconds=10)
        load.set(3 * REQUEST_MILLICORES * TARGET_PERCENT // 100)
        play(until=lambda: False, seconds=40)
        exporter.set(LOW)
        eventually(lambda: len(load.share()), lambda count: count <= 4, seconds=60, what="the load is gone")
    found = moves(written(api), "tugged", first=2)
    print(found)  # noqa: T201 (shown by pytest when the test failed)
    assert conflicts(found, load.changed_at) == []
    assert any(move.by_hpa and move.after > move.before for move in found), "the guard had its say"
    assert any(not move.by_hpa and move.after < move.before for move in found), "and so had the operator"


def test_a_conflict_would_be_found() -> None:
    """The judge itself."""
    lowered, raised = Move(100.0, by_hpa=False, before=5, after=4), Move(101.0, by_hpa=True, before=4, after=5)
    assert len(conflicts([lowered, raised], news=[])) == 1
    assert conflicts([lowered, raised], news=[90.0]) == []
    assert conflicts([raised, lowered], news=[]) == []
    assert len(conflicts([Move(1.0, by_hpa=True, before=5, after=4)], news=[])) == 1

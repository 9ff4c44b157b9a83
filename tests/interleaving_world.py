"""Play operator, real HPA controller, restarts and changing loads at random, and judge what both wrote.

It is read from the API server's audit log, so nothing between two looks can be missed. CPU is a total that the pods
share, as it would be: fewer pods are busier ones.
"""

import itertools
import random
import signal
import time
from collections.abc import Callable

import audit
from api_fixtures import Api, Object, Operator, eventually, service
from exporter import HIGH, LOW, Exporter
from ownership_world import FAST, ready

_REQUEST_MILLICORES = 100
_TARGET_PERCENT = 70
# A sample may be off by 1 %, and the HPA rounds up: exactly three replicas' worth are three or four.
_LESS_MILLICORES = 15
# CPU is sampled every 10 s over the time since, and another 4 s pass until a sample is served and looked at: what
# changed less than this long, and one sync of the HPA, ago the operator could not know of.
_SAMPLED_SECONDS = 24.0
# Without the minute for which a need must have lasted, the guard raises at the first sync that sees it: what it would
# take back it takes back for sure, and the run takes a minute or two less.
_RAISES_AT_ONCE: Object = {"behavior": {"scaleUp": {"stabilizationWindowSeconds": 0}}}
# Until the guard has raised: at its second sync at the latest after the first samples, which take up to 30 s.
_LONGEST_SECONDS = 90.0


def conflicts(found: list[audit.Move], news: list[float], *, sync_seconds: float) -> list[str]:
    """Where the guard raised what the operator had just lowered, although nothing new had happened.

    Args:
        found: what was written.
        news: when the load became another one, Unix seconds.
        sync_seconds: from one look of the HPA controller to the next.
    """
    old = _SAMPLED_SECONDS + sync_seconds
    problems = [
        f"the guard lowered {move.before} -> {move.after}" for move in found if move.by_hpa and move.after < move.before
    ]
    for lowered, raised in itertools.pairwise(found):
        opposite = (
            lowered.after < lowered.before and not lowered.by_hpa and raised.by_hpa and raised.after > raised.before
        )
        if opposite and not any(lowered.at - old < at < raised.at for at in news):
            problems.append(f"lowered {lowered.before} -> {lowered.after}, then the guard raised to {raised.after}")
    return problems


class CpuLoad:
    """The CPU of all pods of a service, shared by those that there are."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._selector = "app.kubernetes.io/component=service"
        self._total = 0  # millicores
        self.changed_at: list[float] = []

    def set(self, *, replicas: int) -> None:
        """From now on as much as keeps so many replicas at the HPA's target."""
        self._total = replicas * _REQUEST_MILLICORES * _TARGET_PERCENT // 100 - _LESS_MILLICORES
        self.changed_at.append(time.time())

    def share(self) -> list[str]:
        """Spread it over the pods of now; returns their names."""
        pods = [item["metadata"]["name"] for item in self._api.items("pods", self._selector)]
        each = f"kwok.x-k8s.io/usage-cpu={self._total // max(1, len(pods))}m"
        self._api.kubectl("annotate", "pods", f"--selector={self._selector}", "--overwrite", each)
        return pods


def assert_never_opposite_directions(api: Api, operator: Operator, *, seed: int, sync_seconds: float) -> None:
    """Load for six replicas, of which the operator knows nothing until the guard raises; then load for three.

    All the while Prometheus says one thing or the other, and the operator is killed or ended now and then.

    Args:
        api: a namespace of one's own.
        operator: not started yet.
        seed: of everything that is random.
        sync_seconds: from one look of the HPA controller to the next.
    """
    name, draw = "tugged", random.Random(seed)
    operator.start()
    api.apply(service(name, **FAST, horizontalPodAutoscaler=_RAISES_AT_ONCE))
    eventually(lambda: ready(api, name), bool, what="Ready", seconds=60)
    load = CpuLoad(api)
    load.set(replicas=6)
    exporter = Exporter(api.cluster.plan, api.namespace, name)

    def share() -> int:
        """Tell Prometheus and the HPA of the pods of now; returns how many there are."""
        pods = load.share()
        exporter.announce(pods)
        return len(pods)

    def play(*, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not until():
            share()
            exporter.set(draw.choice((LOW, LOW, LOW, HIGH)))
            if draw.random() < 0.1:
                operator.stop(draw.choice((signal.SIGKILL, signal.SIGTERM)))
                time.sleep(draw.uniform(0, 2))
                operator.start()
            time.sleep(draw.uniform(0.2, 3))

    def raised() -> bool:
        """The guard had a say, and there is enough that the operator can lower."""
        found = audit.moves(audit.writes(api), name, first=2)
        return any(move.by_hpa for move in found) and found[-1].after >= 5

    with exporter.serving(load.share(), LOW):
        play(until=raised, seconds=_LONGEST_SECONDS)
        play(seconds=10)
        load.set(replicas=3)
        play(seconds=25)
        exporter.set(LOW)
        # The need of before counts for a minute, from the last restart on; then come three steps.
        eventually(share, lambda count: count == 3, seconds=120, what="the load is gone")
        # Soon after a step down the HPA's mean is still one with more replicas.
        operator.stop(signal.SIGKILL)
        operator.start()
        play(seconds=25)
    found = audit.moves(audit.writes(api), name, first=2)
    print(found)  # noqa: T201 (shown by pytest when the test failed)
    assert conflicts(found, load.changed_at, sync_seconds=sync_seconds) == []
    assert any(move.by_hpa and move.after > move.before for move in found), "the guard had its say"
    assert any(not move.by_hpa and move.after < move.before for move in found), "and so had the operator"

"""Operator, real HPA controller, restarts and changing loads at random: they never pull in opposite directions.

With the HPA controller's own timing the same is played in test_default_hpa_timing.py.
"""

import signal

from api_fixtures import Api, Object, Operator, eventually, service
from audit import Move, moves, writes
from exporter import LOW, Exporter
from interleaving_world import CpuLoad, assert_never_opposite_directions, conflicts
from ownership_world import FAST

SEED = 20_260_101
SYNC = 1.0


def test_operator_and_guard_never_pull_in_opposite_directions(api: Api, operator: Operator) -> None:
    assert_never_opposite_directions(api, operator, seed=SEED, sync_seconds=SYNC)


def test_a_restart_does_not_lower_by_a_mean_over_more_replicas(api: Api, operator: Operator) -> None:
    """Three pods at the third that six had shared look as if two were enough, until they are sampled anew."""
    name, load = "lagging", CpuLoad(api)

    def asked(replicas: int) -> Object:
        return service(name, **FAST, override={"replicas": replicas, "until": "2099-01-01T00:00:00Z"})

    def seen_by_hpa() -> tuple[int, int]:
        """How many replicas, and their mean use in %."""
        status = api.get("hpa", name)["status"]
        [metric] = status.get("currentMetrics") or [{}]
        return status["currentReplicas"], metric.get("resource", {}).get("current", {}).get("averageUtilization", -1)

    operator.start()
    api.apply(asked(6))
    load.set(replicas=3)
    eventually(lambda: len(load.share()), lambda count: count == 6, seconds=60, what="six pods")
    pods = load.share()
    with Exporter(api.cluster.plan, api.namespace, name).serving(pods, LOW):
        eventually(seen_by_hpa, lambda seen: seen[0] == 6 and 30 <= seen[1] <= 35, seconds=90, what="the mean")
        eventually(lambda: told(api, name)["guard"].get("replicas"), lambda need: need == 3, what="the need")
        api.apply(asked(3))
        # From here on nobody tells the pods that they share with fewer: on real nodes it takes up to half a minute
        # until a mean says so.
        eventually(lambda: seen_by_hpa()[0], lambda replicas: replicas == 3, what="three replicas")
        operator.stop(signal.SIGKILL)
        api.apply(service(name, **FAST))
        operator.start()
        eventually(
            lambda: told(api, name)["lastDecision"]["reason"],
            lambda reason: reason in {"GuardNeed", "LowLoad"},
            seconds=40,
            what="it would lower",
        )
        assert seen_by_hpa()[1] <= 35, "else two would not have looked like enough"
    assert [(move.before, move.after) for move in moves(writes(api), name, first=2)] == [(2, 6), (6, 3)]


def told(api: Api, name: str) -> Object:
    """What the status says about scaling."""
    return dict(api.get("gensvc", name)["status"]["autoscaling"])


def test_a_conflict_would_be_found() -> None:
    """The judge itself."""
    lowered, raised = Move(100.0, by_hpa=False, before=5, after=4), Move(101.0, by_hpa=True, before=4, after=5)
    assert len(conflicts([lowered, raised], news=[], sync_seconds=SYNC)) == 1
    assert conflicts([lowered, raised], news=[90.0], sync_seconds=SYNC) == []
    assert conflicts([raised, lowered], news=[], sync_seconds=SYNC) == []
    assert len(conflicts([Move(1.0, by_hpa=True, before=5, after=4)], news=[], sync_seconds=SYNC)) == 1

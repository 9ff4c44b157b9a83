"""An API server, or a network, that fails: the operator waits, does not hammer, and gets everything right afterwards.

The fault lasts while a spec changes and a resource appears, so that there is work that fails.
"""

import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from api_fixtures import Api, Operator, eventually, service
from fault_proxy import Call, Cut, Fault, FaultProxy, Outcome, Refuse, Slow

_PARTITION_SECONDS: Final = 30.0  # three of the four tries of a request, and every watch that is opened
_CONVERGED_SECONDS: Final = 30.0  # after the fault's end
# Two resources of ten children each, four tries per request, and eight watches that come back each second: whoever
# loops without a pause makes thousands.
_MOST_CALLS_PER_SECOND: Final = 60.0


def on_writes(outcome: Outcome) -> Fault:
    return lambda call: outcome if call.writes else None


def on_everything(outcome: Outcome) -> Fault:
    return lambda _: outcome


def on_requests(outcome: Outcome) -> Fault:
    return lambda call: None if call.watch else outcome


class EverySecond:
    """Half of the writes fail, in turns."""

    def __init__(self, outcome: Outcome) -> None:
        self._outcome = outcome
        self._count = 0

    def __call__(self, call: Call) -> Outcome | None:
        self._count += call.writes
        return self._outcome if call.writes and self._count % 2 else None


class FromTheFirstWrite:
    """Begins when the operator begins to write: whom no watch event reaches any more has nothing to try."""

    def __init__(self, outcome: Outcome) -> None:
        self._outcome = outcome
        self._begun = False

    def __call__(self, call: Call) -> Outcome | None:
        self._begun = self._begun or call.writes
        return self._outcome if self._begun else None


FAULTS: Final[dict[str, tuple[Fault, float]]] = {
    "conflict on every write": (on_writes(Refuse(409)), 4),
    "conflict on every second write": (EverySecond(Refuse(409)), 4),
    "too many requests": (on_everything(Refuse(429, retry_after=1)), 4),
    "internal error": (on_everything(Refuse(500)), 4),
    "unavailable": (on_everything(Refuse(503)), 4),
    "request lost": (on_everything(Cut.BEFORE), 4),
    "answer lost": (on_everything(Cut.AFTER), 4),
    "every second answer lost": (EverySecond(Cut.AFTER), 4),
    "slow": (on_requests(Slow(2.0)), 6),
    "partition": (FromTheFirstWrite(Cut.SILENT), _PARTITION_SECONDS),
}


@pytest.fixture
def proxy(api: Api, operator: Operator, tmp_path: Path) -> Iterator[FaultProxy]:
    with FaultProxy(api.cluster.kubeconfig, tmp_path).running() as proxy:
        operator.settings["GENERATION_OPERATOR_KUBECONFIG"] = str(proxy.kubeconfig)
        operator.start()
        api.apply(service("old"))
        eventually(lambda: settled(api, "old"), bool, what="Ready before the fault")
        yield proxy


def settled(api: Api, name: str) -> bool:
    """Whether the operator has said Ready about the newest generation."""
    found = api.find("gensvc", name) or {}
    ready = api.condition(name, "Ready")
    return bool(ready.get("status") == "True" and ready["observedGeneration"] == found["metadata"]["generation"])


def assert_alive(operator: Operator) -> None:
    assert operator.process is not None
    assert operator.process.poll() is None, "the operator ended"


def change_both(api: Api) -> None:
    """Work for the operator: a spec that changes every Deployment, and a resource that is new."""
    changed = service("old", minReplicas=3)
    changed["spec"]["port"] = 8123
    api.apply(changed)
    api.apply(service("new"))


def await_both(api: Api) -> None:
    deadline = time.monotonic() + _CONVERGED_SECONDS
    for name in ("old", "new"):
        eventually(partial(settled, api, name), bool, seconds=deadline - time.monotonic(), what=f"{name} settled")
    template = api.get("deployment", "old")["spec"]["template"]["spec"]
    assert template["containers"][0]["ports"][0]["containerPort"] == 8123
    assert api.get("hpa", "old")["spec"]["minReplicas"] == 3
    for name in ("old", "new"):
        for kind, child in (("service", name), ("service", f"{name}-headless"), ("deployment", f"{name}-proxy")):
            assert api.find(kind, child) is not None
        maps = [item for item in api.items("configmap") if item["metadata"]["name"].startswith(f"{name}-proxy-")]
        assert len(maps) <= 2, "at most the configuration in use and the one that is being replaced"
    assert api.get("deployment", "new")["spec"]["replicas"] == 2


@pytest.mark.parametrize("name", list(FAULTS))
def test_operator_converges_after_the_fault_and_does_not_hammer_meanwhile(
    api: Api, operator: Operator, proxy: FaultProxy, name: str
) -> None:
    fault, seconds = FAULTS[name]
    first = len(proxy.calls)
    began = time.monotonic()
    with proxy.failing(fault):
        change_both(api)
        time.sleep(seconds)
        lasted = time.monotonic() - began
    during = proxy.calls[first:]
    assert during, "nothing was tried, so that the fault proved nothing"
    most = Counter(f"{call.method} {call.path}" for call in during).most_common(5)
    assert len(during) / lasted < _MOST_CALLS_PER_SECOND, most
    await_both(api)
    assert_alive(operator)


def test_expired_watches_are_opened_again_and_nothing_is_missed(
    api: Api, operator: Operator, proxy: FaultProxy
) -> None:
    first = len(proxy.calls)
    began = time.monotonic()
    for _ in range(3):
        proxy.expire_watches()
        time.sleep(0.5)
    change_both(api)
    await_both(api)
    assert [call for call in proxy.calls[first:] if call.watch], "no watch was opened again"
    assert (len(proxy.calls) - first) / (time.monotonic() - began) < _MOST_CALLS_PER_SECOND
    uid = api.get("service", "new")["metadata"]["uid"]
    api.kubectl("delete", "service", "new", "--wait=false")
    eventually(lambda: api.find("service", "new"), lambda found: found is not None and found["metadata"]["uid"] != uid)
    assert_alive(operator)


def test_first_list_that_fails_ends_the_process_and_the_next_start_works(
    api: Api, operator: Operator, tmp_path: Path
) -> None:
    """Crash-only: who cannot see the cluster must not act on an empty picture of it."""
    with FaultProxy(api.cluster.kubeconfig, tmp_path).running() as proxy:
        operator.settings["GENERATION_OPERATOR_KUBECONFIG"] = str(proxy.kubeconfig)
        api.apply(service("old"))
        with proxy.failing(on_everything(Refuse(503))):
            operator.start()
            assert operator.process is not None
            assert operator.process.wait(30) == 1
        assert not proxy.writes_since(0)
        operator.start()
        eventually(lambda: settled(api, "old"), bool, seconds=_CONVERGED_SECONDS, what="Ready after the start")

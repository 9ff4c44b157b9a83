"""The past as a real Prometheus tells it."""

import asyncio
import time

from api_fixtures import Api
from exporter import Exporter, Load
from generation_operator.api.resource import Key
from generation_operator.observe.history import PrometheusHistory

SLOT_SECONDS = 4


def test_arrivals_of_the_past_are_told_slot_by_slot(api: Api) -> None:
    history = PrometheusHistory(slot_seconds=SLOT_SECONDS, pause_seconds=0, points=2)
    with Exporter(api.cluster.plan, api.namespace, "past").serving(["past-0", "past-1"], Load(requests_per_second=10)):
        time.sleep(5 * SLOT_SECONDS)
        last = int(time.time() // SLOT_SECONDS)
        found = asyncio.run(history.read(api.cluster.plan.prometheus_url, range(last - 2, last), services=1, own={}))
    rates = found[Key(api.namespace, "past")]
    assert set(rates) == {last - 2, last - 1}
    assert all(15 < rate < 25 for rate in rates.values()), rates  # two replicas; a rate over few samples is not exact


def test_a_past_before_everything_is_empty(api: Api) -> None:
    found = asyncio.run(PrometheusHistory().read(api.cluster.plan.prometheus_url, range(10, 20), services=1, own={}))
    assert found == {}

import math

import numpy as np
import pytest

from fake_service import FakeService, steps
from generation_operator.simulate.baselines.static import Static
from generation_operator.simulate.plant import simulate
from simulation.plant_world import make_config, make_requests


@pytest.mark.parametrize(("start", "want"), [(3, [(0.0, 7)]), (7, []), (9, [(0.0, 7)])])
def test_the_count_is_set_once_at_the_start(start: int, want: list[tuple[float, int]]) -> None:
    assert steps(FakeService(lambda at: 100 * at).with_replicas(start), Static(7), 500) == want


def test_it_never_asks_to_be_called_again() -> None:
    service = FakeService(lambda _: 0)
    assert Static(4).begin(service, np.random.default_rng(0)) == 0.0
    assert Static(4).act(service, 0.0) == (4, math.inf)


def test_it_costs_its_replicas_for_the_whole_trace_however_little_comes() -> None:
    run = simulate(make_requests([50.0], until=100.0), Static(3), make_config(replicas=1), seed=1)
    assert run.pod_seconds == 300.0
    assert run.timeline.replicas.tolist() == [1] + [3] * 100

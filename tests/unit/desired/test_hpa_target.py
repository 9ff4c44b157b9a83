"""From where on the guard raises: low with Score, out of the way with Targets."""

from typing import Any

import pytest

from builders import make_service
from generation_operator.desired.hpa import cpu_percent


@pytest.mark.parametrize(
    ("policy", "request_", "limit", "chosen", "expected"),
    [
        ("Score", "500m", "1", None, 70),
        ("Targets", "500m", "1", None, 180),
        ("Targets", "1", "1", None, 90),
        ("Targets", "300m", "1", None, 300),
        ("Targets", "700m", "1", None, 128),  # rounded down: the guard raises rather early than late
        ("Targets", "0", "1", None, 90),
        ("Targets", "1m", "999999999999999", None, 2**31 - 1),
        ("Targets", "500m", "1", 75, 75),
        ("Score", "500m", "1", 75, 75),
    ],
)
def test_target_of_the_guard(policy: str, request_: str, limit: str, chosen: int | None, expected: int) -> None:
    guard: dict[str, Any] = {} if chosen is None else {"cpuPercent": chosen}
    service = make_service().scaling(policy=policy, horizontalPodAutoscaler=guard)
    service.spec(resources={"requests": {"cpu": request_}, "limits": {"cpu": limit}})
    assert cpu_percent(service.obj().spec) == expected

"""Numbers in sentences."""

import pytest

from generation_operator.decide.words import replicas


@pytest.mark.parametrize(("count", "said"), [(0, "0 replicas"), (1, "1 replica"), (2, "2 replicas")])
def test_replicas_are_counted_as_people_do(count: int, said: str) -> None:
    assert replicas(count) == said

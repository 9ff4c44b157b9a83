"""The in-memory cluster keeps the contract."""

import pytest

from contract.cluster_contract import ClusterContract
from generation_operator.cluster.memory import MemoryCluster


@pytest.fixture
def cluster() -> MemoryCluster:
    return MemoryCluster()


@pytest.fixture
def namespace() -> str:
    return "contract"


class TestMemoryCluster(ClusterContract):
    pass

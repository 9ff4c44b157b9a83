"""The first level alone keeps the contract."""

import pytest

from contract.cache_contract import CacheContract, cache, replicas

__all__ = ["cache", "replicas"]  # fixtures


@pytest.fixture
def url() -> None:
    return None


class TestMemoryCache(CacheContract):
    pass

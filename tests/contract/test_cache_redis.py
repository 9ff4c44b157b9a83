"""The cache on Redis keeps the contract, and its replicas agree."""

from collections.abc import Iterator

import pytest

from contract.cache_contract import CacheContract, cache, replicas
from contract.cache_servers import CacheServer, redis_binary
from contract.cache_shared_contract import SharedCacheContract

__all__ = ["cache", "replicas"]  # fixtures


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = CacheServer(redis_binary(), tmp_path_factory.mktemp("redis"))
    server.start()
    yield server.url
    server.kill()


class TestRedisCache(CacheContract):
    pass


class TestSharedRedisCache(SharedCacheContract):
    pass

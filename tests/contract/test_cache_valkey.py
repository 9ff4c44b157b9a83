"""The cache on Valkey keeps the contract, and its replicas agree."""

from collections.abc import Iterator

import pytest

from contract.cache_contract import CacheContract, cache, replicas
from contract.cache_servers import CacheServer, valkey_binary
from contract.cache_shared_contract import SharedCacheContract

__all__ = ["cache", "replicas"]  # fixtures


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = CacheServer(valkey_binary(), tmp_path_factory.mktemp("valkey"))
    server.start()
    yield server.url
    server.kill()


class TestValkeyCache(CacheContract):
    pass


class TestSharedValkeyCache(SharedCacheContract):
    pass

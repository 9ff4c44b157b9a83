"""The store in Postgres keeps the contract."""

from collections.abc import AsyncIterator

import pytest

from contract.job_store_contract import JobStoreContract
from contract.postgres_server import SETTINGS, PostgresServer
from generation_service.adapters.clock import LoopClock
from generation_service.adapters.postgres.store import PostgresStore


class TestPostgresStore(JobStoreContract):
    @pytest.fixture
    async def store(self, postgres: PostgresServer) -> AsyncIterator[PostgresStore]:
        store = await PostgresStore.open(await postgres.fresh(), SETTINGS, LoopClock())
        yield store
        await store.close()

"""The store in memory keeps the contract."""

import time

import pytest

from contract.job_store_contract import JobStoreContract
from generation_service.adapters.clock import LoopClock
from generation_service.adapters.memory import MemoryStore


class TestMemoryStore(JobStoreContract):
    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore(LoopClock(), time.time)

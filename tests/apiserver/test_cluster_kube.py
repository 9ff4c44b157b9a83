"""The contract of the cluster port, on a real API server; and what only a real server can refuse."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from api_fixtures import Api
from contract.cluster_contract import ClusterContract
from generation_operator.api.kinds import GENERATION_SERVICE
from generation_operator.cluster.kube import KubeCluster, connect
from generation_operator.cluster.ports import ClusterError


@pytest.fixture
async def cluster(api: Api) -> AsyncIterator[KubeCluster]:
    async with connect(api.cluster.kubeconfig) as connected:
        yield connected


@pytest.fixture
def namespace(api: Api) -> str:
    return api.namespace


class TestKubeCluster(ClusterContract):
    """`kubernetes.aio` against kube-apiserver."""


async def test_unusable_kubeconfig_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"kubeconfig .* cannot be used"):
        async with connect(tmp_path / "missing"):
            pass


async def test_server_that_is_not_there_is_an_error_with_status_zero(api: Api, tmp_path: Path) -> None:
    text = api.cluster.kubeconfig.read_text().replace(api.cluster.plan.server, "https://127.0.0.1:9")
    (tmp_path / "kubeconfig").write_text(text)
    async with connect(tmp_path / "kubeconfig") as nowhere:
        with pytest.raises(ClusterError) as refused:
            await nowhere.list(GENERATION_SERVICE)
    assert refused.value.status == 0

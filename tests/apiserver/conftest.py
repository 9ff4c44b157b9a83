"""A real API server with our CRD, namespaces of one's own, and the operator as a process beside it."""

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from api_fixtures import PROJECT, Api, Operator, eventually
from localcluster.cluster import Cluster

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def crd_cluster(api_cluster: Cluster) -> Cluster:
    """The API server with the committed CRD, accepted under strict validation."""
    api_cluster.kubectl("apply", "--server-side", "--validate=strict", "-f", str(PROJECT / "crds"))
    # `kubectl wait` fails at once on a CRD that has no condition at all yet, as on a machine that is busy.
    wait = ("wait", "--for=condition=Established", "crd/generationservices.generation.dev")
    eventually(lambda: api_cluster.kubectl(*wait), lambda _: True, what="the CRD is established")
    return api_cluster


@pytest.fixture(scope="module")
def every_api(crd_cluster: Cluster) -> Iterator[Cluster]:
    """The API server with the APIs that a cluster may lack, for one module."""
    files = [f"--filename={Path(__file__).parent / name}" for name in ("vpa_crd.yaml", "pod_monitor_crd.yaml")]
    crd_cluster.kubectl("apply", *files)
    crd_cluster.kubectl("wait", "--for=condition=Established", *files)
    yield crd_cluster
    crd_cluster.kubectl("delete", *files)


@pytest.fixture
def api(crd_cluster: Cluster) -> Iterator[Api]:
    """A namespace of one's own; it is deleted without waiting."""
    namespace = f"t{next(_numbers)}"
    crd_cluster.kubectl("create", "namespace", namespace)
    yield Api(crd_cluster, namespace)
    crd_cluster.kubectl("delete", "namespace", namespace, "--wait=false")


@pytest.fixture
def operator(api: Api, tmp_path: Path) -> Iterator[Operator]:
    """An operator that watches the test's namespace; the test starts it."""
    started = Operator(api.cluster, tmp_path / "operator.log", {"GENERATION_OPERATOR_WATCH_NAMESPACES": api.namespace})
    yield started
    if started.process is not None and started.process.poll() is None:
        with contextlib.suppress(AssertionError):
            started.stop()
    if started.log.exists():
        print(started.read_log()[-20000:])  # noqa: T201 (shown by pytest when the test failed)

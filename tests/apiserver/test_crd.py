"""The CRD on a real API server: what it accepts, what it says when it refuses, what it fills in."""

import json
from pathlib import Path
from typing import Final

import pytest

from api_fixtures import Api, service
from localcluster.cluster import Cluster
from localcluster.errors import LocalClusterError
from spec_rows import ROWS, Row

STORED: Final = Path(__file__).parents[1] / "stored"


@pytest.fixture(scope="module")
def rows_api(crd_cluster: Cluster) -> Api:
    """One namespace for all rows: a dry run keeps nothing."""
    crd_cluster.kubectl("create", "namespace", "rows")
    return Api(crd_cluster, "rows")


@pytest.mark.parametrize("row", ROWS, ids=[row.id for row in ROWS])
def test_row_is_judged_as_the_table_says(rows_api: Api, row: Row) -> None:
    manifest = row.manifest()
    options = ["--server-side", "--dry-run=server", "--validate=strict"]
    if row.accepted:
        rows_api.apply(manifest, *options)
        return
    with pytest.raises(LocalClusterError) as refused:
        rows_api.apply(manifest, *options)
    assert row.path in str(refused.value)
    assert row.message in str(refused.value)


@pytest.mark.parametrize("file", sorted(STORED.glob("*.yaml")), ids=lambda file: file.stem)
def test_earlier_shapes_are_accepted_as_they_were_stored(rows_api: Api, file: Path) -> None:
    options = ("--server-side", "--dry-run=server", "--validate=strict")
    rows_api.kubectl("apply", *options, "-f", "-", stdin=file.read_text())


def test_defaults_of_the_performance_guide_are_visible(api: Api) -> None:
    minimal = service("defaults")
    minimal["spec"] = {"image": "localhost/generation-service:dev"}
    api.apply(minimal)
    spec = api.get("gensvc", "defaults")["spec"]
    assert spec["scaling"]["minReplicas"] == 2
    assert spec["scaling"]["maxReplicas"] == 20
    assert spec["scaling"]["score"]["up"]["weights"] == {"responseTime": 30, "cpu": 25, "memory": 25, "queueLength": 20}
    assert spec["scaling"]["score"]["cooldownSeconds"] == 300
    assert spec["targets"]["workflowDurationSeconds"] == 30
    assert spec["resources"]["limits"] == {"cpu": "1", "memory": "2Gi"}


def test_every_field_is_explained(api: Api) -> None:
    text = api.kubectl("explain", "gensvc.spec", "--recursive=false")
    assert "<no description>" not in text
    scaling = api.kubectl("explain", "gensvc.spec.scaling.score.cooldownSeconds")
    assert "Seconds after a step" in scaling


def test_kubectl_scale_moves_the_guaranteed_minimum(api: Api) -> None:
    api.apply(service("scaled"))
    api.kubectl("scale", "gensvc/scaled", "--replicas=3")
    assert api.get("gensvc", "scaled")["spec"]["scaling"]["minReplicas"] == 3


def test_kubectl_scale_beyond_the_maximum_is_refused_with_the_remedy(api: Api) -> None:
    api.apply(service("scaled"))
    with pytest.raises(LocalClusterError, match="minReplicas must not exceed maxReplicas"):
        api.kubectl("scale", "gensvc/scaled", "--replicas=9")


def test_columns_show_what_matters(api: Api) -> None:
    api.apply(service("columns"))
    header = api.kubectl("get", "gensvc").splitlines()[0].split()
    assert header == ["NAME", "READY", "REPLICAS", "DESIRED", "FLOOR", "TARGETS", "MODE", "AGE"]
    assert "REASON" in api.kubectl("get", "gensvc", "--output=wide").splitlines()[0]


def test_category_all_lists_the_resource(api: Api) -> None:
    api.apply(service("listed"))
    assert "generationservice.generation.dev/listed" in api.kubectl("get", "all", "--output=name")


def test_a_users_status_is_ignored_on_the_main_resource(api: Api) -> None:
    manifest = service("status")
    manifest["status"] = {"replicas": 99}
    api.apply(manifest)
    assert "status" not in json.loads(api.kubectl("get", "gensvc", "status", "--output=json"))

"""The chart and the plain manifests, rendered with a real Helm."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from localcluster.errors import LocalClusterError
from localcluster.shell import run
from tools import helm

PROJECT = Path(__file__).parents[3]
CHART = PROJECT / "helm" / "generation-operator"

Object = dict[str, Any]


@pytest.fixture(scope="session")
def helm_path() -> str:
    return str(helm.find())


def render(helm_path: str, *options: str) -> list[Object]:
    text = run([helm_path, "template", "generation-operator", str(CHART), "--namespace=generation-system", *options])
    return [manifest for manifest in yaml.safe_load_all(text) if manifest]


def only(manifests: list[Object], kind: str) -> Object:
    [found] = [manifest for manifest in manifests if manifest["kind"] == kind]
    return found


def rules(manifests: list[Object]) -> list[Object]:
    return [rule for manifest in manifests if manifest["kind"] in {"Role", "ClusterRole"} for rule in manifest["rules"]]


def test_chart_passes_a_strict_lint(helm_path: str) -> None:
    assert "0 chart(s) failed" in run([helm_path, "lint", "--strict", str(CHART)])


def test_plain_manifests_give_the_same_objects_as_the_chart(helm_path: str) -> None:
    committed = [m for m in yaml.safe_load_all((PROJECT / "manifests" / "install.yaml").read_text()) if m]
    assert committed[0]["kind"] == "Namespace"
    assert committed[1:] == render(helm_path), "run `make crds`"


def test_chart_carries_the_generated_crd() -> None:
    assert (CHART / "files" / "crds.yaml").read_text() == (
        PROJECT / "crds" / "generation.dev_generationservices.yaml"
    ).read_text()


def test_crd_survives_an_uninstall_unless_told_otherwise(helm_path: str) -> None:
    kept = only(render(helm_path), "CustomResourceDefinition")
    assert kept["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert "annotations" not in only(render(helm_path, "--set=crds.keep=false"), "CustomResourceDefinition")["metadata"]
    without = render(helm_path, "--set=crds.enabled=false")
    assert not [manifest for manifest in without if manifest["kind"] == "CustomResourceDefinition"]


@pytest.mark.parametrize("options", [(), ("--set=watchNamespaces={a,b}",)], ids=["cluster", "namespaces"])
def test_rights_are_named_one_by_one_and_reach_no_secret(helm_path: str, options: tuple[str, ...]) -> None:
    for rule in rules(render(helm_path, *options)):
        assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
        assert "secrets" not in rule["resources"]
        assert not {"escalate", "bind", "impersonate"} & set(rule["verbs"])


def test_watching_namespaces_needs_cluster_rights_for_discovery_only(helm_path: str) -> None:
    manifests = render(helm_path, "--set=watchNamespaces={a,b}")
    granted = {resource for rule in only(manifests, "ClusterRole")["rules"] for resource in rule["resources"]}
    assert granted == {"customresourcedefinitions", "namespaces"}
    assert {m["metadata"]["namespace"] for m in manifests if m["kind"] == "Role"} == {"a", "b"}


def test_operator_pod_is_restricted(helm_path: str) -> None:
    pod = only(render(helm_path), "Deployment")["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    [container] = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_two_operators_never_run_at_once(helm_path: str) -> None:
    spec = only(render(helm_path), "Deployment")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


@pytest.mark.parametrize(
    ("option", "field"),
    [
        ("--set=tickSeconds=0", "tickSeconds"),
        ("--set=prometheusURL=prometheus", "prometheusURL"),
        ("--set=log.level=LOUD", "level"),
        ("--set=replicas=2", "replicas"),
        ("--set=watchNamespaces={A}", "watchNamespaces"),
    ],
)
def test_bad_value_is_refused_by_name(helm_path: str, option: str, field: str) -> None:
    with pytest.raises(LocalClusterError, match=field):
        render(helm_path, option)


def test_versions_agree() -> None:
    version = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (version, version)


def test_every_variable_of_the_chart_is_a_setting_of_the_operator(helm_path: str) -> None:
    from generation_operator.settings import read

    [container] = only(render(helm_path), "Deployment")["spec"]["template"]["spec"]["containers"]
    settings = read({entry["name"]: entry["value"] for entry in container["env"]})
    assert settings.prometheus_url == "http://prometheus-server.monitoring.svc:80"

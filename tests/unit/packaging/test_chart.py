"""The chart and the plain manifests, rendered with a real Helm."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from localcluster.errors import LocalClusterError
from localcluster.shell import run

PROJECT = Path(__file__).parents[3]
CHART = PROJECT / "helm" / "generation-operator"
CRD = PROJECT / "crds" / "generation.dev_generationservices.yaml"

Object = dict[str, Any]
Render = Callable[..., list[Object]]


def only(manifests: list[Object], kind: str) -> Object:
    [found] = [manifest for manifest in manifests if manifest["kind"] == kind]
    return found


def operator_pod(manifests: list[Object]) -> Object:
    pod: Object = only(manifests, "Deployment")["spec"]["template"]["spec"]
    return pod


def test_chart_passes_a_strict_lint(helm_path: str) -> None:
    assert "0 chart(s) failed" in run([helm_path, "lint", "--strict", str(CHART)])


def test_plain_manifests_give_the_same_objects_as_the_chart(render: Render) -> None:
    text = (PROJECT / "manifests" / "install.yaml").read_text()
    namespace, *objects = [manifest for manifest in yaml.safe_load_all(text) if manifest]
    assert namespace == {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "generation-system"}}
    assert objects == render(), "run `make crds`"


def test_kustomization_installs_the_rendered_file() -> None:
    kustomization = yaml.safe_load((PROJECT / "manifests" / "kustomization.yaml").read_text())
    assert kustomization["resources"] == ["install.yaml"]


def test_chart_carries_the_generated_crd() -> None:
    assert (CHART / "files" / "crds.yaml").read_text() == CRD.read_text(), "run `make crds`"


def test_rendering_changes_nothing_in_the_crd(render: Render) -> None:
    # Through Helm's templates a number may turn into another one: 1000000 into 1e+06.
    generated = yaml.safe_load(CRD.read_text())
    assert only(render("--set=crds.keep=false"), "CustomResourceDefinition") == generated


def test_crd_survives_an_uninstall_unless_told_otherwise(render: Render) -> None:
    kept = only(render(), "CustomResourceDefinition")
    assert kept["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    loose = only(render("--set=crds.keep=false"), "CustomResourceDefinition")
    assert "helm.sh/resource-policy" not in loose["metadata"].get("annotations", {})
    assert not [manifest for manifest in render("--set=crds.enabled=false") if "CustomResource" in manifest["kind"]]


def test_operator_pod_is_restricted(render: Render) -> None:
    pod = operator_pod(render())
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    [container] = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()


def test_operator_can_write_to_its_temporary_folder_only(render: Render) -> None:
    pod = operator_pod(render())
    assert pod["volumes"] == [{"name": "tmp", "emptyDir": {}}]
    assert pod["containers"][0]["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]


def test_probes_ask_the_port_that_the_operator_is_told(render: Render) -> None:
    [container] = operator_pod(render())["containers"]
    told = next(entry["value"] for entry in container["env"] if entry["name"] == "GENERATION_OPERATOR_PROBE_PORT")
    [port] = container["ports"]
    assert str(port["containerPort"]) == told
    for probe, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        assert container[probe]["httpGet"] == {"path": path, "port": port["name"]}
    annotations = only(render(), "Deployment")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == told


def test_several_operators_elect_one_where_they_run(render: Render) -> None:
    manifests = render("--namespace=somewhere")
    spec = only(manifests, "Deployment")["spec"]
    assert spec["replicas"] == 2
    [container] = operator_pod(manifests)["containers"]
    assert {"name": "GENERATION_OPERATOR_LEASE_NAMESPACE", "value": "somewhere"} in container["env"]
    assert only(manifests, "PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    assert "PodDisruptionBudget" not in {manifest["kind"] for manifest in render("--set=replicas=1")}


@pytest.mark.parametrize(
    ("option", "field"),
    [
        ("--set=tickSeconds=0", "tickSeconds"),
        ("--set=prometheusURL=prometheus", "prometheusURL"),
        ("--set=log.level=LOUD", "level"),
        ("--set=replicas=6", "replicas"),
        ("--set=watchNamespaces={A}", "watchNamespaces"),
        ("--set=resources.limit.cpu=1", "limit"),
        ("--set=resources.limits.memory=plenty", "memory"),
        ("--set=image.digest=x", "digest"),
    ],
)
def test_bad_value_is_refused_by_name(render: Render, option: str, field: str) -> None:
    with pytest.raises(LocalClusterError, match=field):
        render(option)


def test_old_kubernetes_is_refused(render: Render) -> None:
    with pytest.raises(LocalClusterError, match="incompatible"):
        render("--kube-version=1.29.9")
    assert render("--kube-version=1.30.0-gke.1")


def test_versions_agree() -> None:
    version = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (version, version)


def test_every_variable_of_the_chart_is_a_setting_of_the_operator(render: Render) -> None:
    from generation_operator.settings import read, table

    [container] = operator_pod(render("--set=watchNamespaces={a,b}"))["containers"]
    variables = {entry["name"]: entry["value"] for entry in container["env"]}
    # The kubeconfig is for operators outside the cluster.
    assert variables.keys() == {name for name, *_ in table()} - {"GENERATION_OPERATOR_KUBECONFIG"}
    settings = read(variables)
    assert settings.prometheus_url == "http://prometheus-server.monitoring.svc:80"
    assert settings.watch_namespaces == ("a", "b")

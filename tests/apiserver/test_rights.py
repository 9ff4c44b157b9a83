"""The rights that the chart grants are enough, and nothing else is used: the operator under its own ServiceAccount."""

import json
from pathlib import Path

import pytest
import yaml

from api_fixtures import PROJECT, Api, Operator, eventually, service
from localcluster.shell import run
from tools import helm

ACCOUNT = "generation-operator"


def kubeconfig_of_the_account(api: Api, folder: Path) -> Path:
    """The administrator's kubeconfig with the account's token instead of a certificate."""
    config = json.loads(api.cluster.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": api.kubectl("create", "token", ACCOUNT).strip()}
    path = folder / "kubeconfig"
    path.write_text(json.dumps(config))
    return path


@pytest.mark.parametrize("namespaced", [True, False], ids=["namespaced", "cluster-wide"])
def test_operator_lives_with_the_rights_of_the_chart(
    api: Api, operator: Operator, tmp_path: Path, namespaced: bool
) -> None:
    chart = [str(helm.find()), "template", ACCOUNT, str(PROJECT / "helm" / "generation-operator")]
    watched = [f"--set=watchNamespaces={{{api.namespace}}}"] if namespaced else []
    rendered = yaml.safe_load_all(run([*chart, f"--namespace={api.namespace}", *watched]))
    for manifest in rendered:
        if manifest and manifest["kind"] in {
            "ServiceAccount",
            "Role",
            "RoleBinding",
            "ClusterRole",
            "ClusterRoleBinding",
        }:
            api.apply(manifest)
    operator.settings["GENERATION_OPERATOR_KUBECONFIG"] = str(kubeconfig_of_the_account(api, tmp_path))
    if not namespaced:
        operator.settings["GENERATION_OPERATOR_WATCH_NAMESPACES"] = ""
    operator.start()
    api.apply(service("entitled"))
    eventually(lambda: api.condition("entitled", "Ready").get("status"), lambda status: status == "True", seconds=60)
    api.kubectl("patch", "gensvc/entitled", "--type=merge", "--patch", '{"spec":{"proxy":{"enabled":false}}}')
    eventually(lambda: api.find("deployment", "entitled-proxy"), lambda found: found is None, what="a child is deleted")
    # RBAC's words; a namespace of an earlier test that is going away forbids new objects in other ones.
    assert "is forbidden: User" not in operator.read_log()

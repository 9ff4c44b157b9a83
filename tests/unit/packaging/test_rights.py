"""What the chart lets the operator do, judged against what the operator calls and what SECURITY.md promises."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from generation_operator.api.kinds import GENERATION_SERVICE, KINDS, POD

PROJECT = Path(__file__).parents[3]

Object = dict[str, Any]
Render = Callable[..., list[Object]]
Right = tuple[str, str, str]  # API group, resource, verb

NAMESPACED = "--set=watchNamespaces={a,b}"


def rights(role: Object) -> set[Right]:
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def of_kind(manifests: list[Object], *kinds: str) -> list[Object]:
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


def promised() -> Iterator[Right]:
    """The table in SECURITY.md."""
    for line in (PROJECT / "SECURITY.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|") or cells[0] in {"API group", "---"}:
            continue
        group = "" if cells[0] == "core" else cells[0]
        for resource in cells[1].split(", "):
            for verb in cells[2].split(", "):
                yield group, resource, verb


@pytest.mark.parametrize("options", [(), (NAMESPACED,)], ids=["cluster", "namespaces"])
def test_rights_are_named_one_by_one_and_reach_no_secret(render: Render, options: tuple[str, ...]) -> None:
    roles = of_kind(render(*options), "Role", "ClusterRole")
    assert roles
    for group, resource, verb in set().union(*(rights(role) for role in roles)):
        assert "*" not in {group, resource, verb}
        assert resource != "secrets"
        assert verb not in {"escalate", "bind", "impersonate"}


def test_security_page_lists_exactly_these_rights(render: Render) -> None:
    [role] = of_kind(render(), "ClusterRole")
    assert set(promised()) == rights(role)


def test_every_kind_that_the_operator_keeps_can_be_kept(render: Render) -> None:
    [role] = of_kind(render(), "ClusterRole")
    granted = rights(role)
    for kind in KINDS.values():
        group = kind.api_version.rpartition("/")[0]
        verbs = {verb for in_group, resource, verb in granted if (in_group, resource) == (group, kind.plural)}
        # Server-side apply of an absent object needs `create` beside `patch`.
        writes = {GENERATION_SERVICE: set[str](), POD: {"patch"}}.get(kind, {"create", "patch", "delete"})
        assert verbs == {"get", "list", "watch"} | writes, kind


def test_the_lease_is_held_in_the_namespace_of_the_operator(render: Render) -> None:
    for options in ((), (NAMESPACED,)):
        [role] = [role for role in of_kind(render(*options), "Role") if role["metadata"]["name"].endswith("-leader")]
        assert rights(role) == {("coordination.k8s.io", "leases", verb) for verb in ("create", "get", "patch")}


def test_watching_namespaces_takes_no_cluster_wide_right(render: Render) -> None:
    manifests = render(NAMESPACED)
    assert not of_kind(manifests, "ClusterRole", "ClusterRoleBinding")
    roles = [role for role in of_kind(manifests, "Role") if not role["metadata"]["name"].endswith("-leader")]
    assert [role["metadata"]["namespace"] for role in roles] == ["a", "b"]
    [everywhere] = of_kind(render(), "ClusterRole")
    discovery = {("apiextensions.k8s.io", "customresourcedefinitions", verb) for verb in ("list", "watch")}
    for role in roles:
        assert rights(role) == rights(everywhere) - discovery


@pytest.mark.parametrize("options", [(), (NAMESPACED,)], ids=["cluster", "namespaces"])
def test_every_role_is_bound_to_the_account_that_the_pod_uses(render: Render, options: tuple[str, ...]) -> None:
    manifests = render(*options, "--set=serviceAccount.name=mine")
    [deployment] = of_kind(manifests, "Deployment")
    [account] = of_kind(manifests, "ServiceAccount")
    assert deployment["spec"]["template"]["spec"]["serviceAccountName"] == account["metadata"]["name"] == "mine"
    bindings = of_kind(manifests, "RoleBinding", "ClusterRoleBinding")
    bound = {(one["roleRef"]["kind"], one["roleRef"]["name"], one["metadata"].get("namespace")) for one in bindings}
    roles = of_kind(manifests, "Role", "ClusterRole")
    assert bound == {(role["kind"], role["metadata"]["name"], role["metadata"].get("namespace")) for role in roles}
    for binding in bindings:
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "mine", "namespace": "generation-system"}]

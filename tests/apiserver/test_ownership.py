"""Who writes what, read from managedFields of a real API server while the real HPA controller runs."""

import json
from functools import partial
from typing import Any

import pytest
import yaml

from api_fixtures import PROJECT, Api, Object, Operator, eventually, service
from generation_operator.api.kinds import POD_AUTOSCALER, SCALED_OBJECT, Kind
from localcluster.shell import run
from ownership_world import FAST, by, deployment_replicas, owners, ready, token_kubeconfig
from tools import helm

ACCOUNT = "generation-operator"


def foreign_hpa(name: str, target: str) -> Object:
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": target},
            "minReplicas": 1,
            "maxReplicas": 3,
        },
    }


def crd(group: str, version: str, kind: str, plural: str) -> Object:
    """A CRD without a schema: what an add-on would bring."""
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
            "versions": [{"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": anything}}],
        },
    }


@pytest.fixture
def running(api: Api, operator: Operator) -> Operator:
    operator.start()
    return operator


def autoscaling(api: Api, name: str) -> Object:
    return dict(api.get("gensvc", name).get("status", {}).get("autoscaling", {}))


def environment(api: Api, name: str) -> list[Object]:
    return list(api.get("deployment", name)["spec"]["template"]["spec"]["containers"][0]["env"])


def contains(item: Object, items: list[Object]) -> bool:
    return item in items


def conflict(api: Api, name: str) -> tuple[str, str]:
    found = api.condition(name, "OwnershipConflict")
    return found.get("status", ""), found.get("message", "")


def await_conflict(api: Api, name: str, rival: str) -> None:
    eventually(lambda: conflict(api, name), lambda told: told[0] == "True" and rival in told[1], what=rival)


def await_ready(api: Api, name: str) -> None:
    eventually(lambda: ready(api, name), bool, what="Ready", seconds=60)


def test_foreign_hpa_is_named_and_nothing_is_written_until_it_is_gone(api: Api, running: Operator) -> None:
    api.apply(service("contested", **FAST))
    await_ready(api, "contested")
    eventually(lambda: conflict(api, "contested")[0], lambda status: status == "False", what="the first look")
    api.apply(foreign_hpa("theirs", "contested"))
    await_conflict(api, "contested", "HorizontalPodAutoscaler theirs")
    assert api.condition("contested", "AbleToScale")["reason"] == "OwnershipConflict"
    # Something is due: a schedule that is always active asks for five.
    floor = {"name": "always", "start": "0 0 * * *", "end": "59 23 31 12 *", "minReplicas": 5}
    api.apply(service("contested", **FAST, schedules=[floor]))
    eventually(lambda: autoscaling(api, "contested").get("desiredReplicas"), lambda count: count == 5)
    assert deployment_replicas(api, "contested") == 2
    api.kubectl("delete", "hpa", "theirs")
    eventually(
        lambda: deployment_replicas(api, "contested"), lambda count: count == 5, what="the operator scales again"
    )
    eventually(lambda: conflict(api, "contested")[0], lambda status: status == "False")
    reasons = eventually(
        lambda: {event["reason"] for event in api.items("events")}, lambda found: "OwnershipRestored" in found
    )
    assert "OwnershipConflict" in reasons


@pytest.mark.parametrize("rival", [SCALED_OBJECT, POD_AUTOSCALER])
def test_scalers_of_other_projects_are_named_when_their_api_exists(api: Api, operator: Operator, rival: Kind) -> None:
    group, _, version = rival.api_version.partition("/")
    kind, plural = rival.kind, rival.plural
    api.apply(crd(group, version, kind, plural))
    try:
        api.kubectl("wait", "--for=condition=Established", f"crd/{plural}.{group}")
        operator.start()
        api.apply(service("courted"))
        await_ready(api, "courted")
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "courted"}
        head = {"apiVersion": f"{group}/{version}", "kind": kind, "metadata": {"name": "theirs"}}
        api.apply(head | {"spec": {"scaleTargetRef": target}})
        await_conflict(api, "courted", f"{kind} theirs")
        api.kubectl("delete", f"{plural}.{group}", "theirs")
        eventually(lambda: conflict(api, "courted")[0], lambda status: status == "False")
    finally:
        api.kubectl("delete", "crd", f"{plural}.{group}", "--wait=false")


def test_scaling_by_hand_is_kept_for_its_time_with_an_event(api: Api, operator: Operator) -> None:
    operator.settings["GENERATION_OPERATOR_MANUAL_OVERRIDE_SECONDS"] = "12"
    operator.start()
    api.apply(service("handmade", **FAST))
    await_ready(api, "handmade")
    api.kubectl("scale", "deployment/handmade", "--replicas=5")
    told = eventually(
        lambda: autoscaling(api, "handmade").get("override", {}),
        lambda found: found.get("replicas") == 5,
    )
    assert told["manager"] == "kubectl"
    assert api.condition("handmade", "ScalingActive")["reason"] == "OverrideInForce"
    assert api.condition("handmade", "OwnershipConflict")["status"] == "False"
    assert "ManualScale" in {event["reason"] for event in api.items("events")}
    assert owners(api.get("deployment", "handmade"), "spec", "replicas") == {("kubectl", "scale")}
    eventually(
        lambda: autoscaling(api, "handmade").get("override"),
        lambda found: found is None,
        seconds=30,
        what="the time is over",
    )
    assert deployment_replicas(api, "handmade") == 5, "without metrics there is no reason to lower it"


def test_client_that_keeps_writing_is_named(api: Api, running: Operator) -> None:
    api.apply(service("nagged", **FAST))
    await_ready(api, "nagged")
    head = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "nagged"}}
    force = ("--server-side", "--force-conflicts", "--field-manager=nagger")
    api.apply(head | {"spec": {"replicas": 3}}, *force)
    eventually(
        lambda: autoscaling(api, "nagged").get("override", {}).get("replicas"),
        lambda count: count == 3,
        what="one write is a wish",
    )
    assert conflict(api, "nagged")[0] == "False"
    api.apply(head | {"spec": {"replicas": 4}}, *force)
    await_conflict(api, "nagged", "field manager nagger")
    assert deployment_replicas(api, "nagged") == 4


def test_applying_the_resource_again_never_resets_replicas(api: Api, running: Operator) -> None:
    """A chart upgrade, `kubectl apply` of either kind and a GitOps tool all do this."""
    api.apply(service("renewed", **FAST))
    await_ready(api, "renewed")
    api.kubectl("scale", "deployment/renewed", "--replicas=6")
    changed = service("renewed", **FAST)
    for number, options in enumerate(
        [
            (),
            ("--server-side", "--force-conflicts", "--field-manager=argocd-controller"),
            ("--force-conflicts", "--server-side"),
        ]
    ):
        changed["metadata"]["labels"] = {"revision": str(number)}
        changed["spec"]["env"] = [{"name": "REVISION", "value": str(number)}]
        api.apply(changed, *options)
        expected = changed["spec"]["env"][0]
        eventually(partial(environment, api, "renewed"), partial(contains, expected), what="the new revision runs")
        assert deployment_replicas(api, "renewed") == 6


def test_applying_our_deployment_without_replicas_never_resets_them(api: Api, running: Operator) -> None:
    """What a GitOps tool does that has adopted the child, with replicas left out as it should."""
    api.apply(service("adopted", **FAST))
    await_ready(api, "adopted")
    api.kubectl("scale", "deployment/adopted", "--replicas=6")
    exported = api.get("deployment", "adopted")
    template = exported["spec"]["template"]
    manifest = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "adopted", "labels": {"team": "blue"}},
        "spec": {"selector": exported["spec"]["selector"], "template": template},
    }
    for options in (("--server-side", "--force-conflicts", "--field-manager=argocd-controller"), ()):
        api.apply(manifest, *options)
        assert deployment_replicas(api, "adopted") == 6
    eventually(lambda: ready(api, "adopted"), bool, what="Ready")
    assert deployment_replicas(api, "adopted") == 6
    assert by(api.get("deployment", "adopted"), "spec", "replicas") == {"kubectl"}


def test_recommend_needs_no_right_to_write_replicas(api: Api, operator: Operator, tmp_path: Any) -> None:
    chart = [str(helm.find()), "template", ACCOUNT, str(PROJECT / "helm" / "generation-operator")]
    rendered = yaml.safe_load_all(
        run([*chart, f"--namespace={api.namespace}", f"--set=watchNamespaces={{{api.namespace}}}"])
    )
    for manifest in rendered:
        if manifest and manifest["kind"] == "Role":
            for rule in manifest["rules"]:
                if {"deployments/scale", "horizontalpodautoscalers"} & set(rule["resources"]):
                    rule["verbs"] = [verb for verb in rule["verbs"] if verb in {"get", "list", "watch"}]
        if manifest and manifest["kind"] in {"ServiceAccount", "Role", "RoleBinding"}:
            api.apply(manifest)
    operator.settings["GENERATION_OPERATOR_KUBECONFIG"] = str(token_kubeconfig(api, ACCOUNT, tmp_path))
    operator.start()
    for engine in ("Direct", "Floor"):
        name = f"advised-{engine.lower()}"
        floor = {"name": "always", "start": "0 0 * * *", "end": "59 23 31 12 *", "minReplicas": 5}
        api.apply(service(name, mode="Recommend", engine=engine, schedules=[floor]))
        await_ready(api, name)
        eventually(
            partial(autoscaling, api, name), lambda told: told.get("desiredReplicas") == 5, what="what would be a step"
        )
        assert deployment_replicas(api, name) == 2
        assert api.find("hpa", name) is None
    assert "forbidden" not in operator.read_log()


@pytest.mark.parametrize("engine", ["Direct", "Floor"])
def test_pause_annotation_keeps_replicas_as_they_are(api: Api, running: Operator, engine: str) -> None:
    floor = {"name": "always", "start": "0 0 * * *", "end": "59 23 31 12 *", "minReplicas": 5}
    api.apply(service("halted", engine=engine))
    await_ready(api, "halted")
    api.kubectl("annotate", "gensvc/halted", "generation.dev/paused=true")
    eventually(lambda: api.condition("halted", "Paused").get("status"), lambda status: status == "True")
    patch = {"spec": {"scaling": {"schedules": [floor]}}}
    api.kubectl("patch", "gensvc/halted", "--type=merge", "--patch", json.dumps(patch))
    eventually(lambda: autoscaling(api, "halted").get("desiredReplicas"), lambda n: n == 5)
    behavior = api.get("hpa", "halted")["spec"]["behavior"]
    assert {behavior[way]["selectPolicy"] for way in ("scaleUp", "scaleDown")} == {"Disabled"}
    assert deployment_replicas(api, "halted") == 2
    api.kubectl("annotate", "gensvc/halted", "generation.dev/paused-")
    eventually(lambda: deployment_replicas(api, "halted"), lambda count: count == 5, what="decisions are carried out")
    eventually(lambda: api.condition("halted", "Paused").get("status"), lambda status: status == "False")

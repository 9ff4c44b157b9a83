"""What should exist for a resource, and what must never be said about it."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import UID, ServiceBuilder, make_service
from generation_operator.api import names as api_names
from generation_operator.api.kinds import Manifest
from generation_operator.desired import names
from generation_operator.desired.available import Available
from generation_operator.desired.children import children
from generation_operator.desired.names import Component

VPA = Available(vertical_pod_autoscaler=True)
EVERYTHING = Available(vertical_pod_autoscaler=True, pod_monitor=True)


def build(service: ServiceBuilder, available: Available = VPA) -> tuple[Manifest, ...]:
    return children(service.obj(), cluster_domain="cluster.local", available=available)


def listed(manifests: tuple[Manifest, ...]) -> list[str]:
    return [f"{manifest['kind']}/{manifest['metadata']['name'].rsplit('-proxy-')[0]}" for manifest in manifests]


def child(service: ServiceBuilder, kind: str, name: str) -> Manifest:
    (found,) = [
        manifest for manifest in build(service) if (manifest["kind"], manifest["metadata"]["name"]) == (kind, name)
    ]
    return found


BASE = ["ServiceAccount/a-service", "Service/a", "Service/a-headless", "Deployment/a", "PodDisruptionBudget/a"]
MONITOR = ["PodMonitor/a"]
GUARD = ["HorizontalPodAutoscaler/a"]
RECOMMENDER = ["VerticalPodAutoscaler/a"]
PROXY = ["ConfigMap/a", "Deployment/a-proxy", "Service/a-proxy"]


@pytest.mark.parametrize(
    ("service", "available", "expected"),
    [
        (make_service(), EVERYTHING, BASE + GUARD + RECOMMENDER + MONITOR + PROXY),
        (make_service().replicas(1, 1), VPA, BASE[:-1] + GUARD + RECOMMENDER + PROXY),
        (make_service(), VPA, BASE + GUARD + RECOMMENDER + PROXY),
        (make_service(), Available(), BASE + GUARD + PROXY),
        (make_service().vertical("Off"), VPA, BASE + GUARD + PROXY),
        (make_service().mode("Recommend"), VPA, BASE + RECOMMENDER + PROXY),
        (make_service().mode("Paused"), VPA, BASE + GUARD + RECOMMENDER + PROXY),
        (make_service().mode("Recommend").paused_by_annotation(), VPA, BASE + GUARD + RECOMMENDER + PROXY),
        (make_service().proxy(enabled=False), VPA, BASE + GUARD + RECOMMENDER),
    ],
)
def test_children_follow_mode_and_switches(service: ServiceBuilder, available: Available, expected: list[str]) -> None:
    assert listed(build(service, available)) == expected


def test_the_budget_covers_exactly_the_services_pods_and_never_blocks_a_drain() -> None:
    service = make_service()
    spec = child(service, "PodDisruptionBudget", "a")["spec"]
    assert spec["selector"] == child(service, "Deployment", "a")["spec"]["selector"]
    assert (spec["maxUnavailable"], "minAvailable" in spec) == (1, False)


@pytest.mark.parametrize("name", ["a", "default"])
def test_pods_run_as_an_account_of_their_own_without_a_token(name: str) -> None:
    service = make_service(name)
    pod = child(service, "Deployment", name)["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] != "default"
    account = child(service, "ServiceAccount", pod["serviceAccountName"])
    assert (account["automountServiceAccountToken"], pod["automountServiceAccountToken"]) == (False, False)


def test_pods_are_found_by_annotations_or_by_the_pod_monitor_and_never_by_both() -> None:
    for available, annotated in ((Available(), True), (EVERYTHING, False)):
        kinds = {manifest["kind"]: manifest for manifest in build(make_service().proxy(enabled=False), available)}
        assert ("annotations" in kinds["Deployment"]["spec"]["template"]["metadata"]) is annotated
        assert ("PodMonitor" not in kinds) is annotated


def test_every_child_names_its_owner_and_carries_the_labels() -> None:
    for manifest in build(make_service("a", "prod"), EVERYTHING):
        metadata = manifest["metadata"]
        assert metadata["namespace"] == "prod"
        assert metadata["labels"][api_names.LABEL_MANAGED_BY] == api_names.OPERATOR
        assert metadata["labels"][api_names.LABEL_INSTANCE] == "a"
        assert names.controller_uid(manifest) == UID
        assert names.is_managed(manifest)


def test_nobody_controls_an_object_without_controlling_reference() -> None:
    references = [{"uid": "1", "controller": False}, {"uid": "2"}]
    assert names.controller_uid({"metadata": {"ownerReferences": references}}) is None
    assert names.controller_uid({"metadata": {}}) is None
    assert not names.is_managed({"metadata": {"labels": {api_names.LABEL_MANAGED_BY: "Helm"}}})


@pytest.mark.parametrize("component", list(Component))
def test_selectors_use_only_immutable_labels_and_match_the_pods(component: Component) -> None:
    name = {"service": "a", "proxy": "a-proxy"}[component]
    spec = child(make_service(), "Deployment", name)["spec"]
    selector = spec["selector"]["matchLabels"]
    assert set(selector) == {api_names.LABEL_NAME, api_names.LABEL_INSTANCE, api_names.LABEL_COMPONENT}
    assert selector.items() <= spec["template"]["metadata"]["labels"].items()
    assert child(make_service(), "Service", name)["spec"]["selector"] == selector


def test_selectors_of_service_and_proxy_never_overlap() -> None:
    assert names.selector("a", Component.SERVICE) != names.selector("a", Component.PROXY)
    expected = (
        "app.kubernetes.io/name=generation-service,app.kubernetes.io/instance=a,app.kubernetes.io/component=service"
    )
    assert names.selector_string("a") == expected


def test_the_service_deployment_never_names_replicas() -> None:
    assert "replicas" not in child(make_service().replicas(5, 9), "Deployment", "a")["spec"]


def test_the_users_environment_wins_and_comes_last() -> None:
    service = make_service().env("X", "1").env("GENERATION_SERVICE_PORT", "9")
    container = child(service, "Deployment", "a")["spec"]["template"]["spec"]["containers"][0]
    entries = [(entry["name"], entry.get("value")) for entry in container["env"]]
    assert entries[-2:] == [("X", "1"), ("GENERATION_SERVICE_PORT", "9")]
    assert [name for name, _ in entries].count("GENERATION_SERVICE_PORT") == 1


def test_secrets_are_referenced_and_never_copied() -> None:
    source = {"secretKeyRef": {"name": "keys", "key": "openai"}}
    service = make_service().spec(env=[{"name": "TOKEN", "valueFrom": source}])
    container = child(service, "Deployment", "a")["spec"]["template"]["spec"]["containers"][0]
    assert container["env"][-1] == {"name": "TOKEN", "valueFrom": source}


def test_a_pod_may_finish_its_longest_workflow_after_the_pre_stop_sleep() -> None:
    pod = child(make_service().targets(workflowDurationSeconds=100), "Deployment", "a")["spec"]["template"]["spec"]
    sleep = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] > 100 + sleep


@pytest.mark.parametrize(
    ("service", "direction", "policy"),
    [
        (make_service(), "scaleDown", "Disabled"),
        (make_service(), "scaleUp", "Max"),
        (make_service().mode("Paused"), "scaleDown", "Disabled"),
        (make_service().mode("Paused"), "scaleUp", "Disabled"),
        (make_service().paused_by_annotation(), "scaleUp", "Disabled"),
    ],
)
def test_the_guard_raises_at_most(service: ServiceBuilder, direction: str, policy: str) -> None:
    assert child(service, "HorizontalPodAutoscaler", "a")["spec"]["behavior"][direction]["selectPolicy"] == policy


def test_equal_resources_give_equal_manifests_and_hashes() -> None:
    assert build(make_service()) == build(make_service())


def test_the_hash_changes_exactly_with_the_child_it_is_on() -> None:
    def hashes(service: ServiceBuilder) -> dict[tuple[str, str], str]:
        return {
            (manifest["kind"], manifest["metadata"]["name"]): manifest["metadata"]["annotations"][
                api_names.ANNOTATION_HASH
            ]
            for manifest in build(service)
        }

    before, after = hashes(make_service()), hashes(make_service().proxy(replicas=3))
    assert {child for child in before if before[child] != after[child]} == {("Deployment", "a-proxy")}
    assert all(len(value) == 16 for value in before.values())


def test_another_proxy_configuration_is_another_config_map_that_the_deployment_mounts() -> None:
    def config_and_mount(service: ServiceBuilder) -> tuple[str, str]:
        (config,) = [manifest for manifest in build(service) if manifest["kind"] == "ConfigMap"]
        volumes = child(service, "Deployment", "a-proxy")["spec"]["template"]["spec"]["volumes"]
        return config["metadata"]["name"], volumes[0]["configMap"]["name"]

    first, first_mounted = config_and_mount(make_service())
    second, second_mounted = config_and_mount(make_service().spec(port=9999))
    assert first != second
    assert (first, second) == (first_mounted, second_mounted)


@pytest.mark.parametrize(
    ("service", "may_resize", "expected"),
    [
        (make_service(), True, "Off"),
        (make_service().vertical("Active"), True, "InPlaceOrRecreate"),
        (make_service().vertical("Active"), False, "Off"),
        (make_service().vertical("Active").mode("Paused"), True, "Off"),
        (make_service().vertical("Active").mode("Recommend"), True, "InPlaceOrRecreate"),
    ],
)
def test_the_vertical_autoscaler_acts_when_it_may(service: ServiceBuilder, may_resize: bool, expected: str) -> None:
    wanted = children(service.obj(), cluster_domain="cluster.local", available=VPA, may_resize=may_resize)
    [found] = [manifest for manifest in wanted if manifest["kind"] == "VerticalPodAutoscaler"]
    assert found["spec"]["updatePolicy"]["updateMode"] == expected


def test_the_vertical_autoscaler_moves_memory_alone_and_stays_below_limit_and_target() -> None:
    service = make_service().vertical("Active").targets(memory="1500Mi")
    [policy] = child(service, "VerticalPodAutoscaler", "a")["spec"]["resourcePolicy"]["containerPolicies"]
    assert policy["controlledResources"] == ["memory"]
    assert policy["maxAllowed"] == {"memory": str(1500 * 2**20)}
    assert policy["minAllowed"] == {"memory": str(256 * 2**20)}


def test_the_guard_goes_without_a_metric_that_the_cluster_cannot_give() -> None:
    service = make_service().scaling(horizontalPodAutoscaler={"requestsPerSecond": 100, "memoryPercent": 80})
    for available, expected in ((VPA, ["cpu", "memory"]), (Available(custom_metrics=True), ["cpu", "memory", "Pods"])):
        [hpa] = [manifest for manifest in build(service, available) if manifest["kind"] == "HorizontalPodAutoscaler"]
        named = [metric.get("resource", {}).get("name", metric["type"]) for metric in hpa["spec"]["metrics"]]
        assert named == expected


def test_a_chosen_account_is_used_and_none_is_made() -> None:
    service = make_service().spec(podTemplate={"serviceAccountName": "mine"})
    assert "ServiceAccount/a-service" not in listed(build(service))
    assert child(service, "Deployment", "a")["spec"]["template"]["spec"]["serviceAccountName"] == "mine"


def test_the_users_variable_replaces_one_that_a_dependency_would_set() -> None:
    service = make_service().spec(dependencies={"redis": {"url": "redis://a"}}).env("GENERATION_SERVICE_REDIS_URL", "b")
    container = child(service, "Deployment", "a")["spec"]["template"]["spec"]["containers"][0]
    values = [entry["value"] for entry in container["env"] if entry["name"] == "GENERATION_SERVICE_REDIS_URL"]
    assert values == ["b"]


def scalars(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for item in value.values():
            yield from scalars(item)
    elif isinstance(value, list):
        for item in value:
            yield from scalars(item)
    else:
        yield value


@given(st.integers(1, 65535), st.integers(1, 86400), st.sampled_from(["Active", "Recommend", "Paused"]))
def test_manifests_hold_only_what_json_can_say_exactly(port: int, duration: int, mode: str) -> None:
    service = make_service().spec(port=port).targets(workflowDurationSeconds=duration).mode(mode)
    for manifest in build(service):
        # Exact types: an enum or a float would be written differently than it is compared later.
        assert {type(value) for value in scalars(manifest)} <= {str, int, bool}

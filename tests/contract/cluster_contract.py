"""What every `ClusterApi` must do: the same tests for the adapter in memory and for a real API server.

Subclass it where a fixture `cluster` (the adapter) and `namespace` (empty, own to the test) exist, and the CRD is
installed. Controllers may run beside it: what they write about a Deployment must not matter.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from generation_operator.api.kinds import CONFIG_MAP, DEPLOYMENT, GENERATION_SERVICE, SERVICE, Kind, Manifest
from generation_operator.api.names import API_VERSION, KIND
from generation_operator.cluster.ports import ClusterApi, ClusterError, ConflictError, NotFoundError, Scale

ABSENT = Kind("absent.generation.dev/v1", "Absence", "absences")
LABELS = {"app": "web"}


def deployment(namespace: str, name: str = "web", **spec: Any) -> Manifest:
    """A Deployment without replicas."""
    container = {"name": "app", "image": "registry.invalid/app:1", "env": [{"name": "A", "value": "1"}]}
    template = {"metadata": {"labels": LABELS}, "spec": {"containers": [container]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "labels": LABELS},
        "spec": {"selector": {"matchLabels": LABELS}, "template": template} | spec,
    }


def autoscaler(namespace: str, **bounds: int) -> Manifest:
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}} | bounds,
    }


def only_replicas(namespace: str, replicas: int) -> Manifest:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {"replicas": replicas},
    }


def config_map(namespace: str, name: str = "settings", labels: dict[str, str] | None = None, **data: str) -> Manifest:
    metadata = {"name": name, "namespace": namespace} | ({"labels": labels} if labels else {})
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def generation_service(namespace: str, **spec: Any) -> Manifest:
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": "chat", "namespace": namespace},
        "spec": {"image": "registry.invalid/app:1"} | spec,
    }


def owners_of(manifest: Manifest, *path: str) -> set[tuple[str, str, str]]:
    """Manager, operation and subresource of everybody who owns a field (`f:spec`, `f:replicas`)."""
    return set(_owners(manifest, path))


def _owners(manifest: Manifest, path: tuple[str, ...]) -> Iterator[tuple[str, str, str]]:
    for entry in manifest["metadata"]["managedFields"]:
        node: Any = entry["fieldsV1"]
        for element in path:
            node = node.get(element) if node is not None else None
        if node is not None:
            yield entry["manager"], entry["operation"], entry.get("subresource", "")


def version(manifest: Manifest) -> str:
    return str(manifest["metadata"]["resourceVersion"])


async def scaled(cluster: ClusterApi, namespace: str, to: int, manager: str) -> Scale:
    """Scale as a caller should: with the fresh object when a controller wrote meanwhile."""
    for _ in range(20):
        seen = await cluster.get_scale(DEPLOYMENT, namespace, "web")
        try:
            return await cluster.scale(DEPLOYMENT, namespace, "web", to, expect=seen, manager=manager)
        except ConflictError:
            continue
    raise AssertionError("somebody keeps writing the Deployment")


class ClusterContract:
    """Test classes of adapters inherit from this."""

    # Reading

    async def test_what_was_applied_is_read(self, cluster: ClusterApi, namespace: str) -> None:
        applied = await cluster.apply(config_map(namespace, color="red"), manager="one")
        read = await cluster.get(CONFIG_MAP, namespace, "settings")
        assert (read["apiVersion"], read["kind"], read["data"]) == ("v1", "ConfigMap", {"color": "red"})
        assert read["metadata"]["uid"]
        assert version(read) == version(applied)

    async def test_texts_of_any_alphabet_are_kept(self, cluster: ClusterApi, namespace: str) -> None:
        text = "größer 😀 \x85 \u2028 \ufeff \x7f"
        await cluster.apply(config_map(namespace, text=text), manager="one")
        read = await cluster.get(CONFIG_MAP, namespace, "settings")
        assert read["data"]["text"] == text

    async def test_list_returns_every_object_with_its_kind(self, cluster: ClusterApi, namespace: str) -> None:
        for name in ("a", "b"):
            await cluster.apply(config_map(namespace, name, {"made-by": "test"}), manager="one")
        found = await cluster.list(CONFIG_MAP, namespace, label_selector="made-by=test")
        assert [(item["apiVersion"], item["kind"], item["metadata"]["name"]) for item in found] == [
            ("v1", "ConfigMap", "a"),
            ("v1", "ConfigMap", "b"),
        ]

    async def test_list_selects_by_all_labels(self, cluster: ClusterApi, namespace: str) -> None:
        await cluster.apply(config_map(namespace, "a", {"made-by": "test", "color": "red"}), manager="one")
        await cluster.apply(config_map(namespace, "b", {"made-by": "test", "color": "blue"}), manager="one")
        await cluster.apply(config_map(namespace, "c", {"color": "red"}), manager="one")
        found = await cluster.list(CONFIG_MAP, namespace, label_selector="made-by=test,color=red")
        assert [item["metadata"]["name"] for item in found] == ["a"]

    async def test_list_without_a_namespace_finds_objects_of_all(self, cluster: ClusterApi, namespace: str) -> None:
        await cluster.apply(config_map(namespace), manager="one")
        found = await cluster.list(CONFIG_MAP)
        assert (namespace, "settings") in {(item["metadata"]["namespace"], item["metadata"]["name"]) for item in found}

    async def test_list_returns_what_is_made_of_each_object(self, cluster: ClusterApi, namespace: str) -> None:
        for name in ("a", "b"):
            await cluster.apply(config_map(namespace, name, {"made-by": "test"}), manager="one")

        def named(item: Manifest) -> Manifest:
            assert (item["apiVersion"], item["kind"]) == ("v1", "ConfigMap")
            return {"name": item["metadata"]["name"]}

        found = await cluster.list(CONFIG_MAP, namespace, label_selector="made-by=test", transform=named)
        assert found == [{"name": "a"}, {"name": "b"}]

    async def test_list_of_nothing_is_empty(self, cluster: ClusterApi, namespace: str) -> None:
        assert await cluster.list(DEPLOYMENT, namespace) == []

    async def test_group_is_served_or_not(self, cluster: ClusterApi, namespace: str) -> None:
        assert namespace
        served = [await cluster.serves(group) for group in ("apps", "autoscaling", "no.such.example")]
        assert served == [True, True, False]

    async def test_missing_object_is_not_found(self, cluster: ClusterApi, namespace: str) -> None:
        with pytest.raises(NotFoundError) as caught:
            await cluster.get(SERVICE, namespace, "nobody")
        assert caught.value.status == 404
        assert "nobody" in caught.value.message

    async def test_missing_kind_is_not_found(self, cluster: ClusterApi, namespace: str) -> None:
        with pytest.raises(NotFoundError):
            await cluster.get(ABSENT, namespace, "anything")
        with pytest.raises(NotFoundError):
            await cluster.list(ABSENT)

    # Applying

    async def test_unsaid_replicas_are_one_and_belong_to_nobody(self, cluster: ClusterApi, namespace: str) -> None:
        applied = await cluster.apply(deployment(namespace), manager="one")
        assert applied["spec"]["replicas"] == 1
        assert owners_of(applied, "f:spec", "f:replicas") == set()
        assert owners_of(applied, "f:spec", "f:template") == {("one", "Apply", "")}

    async def test_apply_with_a_uid_is_for_that_very_object(self, cluster: ClusterApi, namespace: str) -> None:
        wanted = config_map(namespace, a="1")
        stranger = wanted | {"metadata": wanted["metadata"] | {"uid": "ffffffff-0000-4000-8000-000000000000"}}
        with pytest.raises(ConflictError):
            await cluster.apply(stranger, manager="m")
        with pytest.raises(NotFoundError):
            await cluster.get(CONFIG_MAP, namespace, "settings")
        live = await cluster.apply(wanted, manager="m")
        with pytest.raises(ClusterError, match="immutable"):
            await cluster.apply(stranger, manager="m")
        same = wanted | {"metadata": wanted["metadata"] | {"uid": live["metadata"]["uid"]}, "data": {"a": "2"}}
        assert (await cluster.apply(same, manager="m"))["data"] == {"a": "2"}

    async def test_apply_with_a_version_is_for_that_very_version(self, cluster: ClusterApi, namespace: str) -> None:
        first = await cluster.apply(config_map(namespace, a="1"), manager="m")
        second = config_map(namespace, a="2")
        second["metadata"]["resourceVersion"] = version(first)
        changed = await cluster.apply(second, manager="m")
        assert changed["data"] == {"a": "2"}
        second["data"] = {"a": "3"}
        with pytest.raises(ConflictError):
            await cluster.apply(second, manager="m")
        assert (await cluster.get(CONFIG_MAP, namespace, "settings"))["data"] == {"a": "2"}

    async def test_same_apply_again_changes_nothing(self, cluster: ClusterApi, namespace: str) -> None:
        first = await cluster.apply(config_map(namespace, color="red"), manager="one")
        second = await cluster.apply(config_map(namespace, color="red"), manager="one")
        assert version(second) == version(first)
        await cluster.apply(deployment(namespace), manager="one")
        assert (await cluster.apply(deployment(namespace), manager="one"))["metadata"]["generation"] == 1

    async def test_changed_spec_is_a_new_generation(self, cluster: ClusterApi, namespace: str) -> None:
        first = await cluster.apply(deployment(namespace), manager="one")
        second = await cluster.apply(deployment(namespace, minReadySeconds=3), manager="one")
        assert second["metadata"]["generation"] == 2
        assert second["metadata"]["uid"] == first["metadata"]["uid"]
        assert version(second) != version(first)

    async def test_changed_labels_are_no_new_generation(self, cluster: ClusterApi, namespace: str) -> None:
        await cluster.apply(deployment(namespace), manager="one")
        labelled = deployment(namespace)
        labelled["metadata"]["labels"] = LABELS | {"color": "red"}
        assert (await cluster.apply(labelled, manager="one"))["metadata"]["generation"] == 1

    async def test_field_no_longer_applied_is_removed(self, cluster: ClusterApi, namespace: str) -> None:
        await cluster.apply(config_map(namespace, color="red", size="xl"), manager="one")
        assert (await cluster.apply(config_map(namespace, size="xl"), manager="one"))["data"] == {"size": "xl"}

    async def test_field_that_another_owns_too_stays(self, cluster: ClusterApi, namespace: str) -> None:
        await cluster.apply(config_map(namespace, color="red", size="xl"), manager="one")
        await cluster.apply(config_map(namespace, color="red"), manager="two")
        after = await cluster.apply(config_map(namespace, size="xl"), manager="one")
        assert after["data"] == {"color": "red", "size": "xl"}
        assert owners_of(after, "f:data", "f:color") == {("two", "Apply", "")}

    async def test_managers_share_a_list_of_named_items(self, cluster: ClusterApi, namespace: str) -> None:
        await cluster.apply(deployment(namespace), manager="one")
        other = deployment(namespace)
        other["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "B", "value": "2"}]
        after = await cluster.apply(other, manager="two")
        environment = after["spec"]["template"]["spec"]["containers"][0]["env"]
        assert {entry["name"]: entry["value"] for entry in environment} == {"A": "1", "B": "2"}

    async def test_named_item_no_longer_applied_is_removed(self, cluster: ClusterApi, namespace: str) -> None:
        await cluster.apply(deployment(namespace), manager="one")
        other = deployment(namespace)
        other["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "B", "value": "2"}]
        after = await cluster.apply(other, manager="one")
        assert after["spec"]["template"]["spec"]["containers"][0]["env"] == [{"name": "B", "value": "2"}]

    async def test_conflict_names_the_other_manager(self, cluster: ClusterApi, namespace: str) -> None:
        first = await cluster.apply(config_map(namespace, color="red"), manager="one")
        with pytest.raises(ConflictError) as caught:
            await cluster.apply(config_map(namespace, color="blue"), manager="two", force=False)
        assert caught.value.status == 409
        assert '"one"' in caught.value.message
        assert ".data.color" in caught.value.message
        assert version(await cluster.get(CONFIG_MAP, namespace, "settings")) == version(first)

    async def test_same_value_is_no_conflict(self, cluster: ClusterApi, namespace: str) -> None:
        await cluster.apply(config_map(namespace, color="red"), manager="one")
        after = await cluster.apply(config_map(namespace, color="red"), manager="two", force=False)
        assert owners_of(after, "f:data", "f:color") == {("one", "Apply", ""), ("two", "Apply", "")}

    async def test_force_takes_the_field_over(self, cluster: ClusterApi, namespace: str) -> None:
        await cluster.apply(config_map(namespace, color="red"), manager="one")
        after = await cluster.apply(config_map(namespace, color="blue"), manager="two")
        assert after["data"] == {"color": "blue"}
        assert owners_of(after, "f:data", "f:color") == {("two", "Apply", "")}

    async def test_manager_that_applies_only_the_name_gives_everything_up(
        self, cluster: ClusterApi, namespace: str
    ) -> None:
        await cluster.apply(deployment(namespace, replicas=3), manager="bootstrap")
        await cluster.apply(deployment(namespace), manager="one")
        narrowed = await cluster.apply(only_replicas(namespace, 3), manager="bootstrap", force=False)
        assert owners_of(narrowed, "f:spec", "f:replicas") == {("bootstrap", "Apply", "")}
        assert owners_of(narrowed, "f:spec", "f:template") == {("one", "Apply", "")}
        nameless = only_replicas(namespace, 3)
        del nameless["spec"]
        after = await cluster.apply(nameless, manager="bootstrap", force=False)
        assert "bootstrap" not in {entry["manager"] for entry in after["metadata"]["managedFields"]}
        assert after["spec"]["replicas"] == 1  # the field has no owner left, so the default is back

    @pytest.mark.parametrize(
        ("change", "problem"),
        [
            ({"metadata": {"name": "Not_A_Name"}}, "metadata.name"),
            ({"spec": {"selector": {"matchLabels": {"app": "other"}}}}, "selector"),
        ],
    )
    async def test_invalid_manifest_is_refused_with_the_field(
        self, cluster: ClusterApi, namespace: str, change: dict[str, dict[str, Any]], problem: str
    ) -> None:
        manifest = deployment(namespace)
        for part, fields in change.items():
            manifest[part] |= fields
        with pytest.raises(ClusterError) as caught:
            await cluster.apply(manifest, manager="one")
        assert caught.value.status == 422
        assert problem in caught.value.message
        assert await cluster.list(DEPLOYMENT, namespace) == []

    async def test_bounds_of_an_hpa_are_handed_from_one_manager_to_another(
        self, cluster: ClusterApi, namespace: str
    ) -> None:
        await cluster.apply(autoscaler(namespace, minReplicas=2, maxReplicas=9), manager="one")
        bounds = autoscaler(namespace, minReplicas=4, maxReplicas=9)
        del bounds["spec"]["scaleTargetRef"]
        with pytest.raises(ConflictError):
            await cluster.apply(bounds, manager="two", force=False)
        await cluster.apply(bounds, manager="two")
        after = await cluster.apply(autoscaler(namespace), manager="one")
        assert (after["spec"]["minReplicas"], after["spec"]["maxReplicas"]) == (4, 9)
        for field in ("f:minReplicas", "f:maxReplicas"):
            assert owners_of(after, "f:spec", field) == {("two", "Apply", "")}
        assert owners_of(after, "f:spec", "f:scaleTargetRef") == {("one", "Apply", "")}

    async def test_maximum_of_an_hpa_cannot_be_given_up_by_its_only_owner(
        self, cluster: ClusterApi, namespace: str
    ) -> None:
        await cluster.apply(autoscaler(namespace, minReplicas=2, maxReplicas=9), manager="one")
        with pytest.raises(ClusterError) as caught:
            await cluster.apply(autoscaler(namespace), manager="one")
        assert caught.value.status == 422
        assert "maxReplicas" in caught.value.message
        with pytest.raises(ClusterError, match="maxReplicas"):
            await cluster.apply(autoscaler(namespace, minReplicas=10, maxReplicas=9), manager="one")

    async def test_immutable_selector_is_refused(self, cluster: ClusterApi, namespace: str) -> None:
        await cluster.apply(deployment(namespace), manager="one")
        other = deployment(namespace, selector={"matchLabels": {"app": "other"}})
        other["spec"]["template"]["metadata"]["labels"] = {"app": "other"}
        with pytest.raises(ClusterError, match="immutable") as caught:
            await cluster.apply(other, manager="one")
        assert caught.value.status == 422

    async def test_spec_that_breaks_a_rule_is_refused(self, cluster: ClusterApi, namespace: str) -> None:
        bad = generation_service(namespace, scaling={"minReplicas": 5, "maxReplicas": 2})
        with pytest.raises(ClusterError, match="minReplicas must not exceed maxReplicas") as caught:
            await cluster.apply(bad, manager="one")
        assert caught.value.status == 422

    # Status

    async def test_status_is_apart_from_the_spec(self, cluster: ClusterApi, namespace: str) -> None:
        made = await cluster.apply(generation_service(namespace), manager="one")
        status = {"observedGeneration": 1, "replicas": 2}
        written = await cluster.apply_status(generation_service(namespace) | {"status": status}, manager="one")
        assert written["status"] == status
        assert written["metadata"]["generation"] == made["metadata"]["generation"]
        assert owners_of(written, "f:status", "f:replicas") == {("one", "Apply", "status")}
        again = await cluster.apply(generation_service(namespace) | {"status": {"replicas": 9}}, manager="one")
        assert again["status"] == status

    async def test_same_status_again_changes_nothing(self, cluster: ClusterApi, namespace: str) -> None:
        await cluster.apply(generation_service(namespace), manager="one")
        manifest = generation_service(namespace) | {"status": {"replicas": 2}}
        first = await cluster.apply_status(manifest, manager="one")
        assert version(await cluster.apply_status(manifest, manager="one")) == version(first)

    async def test_status_of_a_missing_object_is_not_found(self, cluster: ClusterApi, namespace: str) -> None:
        with pytest.raises(NotFoundError):
            await cluster.apply_status(generation_service(namespace) | {"status": {"replicas": 1}}, manager="one")
        assert await cluster.list(GENERATION_SERVICE, namespace) == []

    # Scale

    async def test_scale_moves_replicas_and_their_owner(self, cluster: ClusterApi, namespace: str) -> None:
        await cluster.apply(deployment(namespace, replicas=2), manager="bootstrap")
        assert (await cluster.get_scale(DEPLOYMENT, namespace, "web")).replicas == 2
        assert (await scaled(cluster, namespace, 5, "scaler")).replicas == 5
        live = await cluster.get(DEPLOYMENT, namespace, "web")
        assert live["spec"]["replicas"] == 5
        assert owners_of(live, "f:spec", "f:replicas") == {("scaler", "Update", "scale")}

    async def test_scale_records_no_owner_where_there_was_none(self, cluster: ClusterApi, namespace: str) -> None:
        """Why the first count must be applied by somebody: only then managedFields tell who scaled last."""
        await cluster.apply(deployment(namespace), manager="one")
        await scaled(cluster, namespace, 5, "scaler")
        live = await cluster.get(DEPLOYMENT, namespace, "web")
        assert live["spec"]["replicas"] == 5
        assert owners_of(live, "f:spec", "f:replicas") == set()

    async def test_scaled_count_survives_an_apply_without_replicas(self, cluster: ClusterApi, namespace: str) -> None:
        await cluster.apply(deployment(namespace), manager="one")
        await scaled(cluster, namespace, 5, "scaler")
        assert (await cluster.apply(deployment(namespace, minReadySeconds=3), manager="one"))["spec"]["replicas"] == 5

    async def test_apply_of_a_scaled_count_conflicts_with_the_scaler(self, cluster: ClusterApi, namespace: str) -> None:
        await cluster.apply(deployment(namespace, replicas=2), manager="bootstrap")
        await scaled(cluster, namespace, 5, "scaler")
        with pytest.raises(ConflictError, match="scaler"):
            await cluster.apply(only_replicas(namespace, 2), manager="another", force=False)
        assert (await cluster.get_scale(DEPLOYMENT, namespace, "web")).replicas == 5

    async def test_scale_to_zero_and_back(self, cluster: ClusterApi, namespace: str) -> None:
        await cluster.apply(deployment(namespace), manager="one")
        assert (await scaled(cluster, namespace, 0, "scaler")).replicas == 0
        assert (await cluster.get_scale(DEPLOYMENT, namespace, "web")).replicas == 0
        assert (await scaled(cluster, namespace, 1, "scaler")).replicas == 1

    async def test_scale_answers_with_the_version_to_expect_next(self, cluster: ClusterApi, namespace: str) -> None:
        await cluster.apply(deployment(namespace), manager="one")
        before = await cluster.get_scale(DEPLOYMENT, namespace, "web")
        assert (await scaled(cluster, namespace, 2, "scaler")).resource_version != before.resource_version

    async def test_scale_of_a_changed_object_conflicts(self, cluster: ClusterApi, namespace: str) -> None:
        await cluster.apply(deployment(namespace, replicas=2), manager="bootstrap")
        seen = await cluster.get_scale(DEPLOYMENT, namespace, "web")
        await scaled(cluster, namespace, 3, "another")
        with pytest.raises(ConflictError, match="modified") as caught:
            await cluster.scale(DEPLOYMENT, namespace, "web", 5, expect=seen, manager="scaler")
        assert caught.value.status == 409
        assert (await cluster.get_scale(DEPLOYMENT, namespace, "web")).replicas == 3

    async def test_scale_of_a_missing_object_is_not_found(self, cluster: ClusterApi, namespace: str) -> None:
        with pytest.raises(NotFoundError):
            await cluster.get_scale(DEPLOYMENT, namespace, "nobody")
        with pytest.raises(NotFoundError):
            await cluster.scale(DEPLOYMENT, namespace, "nobody", 2, expect=Scale(1, "1"), manager="scaler")

    async def test_scale_of_a_kind_without_it_is_not_found(self, cluster: ClusterApi, namespace: str) -> None:
        await cluster.apply(config_map(namespace), manager="one")
        with pytest.raises(NotFoundError):
            await cluster.get_scale(CONFIG_MAP, namespace, "settings")

    # Deleting

    async def test_delete_removes_the_object(self, cluster: ClusterApi, namespace: str) -> None:
        made = await cluster.apply(config_map(namespace), manager="one")
        await cluster.delete(CONFIG_MAP, namespace, "settings", uid=made["metadata"]["uid"])
        with pytest.raises(NotFoundError):
            await cluster.get(CONFIG_MAP, namespace, "settings")

    async def test_delete_of_nothing_does_nothing(self, cluster: ClusterApi, namespace: str) -> None:
        await cluster.delete(CONFIG_MAP, namespace, "nobody", uid="00000000-0000-0000-0000-000000000001")

    async def test_delete_spares_a_successor_of_the_same_name(self, cluster: ClusterApi, namespace: str) -> None:
        first = await cluster.apply(config_map(namespace), manager="one")
        await cluster.delete(CONFIG_MAP, namespace, "settings", uid=first["metadata"]["uid"])
        second = await cluster.apply(config_map(namespace), manager="one")
        await cluster.delete(CONFIG_MAP, namespace, "settings", uid=first["metadata"]["uid"])
        found = await cluster.get(CONFIG_MAP, namespace, "settings")
        assert found["metadata"]["uid"] == second["metadata"]["uid"] != first["metadata"]["uid"]

    # Events

    async def test_event_that_is_refused_disturbs_nobody(self, cluster: ClusterApi, namespace: str) -> None:
        await cluster.emit_event({"apiVersion": "v1", "kind": "Event", "metadata": {"namespace": namespace}})

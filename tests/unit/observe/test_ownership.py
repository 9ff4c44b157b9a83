"""Who else has a say: what counts as a claim, a wish of a person, and a rival."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import UID
from generation_operator.api.kinds import HPA, POD_AUTOSCALER, SCALED_OBJECT, VPA, Kind, Manifest
from generation_operator.api.names import API_VERSION, KIND, LABEL_MANAGED_BY, MANAGER_BOOTSTRAP, MANAGER_SCALER
from generation_operator.api.resource import Key
from generation_operator.decide.types import Seconds
from generation_operator.observe.ownership import (
    Claim,
    Manual,
    Standing,
    Trace,
    Write,
    claim_of,
    is_ours,
    noticed,
    owners,
    remembered,
    replicas_written_by,
    standing,
)

NOW = Seconds(1_700_000_000.0)  # 2023-11-14T22:13:20Z
KEEP = 1800.0
AT = "2023-11-14T22:13:10Z"
KUBECTL = ("kubectl", AT)


def deployment(*entries: tuple[str, str], replicas: int = 5, more: dict[str, Any] | None = None) -> Manifest:
    """A Deployment whose count these (manager, time) own."""
    return {
        "metadata": {
            "name": "a",
            "namespace": "n",
            "managedFields": [
                {"manager": manager, "time": time, "fieldsV1": {"f:spec": {"f:replicas": {}} | (more or {})}}
                for manager, time in entries
            ],
        },
        "spec": {"replicas": replicas},
    }


def look(trace: Trace, manifest: Manifest, now: float = NOW) -> Trace:
    return noticed(trace, manifest, keep_seconds=KEEP, now=Seconds(now))


def verdict(trace: Trace, *claims: Claim, now: float = NOW) -> Standing:
    return standing(trace, claims, keep_seconds=KEEP, now=Seconds(now))


def claimant(kind: Kind, spec: dict[str, Any], **metadata: Any) -> Manifest:
    head = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": "x", "namespace": "n"} | metadata}
    return head | {"spec": spec}


DEPLOYMENT_A = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "a"}


@pytest.mark.parametrize(
    ("kind", "spec", "claimed"),
    [
        (HPA, {"scaleTargetRef": DEPLOYMENT_A}, True),
        (HPA, {"scaleTargetRef": DEPLOYMENT_A | {"kind": "StatefulSet"}}, False),
        (HPA, {"scaleTargetRef": DEPLOYMENT_A | {"apiVersion": "argoproj.io/v1alpha1"}}, False),
        (HPA, {}, False),
        (SCALED_OBJECT, {"scaleTargetRef": {"name": "a"}}, True),
        (POD_AUTOSCALER, {"scaleTargetRef": DEPLOYMENT_A}, True),
        (VPA, {"targetRef": DEPLOYMENT_A}, True),
        (VPA, {"targetRef": DEPLOYMENT_A, "updatePolicy": {"updateMode": "Recreate"}}, True),
        (VPA, {"targetRef": DEPLOYMENT_A, "updatePolicy": {"updateMode": "Off"}}, False),
    ],
)
def test_an_object_claims_the_deployment_that_it_names(kind: Kind, spec: dict[str, Any], *, claimed: bool) -> None:
    expected = Claim(kind, Key("n", "x"), "a") if claimed else None
    assert claim_of(kind, claimant(kind, spec)) == expected


OWNER = {"apiVersion": API_VERSION, "kind": KIND, "name": "a", "uid": UID, "controller": True}


@pytest.mark.parametrize(
    ("metadata", "ours"),
    [
        ({"ownerReferences": [OWNER]}, True),
        ({"name": "a", "labels": {LABEL_MANAGED_BY: "generation-operator"}}, True),  # orphaned: to be adopted
        ({"labels": {LABEL_MANAGED_BY: "generation-operator"}}, False),  # a copy under another name
        ({}, False),
        ({"labels": {LABEL_MANAGED_BY: "Helm"}}, False),
        ({"ownerReferences": [OWNER | {"controller": False}]}, False),
        ({"ownerReferences": [OWNER | {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject"}]}, False),
        (
            {"ownerReferences": [OWNER | {"kind": "X"}], "labels": {LABEL_MANAGED_BY: "generation-operator"}},
            False,
        ),
    ],
)
def test_an_object_is_ours_by_its_controller_or_as_an_orphan_by_its_label(
    metadata: dict[str, Any], *, ours: bool
) -> None:
    assert is_ours(claimant(HPA, {"scaleTargetRef": DEPLOYMENT_A}, **metadata)) is ours


@pytest.mark.parametrize(
    "entries",
    [
        (),
        ((MANAGER_BOOTSTRAP, AT),),
        ((MANAGER_SCALER, AT),),
        (("kube-controller-manager", AT),),
        ((MANAGER_SCALER, AT), ("argocd-controller", AT)),  # it applied the count that we wrote
    ],
)
def test_a_count_that_is_ours_or_the_hpas_is_nobodys_wish(entries: tuple[tuple[str, str], ...]) -> None:
    assert verdict(look(Trace(), deployment(*entries))) == Standing()


@pytest.mark.parametrize("manager", ["kubectl", "kubectl-edit", "argocd-controller", "k9s"])
def test_one_write_of_anybody_is_kept_for_a_time(manager: str) -> None:
    trace = look(Trace(), deployment((manager, AT)))
    assert verdict(trace) == Standing(manual=Manual(5, Seconds(NOW - 10 + KEEP), manager))
    assert verdict(trace, now=NOW - 10 + KEEP - 1).manual is not None
    assert verdict(trace, now=NOW - 10 + KEEP) == Standing()


def test_a_write_is_counted_once_however_often_it_is_seen() -> None:
    trace = look(Trace(), deployment(("argocd-controller", AT)))
    again = look(trace, deployment(("argocd-controller", AT)), NOW + 5)
    # It owns more than the count and changed the rest of it: that is no write of the count.
    later = look(again, deployment(("argocd-controller", "2023-11-14T22:20:00Z"), more={"f:paused": {}}), NOW + 500)
    assert later.writes == trace.writes
    assert verdict(later, now=NOW + 500).rivals == ()


def test_who_keeps_writing_is_a_rival_until_the_writes_are_long_past() -> None:
    trace = look(Trace(), deployment(("scripts", AT), replicas=3))
    trace = look(trace, deployment((MANAGER_SCALER, AT), replicas=5), NOW + 5)
    trace = look(trace, deployment(("scripts", "2023-11-14T22:13:30Z"), replicas=3), NOW + 10)
    found = verdict(trace, now=NOW + 10)
    assert found.rivals == ("field manager scripts, which keeps writing spec.replicas",)
    assert found.manual == Manual(3, Seconds(NOW + 10 + KEEP), "scripts")
    # The first of the two is forgotten KEEP + 900 s after it was made, 10 s before NOW.
    quiet = deployment((MANAGER_SCALER, AT))
    assert verdict(look(trace, quiet, NOW - 10 + KEEP + 899), now=NOW + 3000).rivals != ()
    assert verdict(look(trace, quiet, NOW - 10 + KEEP + 900), now=NOW + 3000).rivals == ()


def test_who_writes_again_as_soon_as_a_write_is_not_kept_any_more_is_a_rival() -> None:
    trace = look(Trace(), deployment(("flux", AT), replicas=3))
    trace = look(trace, deployment((MANAGER_SCALER, AT), replicas=5), NOW + KEEP)
    trace = look(trace, deployment(("flux", "2023-11-14T22:45:00Z"), replicas=3), NOW + 1900)
    assert verdict(trace, now=NOW + 1900).rivals == ("field manager flux, which keeps writing spec.replicas",)


def test_a_person_may_scale_as_often_as_it_likes() -> None:
    trace = Trace()
    for turn in range(5):
        trace = look(trace, deployment(KUBECTL, replicas=3 + turn), NOW + turn)
    found = verdict(trace, now=NOW + 5)
    assert found.rivals == ()
    assert found.manual is not None
    assert found.manual.replicas == 7


def test_a_count_by_hand_is_kept_also_when_the_hpa_has_raised_it_since() -> None:
    trace = look(Trace(), deployment(KUBECTL, replicas=3))
    trace = look(trace, deployment(("kube-controller-manager", AT), replicas=4), NOW + 60)
    found = verdict(trace, now=NOW + 60)
    assert found.manual == Manual(3, Seconds(NOW - 10 + KEEP), "kubectl")


def test_a_write_of_long_ago_is_no_wish() -> None:
    trace = look(Trace(), deployment(("kubectl", "2023-11-10T00:00:00Z")))
    assert (verdict(trace), trace.writes) == (Standing(), ())


@pytest.mark.parametrize("time", ["2033-01-01T00:00:00Z", "", "soon"])
def test_a_time_that_cannot_be_is_now(time: str) -> None:
    trace = look(Trace(), deployment(("kubectl", time)))
    assert verdict(trace).manual == Manual(5, Seconds(NOW + KEEP), "kubectl")


def test_a_restart_goes_on_with_what_the_status_tells() -> None:
    manual = Manual(5, Seconds(NOW + 60), "kubectl")
    trace = look(remembered(manual, keep_seconds=KEEP), deployment(KUBECTL))
    assert verdict(trace) == Standing(manual=manual)
    assert remembered(None, keep_seconds=KEEP) == Trace()


def test_rivals_are_named_in_a_fixed_order() -> None:
    first, second = Claim(HPA, Key("n", "x"), "a"), Claim(SCALED_OBJECT, Key("n", "b"), "a")
    expected = ("HorizontalPodAutoscaler x", "ScaledObject b")
    assert verdict(Trace(), second, first).rivals == verdict(Trace(), first, second).rivals == expected


def test_a_count_that_we_wrote_is_ours_before_the_watch_says_so() -> None:
    before = deployment(KUBECTL)
    before["metadata"]["managedFields"].append({"manager": "x", "fieldsV1": {"f:spec": {"f:template": {}}}})
    told = replicas_written_by(MANAGER_SCALER, before["metadata"]["managedFields"])
    after = before | {"metadata": before["metadata"] | {"managedFields": told}}
    assert owners(after, "spec", "replicas") == {(MANAGER_SCALER, "scale")}
    assert owners(after, "spec", "template") == {("x", "")}
    assert owners(before, "spec", "replicas") == {("kubectl", "")}


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["kubectl", "x", "y", MANAGER_SCALER, "kube-controller-manager"]),
            st.integers(0, 9),
            st.floats(0, 4000),
        ),
        max_size=60,
    )
)
def test_whatever_happens_memory_is_bounded_and_every_wish_ends(looks: list[tuple[str, int, float]]) -> None:
    trace, now = Trace(), float(NOW)
    for manager, replicas, passed in looks:
        now += passed
        trace = look(trace, deployment((manager, "2030-01-01T00:00:00Z"), replicas=replicas), now)
        found = verdict(trace, now=now)
        assert len(trace.writes) <= 8
        assert found.manual is None or now < found.manual.until <= now + KEEP
    ended = look(trace, deployment((MANAGER_SCALER, AT)), now + KEEP + 900)
    assert verdict(ended, now=now + KEEP + 900) == Standing()


def test_a_write_remembers_who_how_many_and_when() -> None:
    assert look(Trace(), deployment(KUBECTL)).writes == (Write("kubectl", 5, Seconds(NOW - 10)),)

"""The operator as a process against a real API server, HPA controller and Prometheus."""

import json
import signal
import time

import pytest

from api_fixtures import Api, Operator, eventually, service
from exporter import HIGH, LOW, Exporter, Load
from ownership_world import FAST, deployment_replicas, operator_writes, owners, ready


@pytest.fixture
def running(api: Api, operator: Operator) -> Operator:
    operator.start()
    return operator


def test_apply_makes_every_child(api: Api, running: Operator) -> None:
    api.apply(service("made"))
    for child in ("deployment/made", "service/made", "service/made-headless", "hpa/made", "deployment/made-proxy",
                  "service/made-proxy"):  # fmt: skip
        api.await_object(*child.split("/"))
    assert [item for item in api.items("configmap") if item["metadata"]["name"].startswith("made-proxy-")]
    eventually(lambda: ready(api, "made"), bool, what="Ready")
    status = api.get("gensvc", "made")["status"]
    assert status["replicas"] == 2
    assert {entry["type"] for entry in status["conditions"]} >= {
        "Ready",
        "WorkloadAvailable",
        "MetricsAvailable",
        "AbleToScale",
    }


def test_missing_vpa_api_is_no_error(api: Api, running: Operator) -> None:
    api.apply(service("novpa"))
    eventually(lambda: ready(api, "novpa"), bool, what="Ready without the VPA API")


def test_second_reconcile_writes_nothing(api: Api, operator: Operator) -> None:
    operator.settings["GENERATION_OPERATOR_RESYNC_SECONDS"] = "2"
    operator.start()
    api.apply(service("quiet"))
    eventually(lambda: ready(api, "quiet"), bool, what="Ready")
    time.sleep(4)  # the last pods' readiness has reached the status
    before = operator_writes(api)
    assert before, "the audit log must show the first writes, else this test could not fail"
    time.sleep(5)  # two resyncs and five ticks
    after = operator_writes(api)
    assert [entry["requestURI"] for entry in after[len(before) :]] == []


def test_managed_fields_are_those_of_the_ownership_table(api: Api, running: Operator) -> None:
    api.apply(service("owned"))
    eventually(lambda: ready(api, "owned"), bool, what="Ready")
    deployment = api.get("deployment", "owned")
    assert owners(deployment, "spec", "replicas") == {("generation-operator-bootstrap", "")}
    assert owners(deployment, "spec", "template") == {("generation-operator", "")}
    assert owners(deployment, "metadata", "labels") == {("generation-operator", "")}
    hpa = api.get("hpa", "owned")
    for field in ("minReplicas", "maxReplicas", "metrics", "behavior", "scaleTargetRef"):
        assert owners(hpa, "spec", field) == {("generation-operator", "")}
    resource = api.get("gensvc", "owned")
    assert owners(resource, "status") >= {("generation-operator", "status")}
    assert "finalizers" not in resource["metadata"]
    assert not [key for key in resource["metadata"].get("annotations", {}) if "kopf" in key]


def test_load_scales_up_through_the_scale_subresource_and_down_again(api: Api, running: Operator) -> None:
    api.apply(service("loaded", **FAST))
    eventually(lambda: ready(api, "loaded"), bool, what="Ready")
    pods = [item["metadata"]["name"] for item in api.items("pods", "app.kubernetes.io/component=service")]
    with Exporter(api.cluster.plan, api.namespace, "loaded").serving(pods, HIGH) as exporter:
        eventually(lambda: api.condition("loaded", "MetricsAvailable").get("status"), lambda s: s == "True", seconds=40)
        eventually(lambda: deployment_replicas(api, "loaded"), lambda count: count >= 4, seconds=30)
        # New fake pods report nothing, so that the evidence covers ever fewer of them: announce them as well.
        deployment = api.get("deployment", "loaded")
        assert owners(deployment, "spec", "replicas") == {("generation-operator-scaler", "scale")}
        decision = api.get("gensvc", "loaded")["status"]["autoscaling"]["lastDecision"]
        assert decision["reason"] in {"HighLoad", "Cooldown", "MissingMetrics"}
        pods = [item["metadata"]["name"] for item in api.items("pods", "app.kubernetes.io/component=service")]
        exporter.announce(pods)
        exporter.set(LOW)
        eventually(lambda: deployment_replicas(api, "loaded"), lambda count: count == 2, seconds=60)
    events = api.items("events")
    assert {"ScaledUp", "ScaledDown"} <= {event["reason"] for event in events}


def test_without_metrics_replicas_are_held_and_the_condition_says_so(api: Api, running: Operator) -> None:
    api.apply(service("blind", **FAST))
    eventually(lambda: deployment_replicas(api, "blind"), lambda count: count == 2)
    api.kubectl("scale", "deployment/blind", "--replicas=5")
    time.sleep(6)
    assert deployment_replicas(api, "blind") == 5
    assert api.condition("blind", "MetricsAvailable")["status"] == "False"


def test_unreachable_prometheus_holds_and_disturbs_nothing(api: Api, operator: Operator) -> None:
    operator.settings["GENERATION_OPERATOR_PROMETHEUS_URL"] = "http://127.0.0.1:9"
    operator.start()
    api.apply(service("deaf"))
    condition = eventually(
        lambda: api.condition("deaf", "MetricsAvailable"), lambda found: found.get("status") == "False"
    )
    assert condition["reason"] == "PrometheusUnreachable"
    eventually(lambda: ready(api, "deaf"), bool, what="Ready")
    assert operator.process is not None
    assert operator.process.poll() is None


def test_guard_raises_but_never_lowers_while_the_operator_is_stopped(api: Api, running: Operator) -> None:
    api.apply(service("guarded"))
    eventually(lambda: ready(api, "guarded"), bool, what="Ready")
    assert running.stop() == 0
    everything = ("pods", "--selector=app.kubernetes.io/component=service", "--overwrite")
    api.kubectl("annotate", *everything, "kwok.x-k8s.io/usage-cpu=200m")  # twice the request; the target is 70 %
    # 60 s of the guide's scale-up stabilisation, after some 20 s until the first metrics.
    raised = eventually(lambda: deployment_replicas(api, "guarded"), lambda count: count > 2, seconds=150)
    assert ("kube-controller-manager", "scale") in owners(api.get("deployment", "guarded"), "spec", "replicas")
    api.kubectl("annotate", *everything, "kwok.x-k8s.io/usage-cpu=1m")
    eventually(
        lambda: api.get("hpa", "guarded")["status"]["currentMetrics"][0]["resource"]["current"]["averageUtilization"],
        lambda percent: percent < 30,
        seconds=60,
        what="the HPA sees that the load is gone",
    )
    highest = max(raised, deployment_replicas(api, "guarded"))
    time.sleep(8)  # eight syncs of the HPA controller, and past its stabilisation window
    assert deployment_replicas(api, "guarded") >= highest


def test_restart_never_lowers_replicas_by_itself(api: Api, running: Operator) -> None:
    api.apply(service("kept", **FAST))
    eventually(lambda: ready(api, "kept"), bool, what="Ready")
    api.kubectl("scale", "deployment/kept", "--replicas=6")
    running.stop(signal.SIGKILL)
    running.start()
    time.sleep(6)
    assert deployment_replicas(api, "kept") == 6


def test_edited_child_is_mended_and_the_scale_is_left_alone(api: Api, running: Operator) -> None:
    api.apply(service("mended"))
    eventually(lambda: ready(api, "mended"), bool, what="Ready")
    patch = {"spec": {"replicas": 4, "template": {"spec": {"terminationGracePeriodSeconds": 9}}}}
    api.kubectl("patch", "deployment/mended", "--patch", json.dumps(patch))
    grace = eventually(
        lambda: api.get("deployment", "mended")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"],
        lambda seconds: seconds > 9,
    )
    assert grace > 30
    assert deployment_replicas(api, "mended") == 4


def test_spec_that_slips_through_is_named_and_disturbs_no_other(api: Api, running: Operator) -> None:
    crd = "crd/generationservices.generation.dev"
    kept = json.loads(api.cluster.kubectl("get", crd, "--output=json"))
    path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/scaling/x-kubernetes-validations"
    api.cluster.kubectl("patch", crd, "--type=json", "--patch", json.dumps([{"op": "remove", "path": path}]))
    try:
        eventually(lambda: api.apply(service("invalid", minReplicas=9, maxReplicas=3)), lambda _: True)
        api.apply(service("valid"))
        condition = eventually(
            lambda: api.condition("invalid", "Ready"), lambda found: found.get("reason") == "InvalidSpec"
        )
        assert "minReplicas must not exceed maxReplicas" in condition["message"]
        assert api.find("deployment", "invalid") is None
        eventually(lambda: ready(api, "valid"), bool, what="the valid one is Ready")
    finally:
        rules = kept["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["scaling"]
        back = [{"op": "add", "path": path, "value": rules["x-kubernetes-validations"]}]
        api.cluster.kubectl("patch", crd, "--type=json", "--patch", json.dumps(back))


def test_recommend_mode_has_no_guard_and_writes_no_replicas(api: Api, running: Operator) -> None:
    api.apply(service("advised", mode="Recommend"))
    eventually(lambda: api.find("deployment", "advised"), lambda found: found is not None)
    eventually(lambda: api.condition("advised", "AbleToScale").get("status"), lambda status: status == "False")
    assert api.find("hpa", "advised") is None
    api.apply(service("advised", mode="Active"))
    eventually(
        lambda: api.find("hpa", "advised"), lambda found: found is not None, what="the guard appears with Active"
    )
    api.apply(service("advised", mode="Recommend"))
    eventually(lambda: api.find("hpa", "advised"), lambda found: found is None, what="and goes with Recommend")


def test_deleting_the_resource_deletes_its_children_even_without_the_operator(api: Api, running: Operator) -> None:
    api.apply(service("gone"))
    eventually(lambda: ready(api, "gone"), bool, what="Ready")
    running.stop()
    api.kubectl("delete", "gensvc", "gone", "--timeout=10s")
    eventually(lambda: api.find("deployment", "gone"), lambda found: found is None, seconds=40)


def test_sigterm_ends_it_cleanly(api: Api, running: Operator) -> None:
    api.apply(service("ended"))
    eventually(lambda: api.find("deployment", "ended"), lambda found: found is not None)
    assert running.stop() == 0


def test_kept_vertical_recommendation_appears_with_its_api(api: Api, running: Operator) -> None:
    """Runs last: the VPA CRD stays for the rest of the session."""
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": "verticalpodautoscalers.autoscaling.k8s.io",
            "annotations": {"api-approved.kubernetes.io": "unapproved, a trimmed copy for tests"},
        },
        "spec": {
            "group": "autoscaling.k8s.io",
            "scope": "Namespaced",
            "names": {
                "kind": "VerticalPodAutoscaler",
                "plural": "verticalpodautoscalers",
                "singular": "verticalpodautoscaler",
                "shortNames": ["vpa"],
            },
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
                        }
                    },
                }
            ],
        },
    }
    running.stop()
    running.settings["GENERATION_OPERATOR_RESYNC_SECONDS"] = "2"
    running.start()
    api.apply(service("vertical"))
    eventually(lambda: ready(api, "vertical"), bool, what="Ready before the API exists")
    api.apply(crd)
    vpa = eventually(lambda: api.find("vpa", "vertical"), lambda found: found is not None, seconds=30, what="the VPA")
    assert vpa is not None
    assert vpa["spec"]["updatePolicy"]["updateMode"] == "Off"


def test_exporter_reports_rates(api: Api) -> None:
    """The stand-in itself: two scrapes a second apart differ by the rate."""
    exporter = Exporter(api.cluster.plan, api.namespace, "self")
    with exporter.serving(["p"], Load(requests_per_second=100)):
        first = exporter.requests
        time.sleep(0.5)
        assert 40 <= exporter.requests - first <= 70

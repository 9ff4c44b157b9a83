"""What a scrape shows: everything from the start, honestly counted, within bounds; and its documentation."""

import math
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from generation_service.domain.workflow import Outcome, Status
from generation_service.performance.activity import Activity
from generation_service.performance.catalogue import DURATION_BUCKETS, METRICS, Origin
from generation_service.performance.load import render_load
from generation_service.performance.metrics import Metrics
from generation_service.ports import CacheStatus
from performance_fakes import ManualClock

ROUTE = "/v1/chat/completions"


def made() -> Metrics:
    return Metrics("shop", Activity(ManualClock()), routes=[ROUTE, "/healthz"], step_types=["generate"])


def scraped(metrics: Metrics) -> dict[str, float]:
    text, _ = metrics.render()
    return {
        sample.name + "".join(f"{{{key}={value}}}" for key, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def watch_all(metrics: Metrics) -> None:
    for spec in METRICS:
        if spec.origin is Origin.READ:
            labels = tuple("x" for _ in spec.labels)
            metrics.watch(spec.name, lambda labels=labels: {labels: 1.0})  # type: ignore[misc]


def test_names_that_the_operator_queries_exist_from_the_first_scrape() -> None:
    metrics = made()
    metrics.watch("generation_service_queue_length", lambda: 4.5)
    metrics.watch("generation_service_requests_in_flight", lambda: 3)
    found = scraped(metrics)
    for name, value in {
        "generation_service_info{service=shop}": 1,
        "generation_service_requests_total{outcome=success}": 0,
        "generation_service_requests_total{outcome=error}": 0,
        "generation_service_request_duration_seconds_sum": 0,
        "generation_service_request_duration_seconds_count": 0,
        "generation_service_workflows_arrived_total": 0,
        "generation_service_workflow_service_seconds_sum": 0,
        "generation_service_workflow_service_seconds_count": 0,
        "generation_service_queue_length": 4.5,
        "generation_service_requests_in_flight": 3,
    }.items():
        assert found[name] == value
    assert found["process_resident_memory_bytes"] > 0
    assert "process_cpu_seconds_total" in found
    assert sum(name.startswith("generation_service_request_duration_seconds_bucket") for name in found) == 1 + len(
        DURATION_BUCKETS
    )


def test_every_metric_of_the_catalogue_is_exported() -> None:
    metrics = made()
    assert "generation_service_pool_size" in metrics.unwatched
    watch_all(metrics)
    assert metrics.unwatched == frozenset()
    names = {name.partition("{")[0] for name in scraped(metrics)}
    for spec in METRICS:
        assert names & {spec.name, f"{spec.name}_count"}, spec.name


def test_no_series_appears_only_once_something_happened() -> None:
    metrics = made()
    watch_all(metrics)
    before = set(scraped(metrics))
    metrics.arrived()
    metrics.ran(1)
    metrics.rejected()
    metrics.retried(2)
    metrics.optimized("gc_collect", True)
    for outcome in Outcome:
        metrics.finished(outcome, 1)
        metrics.step_finished("generate", outcome, 1)
        metrics.step_finished("from a client", outcome, 1)
    for status in (Status.SUCCEEDED, Status.FAILED, Status.CANCELLED):
        metrics.workflow_ended(status)
    for code in (101, 200, 304, 404, 499, 503, 999):
        for cache_status in (*CacheStatus, None):
            metrics.http_request(ROUTE, code, cache_status, 0.1, streamed=False)
            metrics.http_request(f"/{code}", code, cache_status, 0.1, streamed=True)
    assert set(scraped(metrics)) == before


def test_rejection_is_an_error_without_a_duration() -> None:
    metrics = made()
    metrics.finished(Outcome.SUCCESS, 2.0)
    for _ in range(9):
        metrics.rejected()
    found = scraped(metrics)
    assert found["generation_service_requests_total{outcome=error}"] == 9
    assert found["generation_service_request_duration_seconds_count"] == 1
    assert found["generation_service_request_duration_seconds_sum"] == 2.0


def test_names_from_clients_become_other() -> None:
    metrics = made()
    metrics.http_request("/v1/\n{evil}", 404, None, 0.1, streamed=False)
    metrics.step_finished("evil", Outcome.ERROR, 0.1)
    found = scraped(metrics)
    assert found["generation_service_http_responses_total{route=other}{status_class=4xx}"] == 1
    assert found["generation_service_steps_total{outcome=error}{type=other}"] == 1
    assert not any("evil" in name for name in found)


@pytest.mark.parametrize(
    ("route", "status", "streamed", "counted"),
    [(ROUTE, 200, False, 1), (ROUTE, 200, True, 0), (ROUTE, 499, False, 0), ("/healthz", 200, False, 0)],
)
def test_only_answers_of_the_api_have_a_response_time(route: str, status: int, streamed: bool, counted: int) -> None:
    activity = Activity(ManualClock())
    metrics = Metrics("shop", activity, routes=[ROUTE, "/healthz"])
    metrics.http_request(route, status, CacheStatus.HIT_L1, 0.1, streamed=streamed)
    found = scraped(metrics)
    assert found["generation_service_http_response_seconds_count"] == counted
    assert found["generation_service_cached_response_seconds_count{level=l1}"] == counted
    assert found["generation_service_cache_responses_total{status=HIT-L1}"] == 1
    assert activity.responses().cached_count == counted


def test_one_owner_that_fails_loses_its_metric_and_not_the_scrape() -> None:
    metrics = made()

    def fail() -> float:
        raise RuntimeError("dictionary changed size during iteration")

    metrics.watch("generation_service_pool_size", fail)
    metrics.watch("generation_service_pool_busy", lambda: {("too", "many"): 1.0})
    metrics.watch("generation_service_cpu_percent", lambda: None)
    scraped(metrics)
    found = scraped(metrics)
    assert found["generation_service_scrape_errors_total"] == 2
    assert "generation_service_pool_size" not in {name.partition("{")[0] for name in found}
    assert math.isnan(found["generation_service_cpu_percent"])


@pytest.mark.parametrize("name", ["generation_service_typo", "generation_service_requests_total"])
def test_only_metrics_that_are_read_can_be_watched(name: str) -> None:
    with pytest.raises(KeyError):
        made().watch(name, lambda: 1)


def test_two_apps_in_one_process_do_not_share_counts() -> None:
    one, other = made(), made()
    one.arrived()
    assert scraped(other)["generation_service_workflows_arrived_total"] == 0


def test_rendering_in_threads_while_counting_gives_whole_scrapes() -> None:
    metrics = made()
    watch_all(metrics)
    sizes: list[int] = []
    threads = [threading.Thread(target=lambda: sizes.append(len(scraped(metrics)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(2000):
        metrics.finished(Outcome.SUCCESS, 0.1)
    for thread in threads:
        thread.join()
    assert len(sizes) == 4
    assert len(set(sizes)) == 1


def test_table_has_one_row_for_each_name_and_no_owner_label() -> None:
    assert len({spec.name for spec in METRICS}) == len(METRICS)
    for spec in METRICS:
        assert spec.help
        assert spec.use
        assert not {"generationservice", "namespace", "pod"} & set(spec.labels)


def test_documentation_is_what_the_table_says() -> None:
    script = Path(__file__).parents[4] / "scripts" / "render_metrics_doc.py"
    subprocess.run([sys.executable, str(script), "--check"], check=True, timeout=30)


def test_load_is_three_samples_in_prometheus_format() -> None:
    text = render_load(3, 2, 2**60).decode()
    assert len(text.splitlines()) == 3
    found = {sample.name: sample.value for family in text_string_to_metric_families(text) for sample in family.samples}
    assert found == {
        "generation_service_load_in_flight": 3,
        "generation_service_load_queued": 2,
        "generation_service_load_arrived_total": 2**60,
    }

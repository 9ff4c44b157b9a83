"""Settings from environment variables: defaults, accepted values, and one clear sentence for each bad one."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from generation_operator.settings import DecisionLogging, LogFormat, LogLevel, Settings, SettingsError, read, table

DEFAULTS = Settings(
    prometheus_url=None,
    watch_namespaces=(),
    tick_seconds=5.0,
    news_seconds=0.5,
    load_seconds=2.0,
    load_requests_per_second=500,
    resync_seconds=300.0,
    manual_override_seconds=1800.0,
    cluster_domain="cluster.local",
    probe_port=8080,
    lease_namespace="",
    api_requests_per_second=200,
    decision_log=DecisionLogging.CHANGES,
    log_level=LogLevel.INFO,
    log_format=LogFormat.TEXT,
    workers=4,
    kubeconfig=None,
)


def test_empty_environment_gives_the_defaults() -> None:
    assert read({}) == DEFAULTS


def test_empty_variables_count_as_absent() -> None:
    assert read({name: " " for name, _, _ in table()}) == DEFAULTS


def test_variables_that_kubernetes_makes_for_a_service_of_our_name_are_ignored() -> None:
    links = {"GENERATION_OPERATOR_SERVICE_HOST": "10.0.0.1", "GENERATION_OPERATOR_PORT": "tcp://10.0.0.1:80"}
    assert read(links) == DEFAULTS


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        ("PROMETHEUS_URL", "http://prometheus.monitoring:9090/", "prometheus_url", "http://prometheus.monitoring:9090"),
        ("PROMETHEUS_URL", "https://[::1]:9090/prefix", "prometheus_url", "https://[::1]:9090/prefix"),
        ("WATCH_NAMESPACES", "a, b,,a", "watch_namespaces", ("a", "b")),
        ("TICK_SECONDS", "0.5", "tick_seconds", 0.5),
        ("LOAD_SECONDS", "1", "load_seconds", 1.0),
        ("NEWS_SECONDS", "0.25", "news_seconds", 0.25),
        ("LOAD_REQUESTS_PER_SECOND", "50", "load_requests_per_second", 50),
        ("RESYNC_SECONDS", "30", "resync_seconds", 30.0),
        ("MANUAL_OVERRIDE_SECONDS", "0", "manual_override_seconds", 0.0),
        ("CLUSTER_DOMAIN", "k8s.example", "cluster_domain", "k8s.example"),
        ("PROBE_PORT", "0", "probe_port", 0),
        ("LEASE_NAMESPACE", "generation-system", "lease_namespace", "generation-system"),
        ("API_REQUESTS_PER_SECOND", "20", "api_requests_per_second", 20),
        ("DECISION_LOG", "off", "decision_log", DecisionLogging.OFF),
        ("LOG_LEVEL", "debug", "log_level", LogLevel.DEBUG),
        ("LOG_FORMAT", "Json", "log_format", LogFormat.JSON),
        ("WORKERS", "1", "workers", 1),
        ("KUBECONFIG", "/x/y", "kubeconfig", Path("/x/y")),
    ],
)
def test_variable_sets_its_field_only(variable: str, text: str, field: str, value: Any) -> None:
    assert read({f"GENERATION_OPERATOR_{variable}": text}) == dataclasses.replace(DEFAULTS, **{field: value})


@pytest.mark.parametrize(
    ("variable", "text", "remedy"),
    [
        ("PROMETHEUS_URL", "prometheus:9090", "an http or https URL"),
        ("PROMETHEUS_URL", "http://", "an http or https URL"),
        ("PROMETHEUS_URL", "http://x:99999", "an http or https URL"),
        ("PROMETHEUS_URL", "http://[::1", "an http or https URL"),
        ("WATCH_NAMESPACES", "a;b", "'a;b' is none"),
        ("WATCH_NAMESPACES", "a,Not_One", "'Not_One' is none"),
        ("LEASE_NAMESPACE", "a,b", "the name of one namespace"),
        ("TICK_SECONDS", "5s", "a number from 0.1 to 300"),
        ("TICK_SECONDS", "0", "a number from 0.1 to 300"),
        ("TICK_SECONDS", "nan", "a number from 0.1 to 300"),
        ("RESYNC_SECONDS", "-1", "a number from 1 to 86400"),
        ("MANUAL_OVERRIDE_SECONDS", "forever", "a number from 0 to 86400"),
        ("CLUSTER_DOMAIN", "cluster local", "a DNS domain"),
        ("PROBE_PORT", "65536", "a whole number from 0 to 65535"),
        ("PROBE_PORT", "8080.0", "a whole number from 0 to 65535"),
        ("LOG_LEVEL", "loud", "one of Debug, Info, Warning, Error"),
        ("LOG_FORMAT", "xml", "one of Text, Json"),
        ("WORKERS", "0", "a whole number from 1 to 64"),
    ],
)
def test_bad_value_is_refused_with_variable_value_and_remedy(variable: str, text: str, remedy: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read({f"GENERATION_OPERATOR_{variable}": text})
    message = str(caught.value)
    assert message.startswith(f"GENERATION_OPERATOR_{variable} is {text!r}, but must be ")
    assert remedy in message
    assert "\n" not in message


def test_every_setting_is_documented() -> None:
    assert len(table()) == len(dataclasses.fields(Settings))
    assert all(about.endswith(".") for _, _, about in table())

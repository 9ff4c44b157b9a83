"""Settings: defaults, ranges, and sentences that name the variable."""

import pytest

from generation_service.settings import Settings, SettingsError


def test_defaults_need_no_variable() -> None:
    settings = Settings.from_environment({"PATH": "/bin"})
    assert (settings.host, settings.port) == ("0.0.0.0", 8000)
    assert (settings.concurrent_workflows, settings.queue_limit) == (20, 1000)
    assert (settings.workflow_deadline_seconds, settings.drain_limit_seconds) == (30, 30)
    assert (settings.simulated_latency_milliseconds, settings.simulated_latency_jitter_percent) == (200, 10)


def test_variables_win() -> None:
    settings = Settings.from_environment(
        {
            "GENERATION_SERVICE_NAME": "images",
            "GENERATION_SERVICE_PORT": "0",
            "GENERATION_SERVICE_WORKFLOW_DEADLINE_SECONDS": "90",
        }
    )
    assert (settings.name, settings.port) == ("images", 0)
    assert settings.drain_limit_seconds == 90  # follows the deadline


def test_drain_time_of_its_own() -> None:
    assert Settings.from_environment({"GENERATION_SERVICE_DRAIN_SECONDS": "5"}).drain_limit_seconds == 5


def test_service_links_of_a_cluster_are_not_our_settings() -> None:
    settings = Settings.from_environment(
        {
            "GENERATION_SERVICE_PORT": "tcp://10.0.0.7:8000",
            "GENERATION_SERVICE_PORT_8000_TCP_ADDR": "10.0.0.7",
            "GENERATION_SERVICE_SERVICE_HOST": "10.0.0.7",
        }
    )
    assert (settings.host, settings.port) == ("0.0.0.0", 8000)


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("PORT", "http", "integer"),
        ("PORT", "65536", "65535"),
        ("PORT", "", "integer"),
        ("PORT", "8000.5", "integer"),
        ("HOST", "", "at least 1 character"),
        ("NAME", "No Spaces", "pattern"),
        ("CONCURRENT_WORKFLOWS", "0", "1"),
        ("CONCURRENT_WORKFLOWS", "many", "integer"),
        ("QUEUE_LIMIT", "-1", "0"),
        ("WORKFLOW_DEADLINE_SECONDS", "0", "1"),
        ("SIMULATED_LATENCY_MILLISECONDS", "-5", "0"),
        ("SIMULATED_LATENCY_JITTER_PERCENT", "101", "100"),
        ("SIMULATED_TOKENS", "0", "1"),
        ("LAME_DUCK_SECONDS", "-1", "0"),
        ("DRAIN_SECONDS", "soon", "integer"),
    ],
)
def test_bad_value_names_the_variable_and_the_limit(variable: str, value: str, reason: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment({f"GENERATION_SERVICE_{variable}": value})
    sentence = str(caught.value)
    assert f"GENERATION_SERVICE_{variable}={value!r}" in sentence
    assert reason in sentence
    assert "\n" not in sentence


def test_two_bad_values_are_both_named() -> None:
    with pytest.raises(SettingsError, match=r"PORT=.*; GENERATION_SERVICE_QUEUE_LIMIT="):
        Settings.from_environment({"GENERATION_SERVICE_PORT": "x", "GENERATION_SERVICE_QUEUE_LIMIT": "y"})

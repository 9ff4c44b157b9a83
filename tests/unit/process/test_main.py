"""How the process starts and ends, as far as no cluster is needed."""

from collections.abc import Mapping, Sequence

import pytest

from generation_operator.__main__ import Pulse, main
from generation_operator.api.resource import Key
from generation_operator.observe.signals import Ask, Reading


class NoMetrics:
    async def read(self, asks: Sequence[Ask]) -> Mapping[Key, Reading]:
        return {}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("GENERATION_OPERATOR_LOG_LEVEL", "Error")


def test_help_lists_every_variable(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert "GENERATION_OPERATOR_TICK_SECONDS (default 5)" in text
    assert "GENERATION_OPERATOR_KUBECONFIG\n" in text


def test_bad_setting_is_one_sentence_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GENERATION_OPERATOR_WORKERS", "many")
    assert main([]) == 2
    assert capsys.readouterr().err == (
        "generation-operator: GENERATION_OPERATOR_WORKERS is 'many', but must be a whole number from 1 to 64\n"
    )


def test_no_cluster_is_said_with_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "no service account" in line
    assert "name a kubeconfig" in line


async def test_autoscaler_that_ticks_is_alive_and_one_that_does_not_is_not() -> None:
    clock = Clock()
    pulse = Pulse(NoMetrics(), latest=60, stalled=lambda: 0.0, clock=clock)
    clock.now = 60
    assert pulse.problem() is None
    clock.now = 61
    assert pulse.problem() == "the autoscaler has not ticked for 61 s"
    await pulse.read([])
    clock.now = 121
    assert pulse.problem() is None


async def test_a_standby_is_alive_while_it_tries_to_lead() -> None:
    clock = Clock()
    pulse = Pulse(NoMetrics(), latest=60, stalled=lambda: 0.0, clock=clock)
    clock.now = 50
    pulse.beat()
    clock.now = 110
    assert pulse.problem() is None


async def test_a_queue_that_does_not_move_is_not_alive() -> None:
    stalled = [600.0, 601.0]
    pulse = Pulse(NoMetrics(), latest=60, stalled=lambda: stalled.pop(0), clock=Clock())
    assert pulse.problem() is None
    assert pulse.problem() == "the work queue has not moved for 601 s"

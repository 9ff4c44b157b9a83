"""Every metric fault at every load, on a real API server, HPA controller and Prometheus: the operator as a process.

Replicas never go down, the condition says what is wrong, and it is over within two ticks of the fault's end. All cells
run at once (see `metric_fault_world`), so this takes two minutes; each is judged by itself. With both policies, on fake
time and for variants of each fault: tests/unit/loops/test_metric_faults.py.
"""

import itertools
from typing import Final

import pytest

from localcluster.cluster import Cluster
from metric_fault_cells import CELLS, CONTROLS, Cell, Fault, Record
from metric_fault_world import TICK_SECONDS, World

# What the condition has to say: its reason, and with what the explanation in its message begins.
EXPECTED: Final = {
    Fault.EMPTY: ("SignalsMissing", "NoSamples"),
    Fault.NAN: ("SignalsMissing", "NoSamples"),
    Fault.ZERO: ("SignalsStale", "NoReadyPods"),
    Fault.STALE: ("SignalsStale", "StaleSamples"),
    Fault.PARTIAL: ("SignalsStale", "PartialCoverage"),
    Fault.RESTART: ("PrometheusUnreachable", "PrometheusUnreachable"),
    Fault.SLOW: ("PrometheusUnreachable", "PrometheusUnreachable"),
    Fault.ERROR: ("PrometheusUnreachable", "PrometheusUnreachable"),
    Fault.LABELS: ("SignalsMissing", "NoSamples"),
    Fault.SKEW: ("SignalsStale", "StaleSamples"),
}
ONE_TICK_SECONDS: Final = 1.1 * TICK_SECONDS + 1.0  # a tick is up to a tenth longer; 1 s to read and to write
# Two ticks, and 4 s more: the reading of everything, and the write of a status behind those of thirty others, on two
# processors that share a whole cluster.
TWO_TICKS_SECONDS: Final = 2 * 1.1 * TICK_SECONDS + 4.0


def expected(cell: Cell) -> tuple[str, str]:
    """Reason and explanation of what the cell's condition has to be."""
    assert cell.fault is not None
    reason, explanation = EXPECTED[cell.fault]
    # Nobody asks, so that the mean response time is 0/0; Targets does not need it.
    missing = cell.fault is Fault.ZERO and cell.policy == "Score"
    return "SignalsMissing" if missing else reason, explanation


@pytest.fixture(scope="module")
def records(crd_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> dict[Cell, Record]:
    """What happened to each service; played once."""
    return World(crd_cluster, tmp_path_factory.mktemp("metric-faults")).play()


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_fault_never_lowers_replicas_is_named_and_is_over_within_two_ticks(
    records: dict[Cell, Record], cell: Cell
) -> None:
    record = records[cell]
    print(record)  # noqa: T201 (shown by pytest when the test failed)
    before = record.told_at(record.began)
    assert before is not None
    assert before.status == "True"

    assert [move for move in record.moves if move.lowers and move.at <= record.healthy] == []
    said = record.told_during_the_fault()
    assert {told.status for told in said} == {"False"}
    for told, following in itertools.zip_longest(said, said[1:]):
        # A read that straddles the beginning of a fault sees half of it, and the next read puts it right.
        if following is None or following.at - told.at > ONE_TICK_SECONDS:
            assert (told.reason, told.explanation) == expected(cell)

    assert record.recovered is not None
    assert record.recovered - record.healthy <= TWO_TICKS_SECONDS


@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell.load == "idle"], ids=str)
def test_who_is_idle_is_lowered_once_the_fault_is_over(records: dict[Cell, Record], cell: Cell) -> None:
    """The bounds were open and the policy wanted to: nothing but the fault had held it."""
    assert any(move.lowers and not move.by_hpa for move in records[cell].moves)


@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell.load != "idle"], ids=str)
def test_who_is_busy_or_burns_its_budget_is_never_lowered(records: dict[Cell, Record], cell: Cell) -> None:
    """Before, between and after the faults; neither is it by one that begins."""
    assert [move for move in records[cell].moves if move.lowers] == []


@pytest.mark.parametrize("cell", CONTROLS, ids=str)
def test_who_has_no_fault_follows_its_load_meanwhile(records: dict[Cell, Record], cell: Cell) -> None:
    """The matrix above could not fail without this."""
    record = records[cell]
    print(record)  # noqa: T201 (shown by pytest when the test failed)
    moves = [move for move in record.moves if record.began < move.at < record.lifted]
    assert moves
    assert {move.lowers for move in moves} == {cell.load == "idle"}

"""The sentence on top: always cost and misses, and honest about who does better."""

from dataclasses import replace

import pytest

from generation_operator.simulate.outcome import Outcome, Series
from generation_operator.simulate.verdict import hours, percent, seconds, sentence
from simulation.test_comparison import make_point, make_series

OURS = make_series("Targets", make_point(0, (40.0, 0.003), (42.0, 0.003)))


def make_outcome(*series: Series, sweep_seeds: int = 2) -> Outcome:
    return Outcome("shop", (), 20, "20 s", 15.0, 2, sweep_seeds, series)


def rival(name: str, misses: float, cost: float = 41.0) -> Series:
    """The same misses in each seed; as dear as ours, seed by seed, unless said otherwise."""
    return make_series(name, make_point(1, (cost - 1, misses), (cost + 1, misses)))


OWN = "On your traffic, Targets misses 0.30 % at 41.0 pod-hours"
HPA = "; HPA-CPU, the best of the others, misses 2.90 % at the same cost."
BETTER = ", and KPA does better: it misses 0.10 % at the same cost."
TIE = ", and KPA 0.30 % at the same cost: a tie."
DEARER = "; no other policy was ever that cheap, the cheapest, KEDA, missed 0.02 % at 50.0."


@pytest.mark.parametrize(
    ("rivals", "told"),
    [
        ([rival("HPA-CPU", 0.029), rival("KEDA", 0.05)], HPA),
        ([rival("HPA-CPU", 0.029), rival("KPA", 0.001)], BETTER),
        ([rival("KPA", 0.003)], TIE),
        ([rival("HPA-CPU", 0.0001, cost=60.0), rival("KEDA", 0.0002, cost=50.0)], DEARER),
        ([rival("HPA-CPU", 0.029), rival("Oracle", 0.0)], HPA),  # it knows what will come: no rival
        ([rival("HPA-CPU", 0.029), rival("KPA", 0.0, cost=60.0)], f"{HPA} KPA is never that cheap."),
        (
            [rival("KPA", 0.0, cost=60.0), rival("HPA-CPU", 0.029), rival("Static", 0.0, cost=70.0)],
            f"{HPA} KPA and Static are never that cheap.",
        ),
        ([], "."),
    ],
)
def test_the_strongest_rival_at_equal_cost(rivals: list[Series], told: str) -> None:
    assert sentence(make_outcome(OURS, *rivals)) == OWN + told


def test_without_a_sweep_everybody_is_named_with_both_figures() -> None:
    told = sentence(make_outcome(OURS, rival("KPA", 0.0, cost=50.0), sweep_seeds=0))
    assert told == f"{OWN}, KPA 0.00 % at 50.0 pod-hours (without a sweep, nothing is known at equal cost)."


def test_no_traffic_is_no_success() -> None:
    silent = replace(
        OURS.headline, scores=tuple(replace(score, requests=0, missed=0) for score in OURS.headline.scores)
    )
    told = sentence(make_outcome(replace(OURS, headline=silent)))
    assert told == "There was no traffic to miss; Targets cost 41.0 pod-hours."


@pytest.mark.parametrize(
    ("ratio", "told"),
    [
        (0.0, "0.00 %"),
        (0.00009, "less than 0.01 %"),
        (0.0001, "0.01 %"),
        (0.0994, "9.94 %"),
        (0.0996, "10.0 %"),
        (1.0, "100.0 %"),
    ],
)
def test_percent(ratio: float, told: str) -> None:
    assert percent(ratio) == told


@pytest.mark.parametrize(("value", "told"), [(0.5, "0.50"), (41.04, "41.0"), (1234.5, "1,234")])
def test_hours(value: float, told: str) -> None:
    assert hours(value) == told


@pytest.mark.parametrize(
    ("value", "told"), [(0.04, "0.0 s"), (12.34, "12.3 s"), (1234.0, "1,234 s"), (float("inf"), "never")]
)
def test_seconds(value: float, told: str) -> None:
    assert seconds(value) == told

"""How often the shares over long windows are asked for, and whose answers are kept."""

import math
from collections.abc import Iterable

from generation_operator.api.resource import Key
from generation_operator.decide.types import SignalName
from generation_operator.observe.miss_ratios import MissRatios
from generation_operator.observe.queries import Answers, Evidence

A, B = Key("x", "a"), Key("y", "b")
SHORT = SignalName.MISS_RATIO_5M
HALF_HOUR, HOUR, SIX_HOURS = SignalName.MISS_RATIO_30M, SignalName.MISS_RATIO_1H, SignalName.MISS_RATIO_6H


class Reader:
    """Reads as a server's thread does, with a clock of its own."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.long = {A: 0.2, B: 0.3}
        self.asked: list[SignalName] = []
        self._misses = MissRatios(lambda: self.now)

    def read(self, *keys: Key, short: float = 0.1, known: Iterable[Key] = (A, B)) -> Answers:
        self.asked = []
        answers: Answers = {key: {SHORT: short, Evidence.AGE: 1.0} if key in known else {} for key in keys}
        for name in self._misses.due(answers):
            self.asked.append(name)
            self._misses.keep(name, self.long.items(), answers)
        self._misses.add(answers)
        return answers


def test_each_window_is_asked_for_a_hundred_and_twentieth_of_it_later() -> None:
    reader = Reader()
    asked_at: dict[SignalName, list[float]] = {HALF_HOUR: [], HOUR: [], SIX_HOURS: []}
    for seconds in range(0, 361, 5):
        reader.now = 1000.0 + seconds
        reader.read(A, B)
        for name in reader.asked:
            asked_at[name].append(seconds)
    assert asked_at[HALF_HOUR] == list(range(0, 361, 15))
    assert asked_at[HOUR] == list(range(0, 361, 30))
    assert asked_at[SIX_HOURS] == [0, 180, 360]


def test_what_is_not_asked_for_stays_as_it_was() -> None:
    reader = Reader()
    reader.read(A)
    reader.long[A] = 0.9
    reader.now += 5
    assert reader.read(A)[A] == {SHORT: 0.1, Evidence.AGE: 1.0, HALF_HOUR: 0.2, HOUR: 0.2, SIX_HOURS: 0.2}
    assert reader.asked == []


def test_a_new_service_does_not_wait() -> None:
    reader = Reader()
    reader.read(A)
    assert reader.read(A, B)[B][SIX_HOURS] == 0.3
    assert reader.asked == [HALF_HOUR, HOUR, SIX_HOURS]


def test_a_service_that_prometheus_knows_again_does_not_wait() -> None:
    reader = Reader()
    reader.long = {}
    assert SIX_HOURS not in reader.read(A)[A]
    reader.long = {A: 0.2}
    assert reader.read(A)[A][SIX_HOURS] == 0.2


def test_a_service_that_gets_traffic_again_does_not_wait() -> None:
    reader = Reader()
    reader.long = {A: math.nan}
    reader.read(A, short=math.nan)
    reader.long = {A: 0.2}
    reader.read(A, short=math.nan)
    assert reader.asked == [], "nobody uses it, so there is nothing to know"
    assert reader.read(A)[A][SIX_HOURS] == 0.2


def test_nothing_is_said_of_a_service_that_prometheus_does_not_know_now() -> None:
    reader = Reader()
    reader.read(A)
    assert reader.read(A, known=())[A] == {}


def test_what_nobody_asks_about_is_not_kept() -> None:
    reader = Reader()
    reader.read(A, B)
    reader.now += 3600
    reader.read(A)
    assert B not in reader.read(A)
    reader.read(A, B)
    assert reader.asked == [HALF_HOUR, HOUR, SIX_HOURS], "B is new"

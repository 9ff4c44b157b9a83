"""The shares of missed workflows over long windows, asked for as often as they can change.

Over six hours 5,000 services with a pod each have 14 million samples, which a read every 5 s would go through each
time, while the share could not move by a thousandth from one read to the next.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

from generation_operator.decide.types import SignalName
from generation_operator.observe.queries import LONG_WINDOWS, Answers, Evidence, Who, missed_over

# 30 min are asked for every 15 s, 6 h every 3 min: meanwhile the share moves by less than 1 % of itself if traffic is
# even, and decisions trust a value for a tenth of its window.
_PARTS: Final = 120


class _Answer(NamedTuple):
    at: float
    values: Mapping[Who, float]


class MissRatios:
    """The last answers, and when it is time for the next ones.

    Args:
        clock: monotonic, in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last: dict[SignalName, _Answer] = {}

    def due(self, answers: Answers) -> dict[SignalName, str]:
        """The queries whose time has come.

        Who has a share over five minutes has one over more: a service that is new, or that Prometheus has just come to
        know again, does not wait.

        Args:
            answers: of the other queries.
        """
        now = self._clock()
        active = [who for who, values in answers.items() if _number(values.get(SignalName.MISS_RATIO_5M))]
        return {
            name: missed_over(seconds)
            for name, seconds in LONG_WINDOWS.items()
            if (last := self._last.get(name)) is None
            or now - last.at >= seconds / _PARTS
            or not all(_number(last.values.get(who)) for who in active)
        }

    def keep(self, name: SignalName, values: Iterable[tuple[Who, float]], answers: Answers) -> None:
        """Take an answer, of the services in `answers`."""
        of_all = dict(values)
        self._last[name] = _Answer(self._clock(), {who: of_all[who] for who in answers if who in of_all})

    def add(self, answers: Answers) -> None:
        """Say what is known of the services that Prometheus knows at present."""
        for name, last in self._last.items():
            for who, value in last.values.items():
                if Evidence.AGE in (about := answers.get(who, {})):
                    about[name] = value


def _number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)

"""How many requests come until a moment, when all that is known are counts per bin.

A monotone cubic through the running total (Fritsch and Butland's slopes, as in PCHIP): every bin keeps its total, the
rate changes without jumps, and it is never negative.
"""

import numpy as np

from generation_operator.simulate.trace import Floats
from generation_operator.simulate.traces.source import CountTrace


class RunningTotal:
    """The expected number of requests up to a moment."""

    def __init__(self, trace: CountTrace) -> None:
        self._edges = trace.edges
        self._totals = np.concatenate(([0.0], np.cumsum(trace.counts)))
        widths = np.diff(trace.edges)
        self._slopes = _slopes(widths, trace.counts / widths)

    def at(self, moments: Floats) -> Floats:
        """The total at each moment; before the trace 0, after it everything."""
        moments = np.clip(moments, self._edges[0], self._edges[-1])
        left = np.clip(np.searchsorted(self._edges, moments, side="right") - 1, 0, len(self._edges) - 2)
        width = self._edges[left + 1] - self._edges[left]
        x = (moments - self._edges[left]) / width
        low, high = self._totals[left], self._totals[left + 1]
        from_low, from_high = self._slopes[left] * width, self._slopes[left + 1] * width
        rise = x * x * (3.0 - 2.0 * x)
        return np.asarray(
            low + (high - low) * rise + from_low * x * (1.0 - x) ** 2 - from_high * x * x * (1.0 - x), dtype=np.float64
        )

    def between(self, edges: Floats) -> Floats:
        """The expected number in each interval between neighbouring edges."""
        # Rounding of the totals may leave a tiny negative number where there is none.
        return np.maximum(np.diff(self.at(edges)), 0.0)


def _slopes(widths: Floats, rates: Floats) -> Floats:
    """The rate at each edge: the weighted harmonic mean of its neighbours, 0 beside an empty bin."""
    before, after = rates[:-1], rates[1:]
    weight_before = 2.0 * widths[1:] + widths[:-1]
    weight_after = widths[1:] + 2.0 * widths[:-1]
    # One fraction instead of a sum of inverses: a bin with next to nothing in it must not overflow.
    below = weight_before * after + weight_after * before
    inner = np.divide((weight_before + weight_after) * before * after, below, out=np.zeros_like(below), where=below > 0)
    return np.concatenate((rates[:1], inner, rates[-1:]))

"""What the operator asks one Prometheus, for tests that answer in its place."""

from generation_operator.observe.queries import LONG_WINDOWS, Query, missed_over, queries


def batch(window_seconds: int, max_age_seconds: int) -> dict[Query, str]:
    """The text of every query of one batch, the first time that it is asked."""
    return queries(window_seconds, max_age_seconds) | {
        name: missed_over(seconds) for name, seconds in LONG_WINDOWS.items()
    }

"""Performance figures over time, from all replicas; housekeeping removes what is old."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from generation_service.adapters.postgres.database import Database, Statement

_WRITE: Final = Statement(
    "history.write",
    "INSERT INTO performance_metrics (replica, metric, value) "
    "SELECT $1, metric, value FROM unnest($2::text[], $3::float8[]) AS t(metric, value)",
)
_READ: Final = Statement(
    "history.read",
    'SELECT extract(epoch FROM "timestamp")::float8 AS at, replica, value FROM performance_metrics '
    """WHERE metric = $1 AND "timestamp" > now() - $2 * interval '1 second' ORDER BY "timestamp" DESC LIMIT $3""",
)


@dataclass(frozen=True, slots=True)
class Point:
    """One figure."""

    at: float  # seconds since the epoch on the database's clock
    replica: str
    value: float


class MetricsHistory:
    """Writes and reads the table `performance_metrics`."""

    def __init__(self, database: Database, replica: str) -> None:
        self._database = database
        self._replica = replica

    async def write(self, figures: Mapping[str, float]) -> None:
        """Keep one value of each metric, all as of now. Raises `StoreUnavailableError`."""
        if figures:
            await self._database.fetch(_WRITE, self._replica, list(figures), list(figures.values()))

    async def read(self, metric: str, seconds: float, limit: int = 10_000) -> Sequence[Point]:
        """The newest `limit` values of a metric, oldest first. Raises `StoreUnavailableError`."""
        rows = await self._database.fetch(_READ, metric, seconds, limit)
        return [Point(row["at"], row["replica"], row["value"]) for row in reversed(rows)]

"""Replica counts that hold for a time: schedules and the override."""

from datetime import UTC, datetime
from typing import Annotated, Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from pydantic import Field, field_validator, model_validator

from generation_operator.api.model import CelRule, Model

# Five fields; what may stand in each is checked by the parser itself.
_FIELD: Final = "[0-9A-Za-z*/,#-]{1,40}"
CRON_PATTERN: Final = f"^{_FIELD}( {_FIELD}){{4}}$"
TIME_PATTERN: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})$"
_SOME_TIME: Final = datetime(2000, 1, 1, tzinfo=UTC)

Cron = Annotated[str, Field(pattern=CRON_PATTERN, max_length=100)]


class Schedule(Model):
    """A higher minimum of replicas from each start to the next end."""

    cel = (
        CelRule(
            rule="self.start != self.end",
            message="start and end must differ: otherwise the schedule is never active",
            field_path=".end",
        ),
    )
    name: str = Field(
        pattern="^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        min_length=1,
        max_length=63,
        description="Name of the schedule, told as the reason for its replicas.",
    )
    start: Cron = Field(description="When it begins, as cron: minute hour day month weekday.")
    end: Cron = Field(description="When it ends, as cron: minute hour day month weekday.")
    time_zone: str = Field(
        "UTC",
        pattern="^[A-Za-z][A-Za-z0-9_+/-]*$",
        max_length=64,
        description="IANA name of the time zone of start and end, for example Europe/Berlin.",
    )
    min_replicas: int = Field(ge=1, le=1000, description="Replicas that are kept while it is active.")

    @field_validator("start", "end")
    @classmethod
    def _is_cron(cls, text: str) -> str:
        try:
            found = next(CronSim(text, _SOME_TIME), None)
        except CronSimError as error:
            raise ValueError(f"{text!r} is not cron ({error}): write it like 0 8 * * MON-FRI") from None
        if found is None:
            raise ValueError(f"{text!r} never comes: choose a day that exists")
        return text

    @field_validator("time_zone")
    @classmethod
    def _is_known(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (OSError, ValueError, KeyError):
            raise ValueError(f"{name!r} is no known time zone: use an IANA name like Europe/Berlin") from None
        return name

    @model_validator(mode="after")
    def _differs(self) -> "Schedule":
        if self.start == self.end:
            raise ValueError(self.cel[0].message)
        return self


class Override(Model):
    """An exact replica count for a limited time."""

    replicas: int = Field(ge=1, le=1000, description="Replicas to have, within minReplicas and maxReplicas.")
    until: str = Field(
        pattern=TIME_PATTERN,
        max_length=40,
        description="When it ends, as RFC 3339, for example 2030-01-31T18:00:00Z.",
        json_schema_extra={"format": "date-time"},
    )
    reason: str | None = Field(None, max_length=256, description="Why, for people.")

    @field_validator("until")
    @classmethod
    def _exists(cls, text: str) -> str:
        try:
            datetime.fromisoformat(text)
        except ValueError as error:
            raise ValueError(f"{text!r} is no time ({error}): write it like 2030-01-31T18:00:00Z") from None
        return text

    @property
    def until_seconds(self) -> float:
        """Unix seconds."""
        return datetime.fromisoformat(self.until).timestamp()

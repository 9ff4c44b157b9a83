"""Schedules and overrides: what only their own parsers can judge, with field and remedy in the message."""

from typing import Any

import pytest

from builders import make_service
from generation_operator.api.resource import InvalidSpecError

DAY = {"name": "day", "start": "0 8 * * *", "end": "0 18 * * *", "minReplicas": 4}


def refused(**scaling: Any) -> str:
    with pytest.raises(InvalidSpecError) as error:
        make_service().scaling(**scaling).obj()
    return str(error.value)


@pytest.mark.parametrize("field", ["start", "end"])
@pytest.mark.parametrize(
    "cron", ["60 8 * * *", "0 24 * * *", "0 8 31 2 *", "0 8 * * MOO", "* * */0 * *", "5-1 8 * * *"]
)
def test_what_is_no_cron_names_the_field_and_shows_one(field: str, cron: str) -> None:
    message = refused(schedules=[DAY | {field: cron}])
    assert message.startswith(f"spec.scaling.schedules[0].{field}: {cron!r} is not cron (Bad ")
    assert message.endswith("write it like 0 8 * * MON-FRI")


def test_a_time_that_never_comes_is_refused() -> None:
    never = "0 0 */40 * MON#5"
    assert refused(schedules=[DAY | {"start": never}]) == (
        f"spec.scaling.schedules[0].start: {never!r} never comes: choose a day that exists"
    )


@pytest.mark.parametrize("zone", ["Mars/Base", "Europe", "Europe/Berlin/Mitte", "europe//berlin"])
def test_an_unknown_zone_names_the_field_and_shows_one(zone: str) -> None:
    message = refused(schedules=[DAY | {"timeZone": zone}])
    assert message == (
        f"spec.scaling.schedules[0].timeZone: {zone!r} is no known time zone: use an IANA name like Europe/Berlin"
    )


@pytest.mark.parametrize("until", ["2030-02-30T00:00:00Z", "2030-13-01T00:00:00Z", "2030-01-01T25:00:00Z"])
def test_a_time_that_does_not_exist_is_refused(until: str) -> None:
    message = refused(override={"replicas": 3, "until": until})
    assert message.startswith(f"spec.scaling.override.until: {until!r} is no time (")
    assert message.endswith("write it like 2030-01-31T18:00:00Z")


@pytest.mark.parametrize(
    ("until", "seconds"),
    [("1970-01-01T00:01:00Z", 60.0), ("1970-01-01T02:00:00.5+01:00", 3600.5), ("1970-01-01T00:00:00-00:30", 1800.0)],
)
def test_until_is_a_moment_whatever_its_offset(until: str, seconds: float) -> None:
    override = make_service().scaling(override={"replicas": 3, "until": until}).obj().spec.scaling.override
    assert override is not None
    assert override.until_seconds == seconds

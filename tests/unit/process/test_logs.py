"""Log records as text and as JSON lines."""

import json
import logging
import sys

import pytest

from generation_operator.settings import LogFormat, LogLevel
from generation_operator.telemetry.logs import JsonFormatter, TextFormatter, set_up_logging


def record(message: str, *args: object, error: bool = False) -> logging.LogRecord:
    made = logging.LogRecord("a.b", logging.WARNING, __file__, 1, message, args, sys.exc_info() if error else None)
    made.created = 1_767_323_045.678
    return made


def test_text_is_one_line_in_utc() -> None:
    assert TextFormatter().format(record("n is %d", 3)) == "2026-01-02T03:04:05.678Z WARNING a.b: n is 3"


def test_json_is_one_line_whatever_the_message() -> None:
    line = JsonFormatter().format(record('a "quoted"\nsecond line ü'))
    assert "\n" not in line
    assert json.loads(line) == {
        "time": "2026-01-02T03:04:05.678Z",
        "level": "Warning",
        "logger": "a.b",
        "message": 'a "quoted"\nsecond line ü',
    }


def test_json_carries_the_traceback() -> None:
    try:
        int("broken")
    except ValueError:
        line = JsonFormatter().format(record("failed", error=True))
    assert json.loads(line)["exception"].endswith("invalid literal for int() with base 10: 'broken'")


def test_level_and_format_count_for_all_loggers_but_chatty_ones(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(LogLevel.DEBUG, LogFormat.JSON)
    logging.getLogger("anything").debug("seen")
    logging.getLogger("aiohttp.access").info("GET /healthz")
    lines = capsys.readouterr().err.splitlines()
    assert [json.loads(line)["message"] for line in lines] == ["seen"]
    set_up_logging(LogLevel.ERROR, LogFormat.TEXT)
    logging.getLogger("anything").warning("not seen")
    assert capsys.readouterr().err == ""

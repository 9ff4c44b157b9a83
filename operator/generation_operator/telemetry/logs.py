"""Logging of the process: text for people or one JSON object per line, to standard error.

Standard library only, and set up once, by `__main__`. Nothing is sent anywhere.
"""

import json
import logging
from datetime import UTC, datetime
from typing import Final

from generation_operator.settings import LogFormat, LogLevel

# Libraries that repeat on Info what we say better, or log every probe and every request.
_CHATTY: Final = ("aiohttp.access", "kopf.activities", "kopf.objects", "urllib3")
# Warns about every retry of every query while Prometheus is down; the condition MetricsAvailable says it once.
_CHATTY_WHEN_DOWN: Final = "urllib3.connectionpool"


def set_up_logging(level: LogLevel, form: LogFormat) -> None:
    """Send all log records of the process to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if form is LogFormat.JSON else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    logging.getLogger(_CHATTY_WHEN_DOWN).setLevel(logging.ERROR)


class TextFormatter(logging.Formatter):
    """`2026-01-02T03:04:05.678Z INFO    generation_operator.loops.autoscaler: text`."""

    def __init__(self) -> None:
        super().__init__("{asctime} {levelname:<7} {name}: {message}", style="{")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 - inherited
        """The time in UTC, so that logs of several machines fit together."""
        return _time(record)


class JsonFormatter(logging.Formatter):
    """One object per line: time, level, logger, message and, after an exception, its traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """A record as one line of JSON."""
        entry = {
            "time": _time(record),
            "level": record.levelname.capitalize(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

"""What the tests of the process share."""

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def untouched_logging() -> Iterator[None]:
    """Logging is set up for the whole process; no test leaves it changed."""
    loggers = [logging.getLogger(), *(logging.getLogger(name) for name in logging.Logger.manager.loggerDict)]
    before = [(logger, list(logger.handlers), logger.level) for logger in loggers]
    yield
    for logger, handlers, level in before:
        logger.handlers[:] = handlers
        logger.setLevel(level)

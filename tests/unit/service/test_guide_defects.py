"""The table of the guide's defects names tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_every_test_that_the_table_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "guide-defects.md").read_text()))
    defined: set[str] = set()
    for module in (ROOT / "tests").rglob("*.py"):
        defined |= set(re.findall(r"^\s*(?:async )?def (test_\w+)", module.read_text(), re.MULTILINE))
    assert len(named) > 60
    assert named <= defined, named - defined

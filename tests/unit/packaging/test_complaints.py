"""The table of complaints has all its rows, and names tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
ROWS = [line for line in (ROOT / "docs" / "complaints.md").read_text().splitlines() if re.match(r"\| \d+ \|", line)]


def test_every_complaint_has_a_row_with_an_answer() -> None:
    assert [int(row.split("|")[1]) for row in ROWS] == list(range(1, 25))
    for row in ROWS:
        assert all(cell.strip() for cell in row.split("|")[1:-1]), row


def test_every_test_that_the_table_names_exists() -> None:
    defined: set[str] = set()
    for module in (ROOT / "tests").rglob("*.py"):
        defined |= set(re.findall(r"^\s*(?:async )?def (test_\w+)", module.read_text(), re.MULTILINE))
    named = [(row.split("|")[1].strip(), set(re.findall(r"`(test_\w+)`", row))) for row in ROWS]
    assert {number: missing for number, tests in named if (missing := tests - defined)} == {}
    assert [number for number, tests in named if not tests] == ["24"], "only the benchmark is no test"

"""What is sent to the API server is JSON and YAML at once, whatever the texts are."""

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from generation_operator.cluster.wire import yaml_text

# PyYAML reads what has no escapes more slowly, but by the same rules.
TEXTS = st.text(alphabet=st.characters(exclude_categories=["Cs"]))


@given(st.dictionaries(TEXTS, TEXTS | st.integers() | st.lists(TEXTS, max_size=3), max_size=5))
def test_both_readers_find_what_was_written(manifest: dict[str, object]) -> None:
    text = yaml_text(manifest)
    assert json.loads(text) == manifest
    assert yaml.safe_load(text) == manifest


@pytest.mark.parametrize("text", ["😀", "\x85", "\u2028", "\ufeff", "\uffff", "\x1c", "\x7f", "größer", '"\\'])
def test_hard_characters(text: str) -> None:
    assert yaml.safe_load(yaml_text({"value": text})) == {"value": text}

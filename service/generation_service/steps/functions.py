"""The functions that a step of type `python` can call without installing anything. Pure, JSON in and JSON out."""

from collections import Counter


def split_lines(text: object, **_more: object) -> dict[str, object]:
    """The lines of a text (or of an output with a text) that are not empty: `{"items": […]}`, ready for a `map`."""
    return {"items": [line.strip() for line in _text(text).splitlines() if line.strip()]}


def word_count(text: object, most_common: int = 10, **_more: object) -> dict[str, object]:
    """How many words a text has, and which are the most frequent."""
    words = _text(text).lower().split()
    return {"words": len(words), "most_common": [list(pair) for pair in Counter(words).most_common(most_common)]}


def _text(value: object) -> str:
    if isinstance(value, dict):
        value = value.get("text")
    if not isinstance(value, str):
        raise TypeError("text must be a string, or an output with a text")
    return value

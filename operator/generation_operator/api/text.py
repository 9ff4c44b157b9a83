"""Texts that Kubernetes itself restricts: names of objects, keys and values of labels."""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Final

from pydantic import Field

# RFC 1123, as Kubernetes checks it.
_WORD: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_DOMAIN: Final = rf"{_WORD}([.]{_WORD})*"
_SHORT: Final = "[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
LABEL_KEY: Final = f"^({_DOMAIN}/)?{_SHORT}$"
_LABEL_KEY: Final = re.compile(LABEL_KEY)

ObjectName = Annotated[str, Field(pattern=f"^{_DOMAIN}$", min_length=1, max_length=253)]
VolumeName = Annotated[str, Field(pattern=f"^{_WORD}$", min_length=1, max_length=63)]
LabelKey = Annotated[str, Field(pattern=LABEL_KEY, min_length=1, max_length=253)]
LabelValue = Annotated[str, Field(pattern=f"^({_SHORT})?$", max_length=63)]


def has_label_keys(entries: Iterable[str]) -> bool:
    """Whether all of these can be keys of labels and annotations."""
    return all(_LABEL_KEY.fullmatch(key) for key in entries)


def first_repeated(entries: Iterable[str]) -> str | None:
    """The first entry that comes more than once."""
    return next((entry for entry, count in Counter(entries).items() if count > 1), None)

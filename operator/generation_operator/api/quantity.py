"""Kubernetes resource quantities: the strings `500m`, `1Gi`, `2` as the numbers that the API server compares.

It rounds and caps extremes, and so do we: a request and a limit must never compare one way there and another way here.
"""

import re
from decimal import ROUND_UP, Decimal, localcontext
from functools import lru_cache
from typing import Final

# A subset of the API server's grammar: plain decimals with an optional suffix; exponents (1e3) are left out on purpose.
QUANTITY_PATTERN: Final = r"^[0-9]{1,15}(\.[0-9]{1,9})?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"

_SUFFIXES: Final = {
    "": Decimal(1),
    "m": Decimal("0.001"),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
}
_QUANTITY: Final = re.compile(QUANTITY_PATTERN)
_FINEST: Final = Decimal("1e-9")  # what is finer is rounded up
_MOST_BINARY: Final = Decimal(2**63 - 1)  # where Ki, Mi, Gi and Ti end; decimal suffixes go on
_DIGITS: Final = 60  # 15 before the point, 13 of Ti and 12 after the point fit: nothing is lost on the way


# Each decision relates CPU and memory to limits, and most services have the same ones.
@lru_cache(maxsize=1024)
def parse_quantity(text: str) -> Decimal:
    """The value of a quantity, in cores or bytes, as the API server reads it.

    Raises:
        ValueError: the text is not a quantity.
    """
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a Kubernetes quantity: write it like 500m, 2 or 1Gi")
    suffix = match.group(2) or ""
    with localcontext(prec=_DIGITS):
        value = (Decimal(text.removesuffix(suffix)) * _SUFFIXES[suffix]).quantize(_FINEST, rounding=ROUND_UP)
    return min(value, _MOST_BINARY) if suffix.endswith("i") else value

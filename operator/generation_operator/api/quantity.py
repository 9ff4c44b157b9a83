"""Kubernetes resource quantities: the strings `500m`, `1Gi`, `2` as exact numbers."""

import re
from decimal import Decimal
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


def parse_quantity(text: str) -> Decimal:
    """The exact value of a quantity, in cores or bytes.

    Raises:
        ValueError: the text is not a quantity.
    """
    match = _QUANTITY.match(text)
    if match is None:
        raise ValueError(f"{text!r} is not a Kubernetes quantity: write it like 500m, 2 or 1Gi")
    suffix = match.group(2) or ""
    return Decimal(text.removesuffix(suffix)) * _SUFFIXES[suffix]

"""Numbers in sentences for people."""


def replicas(count: int) -> str:
    """`1 replica`, `2 replicas`."""
    return f"{count} replica{'' if count == 1 else 's'}"

"""The answer of `GET /load`: what a pod is doing, in three lines, at a constant cost.

The operator samples it from every pod every 2 s, also when the pod is overloaded, so it must never wait, never grow
with the number of workflows and never share a lock with them. The three are what Little's law needs.
"""

from typing import Final

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"  # Prometheus' text format


def render_load(in_flight: int, queued: int, arrived: int) -> bytes:
    """Three samples in Prometheus' text format.

    Args:
        in_flight: pieces of work in a slot of this pod now (`generation_service_load_in_flight`, gauge).
        queued: pieces of work that wait for one (`generation_service_load_queued`, gauge).
        arrived: pieces of work that asked for admission since the start, refused ones included
            (`generation_service_load_arrived_total`, counter; it begins again at 0 with the process).
    """
    return (
        f"generation_service_load_in_flight {in_flight}\n"
        f"generation_service_load_queued {queued}\n"
        f"generation_service_load_arrived_total {arrived}\n"
    ).encode()

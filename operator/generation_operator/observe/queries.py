"""The PromQL that reads the signals of all services at once, and the reading of what comes back.

The service exports its metrics without saying whose they are; a scrape is only expected to add the labels `namespace`
and `pod`. `generation_service_info{service="NAME"} 1` of the same pod says which `GenerationService` it belongs to, so
each query joins with it. No text from a user ever gets into a query: the only things filled in are numbers.
"""

import math
from collections.abc import Iterator
from enum import StrEnum
from typing import Any, Final

from generation_operator.decide.types import SignalName


class Evidence(StrEnum):
    """What is asked beside the signals, to know how far they can be trusted."""

    AGE = "Age"  # seconds since the newest sample of any pod
    REPORTING = "Reporting"  # pods whose newest sample is not too old


Query = SignalName | Evidence
Who = tuple[str, str]  # namespace and name of a service: equal to its `Key`, of which 75,000 in a read are too many
Answers = dict[Who, dict[Query, float]]

INFO: Final = "generation_service_info"
# Exactly one series per pod. Without topk, one pod that calls itself by two names, or is scraped twice, would make the
# join ambiguous, and Prometheus would refuse the whole query: for all services.
ONE_PER_POD: Final = f"topk by (namespace, pod) (1, group by (namespace, pod, service) ({INFO}))"
# How much there is to do.
GAUGES: Final = {
    SignalName.QUEUE_LENGTH: "generation_service_queue_length",
    SignalName.WORKFLOWS_IN_FLIGHT: "generation_service_requests_in_flight",
}
# In seconds; not read with the rest, see `miss_ratios`.
LONG_WINDOWS: Final = {
    SignalName.MISS_RATIO_30M: 1800,
    SignalName.MISS_RATIO_1H: 3600,
    SignalName.MISS_RATIO_6H: 21_600,
}
_BY_SERVICE: Final = "by (namespace, service)"
# When any pod of a service was last scraped, in Unix seconds on the clock of Prometheus.
NEWEST: Final = f"max {_BY_SERVICE} (timestamp({INFO}))"


def queries(window_seconds: int, max_age_seconds: int) -> dict[Query, str]:
    """The text of every query of a read.

    Args:
        window_seconds: over how long rates and means are taken.
        max_age_seconds: how old the newest sample of a pod may be for the pod to count as reporting.
    """

    def rate(aggregation: str, counter: str) -> str:
        return _joined(aggregation, f"rate({counter}[{window_seconds:d}s])")

    requests = rate("sum", "generation_service_requests_total")
    errors = rate("sum", 'generation_service_requests_total{outcome="error"}')
    duration = "generation_service_request_duration_seconds"
    service = "generation_service_workflow_service_seconds"
    return {
        SignalName.RESPONSE_TIME: f"{rate('sum', f'{duration}_sum')} / {rate('sum', f'{duration}_count')}",
        SignalName.REQUEST_RATE: requests,
        SignalName.CPU: rate("avg", "process_cpu_seconds_total"),
        SignalName.MEMORY: _joined("avg", "process_resident_memory_bytes"),
        SignalName.ERROR_RATIO: f"{errors} / {requests}",
        SignalName.WORKFLOW_ARRIVALS: arrivals_over(window_seconds),
        SignalName.WORKFLOW_SERVICE_TIME: f"{rate('sum', f'{service}_sum')} / {rate('sum', f'{service}_count')}",
        **{name: _joined("sum", gauge) for name, gauge in GAUGES.items()},
        SignalName.MISS_RATIO_5M: missed_over(300),
        # Last, one right after the other: who vanishes while the others are asked is missed by both.
        Evidence.AGE: f"time() - {NEWEST}",
        Evidence.REPORTING: f"count {_BY_SERVICE} "
        f"(time() - max by (namespace, pod, service) (timestamp({INFO})) <= {max_age_seconds:d})",
    }


def arrivals_over(seconds: int) -> str:
    """Workflows per second that arrived in the last so many seconds."""
    return _joined("sum", f"rate(generation_service_workflows_arrived_total[{seconds:d}s])")


def missed_over(seconds: int) -> str:
    """The share of workflows that missed: rejected, failed, abandoned, or stopped at their deadline, the target."""
    missed = f'increase(generation_service_requests_total{{outcome="error"}}[{seconds:d}s])'
    every = f"increase(generation_service_requests_total[{seconds:d}s])"
    return f"{_joined('sum', missed)} / {_joined('sum', every)}"


def _joined(aggregation: str, samples: str) -> str:
    return f"{aggregation} {_BY_SERVICE} ({samples} * on (namespace, pod) group_left (service) {ONE_PER_POD})"


def by_service(result: object) -> Iterator[tuple[Who, float]]:
    """The values of an instant vector, each with whose it is; NaN and infinity stay what they are.

    Entries that name no service (scraped without the expected labels) belong to nobody and are left out.

    Raises:
        ValueError: this is not an instant vector; found out on the way.
    """
    for metric, _, value in entries(result):
        namespace, service = metric.get("namespace"), metric.get("service")
        if type(namespace) is str and type(service) is str:
            yield (namespace, service), value


def entries(result: object) -> Iterator[tuple[dict[str, Any], float, float]]:
    """Labels, time and value of each entry of an instant vector.

    Plain look-ups and no patterns, which take six times as long: 0.3 s of a read of 5,000 services.

    Raises:
        ValueError: this is not an instant vector.
    """
    if not isinstance(result, list):
        raise ValueError("not an instant vector")  # noqa: TRY004 - about content that came in, not about our types
    for entry in result:
        try:
            metric, (at, text) = entry["metric"], entry["value"]
        except (KeyError, TypeError, ValueError):
            raise ValueError("not an instant vector") from None
        if type(metric) is not dict or type(text) is not str or not isinstance(at, int | float):
            raise ValueError("not an instant vector")
        yield metric, at, float(text)


def whole(value: float | None) -> int:
    """A count that came as a float; what is no number counts nothing."""
    return int(value) if value is not None and math.isfinite(value) else 0

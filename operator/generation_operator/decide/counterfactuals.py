"""What other autoscalers would have chosen from the same observation, so that a decision can be compared.

Each answer is the rival's arithmetic on this single observation, before bounds, windows and rate limits: those need a
memory of their own, which only a simulation has. It never guesses: a rival whose signal is not fresh is left out.
"""

from collections.abc import Mapping
from typing import Final

from generation_operator.decide.types import Signal, SignalName, SignalState
from generation_operator.rivals import hpa_calculator, kpa

_TARGET_UTILIZATION: Final = 0.7  # of a replica's slots: KPA's default, and as usual for KEDA
_MOST: Final = 2.0**62  # of what KEDA can hand to the HPA, an int64


def counterfactuals(
    signals: Mapping[SignalName, Signal], *, slots: int, cpu_target_percent: float, current: int, ready: int
) -> dict[str, int]:
    """The replicas that HPA (CPU), KEDA and KPA (requests in a slot or waiting for one) would ask for.

    Args:
        signals: as observed.
        slots: of one replica.
        cpu_target_percent: the HPA's target, in the unit of the signal.
        current: `spec.replicas`.
        ready: replicas that are ready.

    Returns:
        Counts under `hpa`, `keda` and `kpa`.
    """
    answers: dict[str, int] = {}
    cpu = _fresh(signals, SignalName.CPU)
    if cpu is not None and cpu_target_percent > 0 and ready > 0:
        # The HPA reads whole per cents.
        answers["hpa"] = hpa_calculator.ratio_replicas(current, ready, int(cpu) / cpu_target_percent)
    in_flight = _fresh(signals, SignalName.WORKFLOWS_IN_FLIGHT)
    queued = _fresh(signals, SignalName.QUEUE_LENGTH)
    if in_flight is not None and queued is not None and slots > 0:
        load, target = in_flight + queued, _TARGET_UTILIZATION * slots
        usage = int(min(load * 1000, _MOST))
        answers["keda"] = hpa_calculator.average_value_replicas(current, usage, round(target * 1000))
        answers["kpa"] = kpa.desired_now(load, target, ready)
    return answers


def _fresh(signals: Mapping[SignalName, Signal], name: SignalName) -> float | None:
    signal = signals.get(name)
    return signal.value if signal is not None and signal.state is SignalState.FRESH else None

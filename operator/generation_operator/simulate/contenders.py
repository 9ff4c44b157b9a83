"""Which autoscalers can be compared, what their main knob is, and where it usually stands."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypedDict

from generation_operator.api.spec import GenerationServiceSpec
from generation_operator.rivals.hpa_behavior import GUIDE_BEHAVIOR
from generation_operator.simulate.baselines.hpa import HpaOnCpu, HpaOnInFlight
from generation_operator.simulate.baselines.keda import Keda
from generation_operator.simulate.baselines.kpa import Kpa
from generation_operator.simulate.baselines.metrics_path import PrometheusLoad
from generation_operator.simulate.baselines.ray_serve import RayServe
from generation_operator.simulate.baselines.static import Static
from generation_operator.simulate.oracle import Oracle, plan
from generation_operator.simulate.ours import DIRECT, FULL_LOAD_CPU_PERCENT, SCRAPE_SECONDS, Source, ours
from generation_operator.simulate.ports import Scaler
from generation_operator.simulate.trace import Requests


class Bounds(TypedDict):
    """Fewest and most replicas."""

    min_replicas: int
    max_replicas: int


@dataclass(frozen=True, slots=True)
class Setting:
    """What all contenders of a comparison have in common."""

    spec: GenerationServiceSpec
    requests: Requests
    wait_seconds: float
    startup_seconds: float  # mean
    initial_replicas: int
    engine: str = DIRECT
    source: str = Source.PODS
    keep_notes: bool = False

    @property
    def slots(self) -> int:
        """Of one replica."""
        return self.spec.targets.concurrent_workflows

    @property
    def bounds(self) -> Bounds:
        """As the baselines take them."""
        scaling = self.spec.scaling
        return Bounds(min_replicas=scaling.min_replicas, max_replicas=scaling.max_replicas)

    @property
    def load(self) -> PrometheusLoad:
        """What lives on Prometheus sees it through an adapter; one scrape later with a late source."""
        late = SCRAPE_SECONDS if self.source == Source.PROMETHEUS_LATE else 0.0
        return PrometheusLoad(lag_seconds=1.0 + late)


@dataclass(frozen=True, slots=True)
class Contender:
    """One autoscaler.

    Attributes:
        name: as users know it.
        knob: what is swept.
        usual: where it stands by default.
        sweep: the settings to try, in order.
        build: a new instance for one run.
        is_ours: whether engine and source make a difference to it.
    """

    name: str
    knob: str
    usual: float
    sweep: tuple[float, ...]
    build: Callable[[Setting, float], Scaler]
    is_ours: bool = False


def _targets(setting: Setting, knob: float) -> Scaler:
    declared = setting.spec.scaling.targets.headroom_percent
    return _ours("Targets", setting, headroom_percent=declared + int(knob))


def _score(setting: Setting, knob: float) -> Scaler:
    return _ours("Score", setting, score_percent=int(knob))


def _ours(policy: str, setting: Setting, *, headroom_percent: int | None = None, score_percent: int = 100) -> Scaler:
    return ours(
        policy,
        setting.spec,
        engine=setting.engine,
        source=setting.source,
        headroom_percent=headroom_percent,
        score_percent=score_percent,
        keep_notes=setting.keep_notes,
    )


def _oracle(setting: Setting, knob: float) -> Scaler:
    return Oracle(
        plan(
            setting.requests,
            slots=setting.slots,
            startup_seconds=setting.startup_seconds,
            wait_seconds=setting.wait_seconds,
            attainment=knob,
            initial_replicas=setting.initial_replicas,
            **setting.bounds,
        )
    )


_UTILIZATIONS: Final = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.15)

CONTENDERS: Final = {
    contender.name: contender
    for contender in (
        Contender(
            "Targets",
            "headroom (% more than the resource's)",
            0,
            (-30, -15, -7, 0, 7, 15, 30, 60, 110),
            _targets,
            is_ours=True,
        ),
        Contender("Score", "thresholds (% of the resource's)", 100, (40, 60, 80, 100, 120), _score, is_ours=True),
        Contender(
            "HPA-CPU",
            "target CPU (%)",
            70,
            (30, 40, 50, 60, 70, 78),
            lambda setting, knob: HpaOnCpu(
                target_percent=int(knob), full_load_percent=FULL_LOAD_CPU_PERCENT, **setting.bounds
            ),
        ),
        Contender(
            "HPA-CPU-guide",
            "target CPU (%)",
            70,
            (30, 40, 50, 60, 70, 78),
            lambda setting, knob: HpaOnCpu(
                target_percent=int(knob),
                behavior=GUIDE_BEHAVIOR,
                full_load_percent=FULL_LOAD_CPU_PERCENT,
                **setting.bounds,
            ),
        ),
        Contender(
            "HPA-in-flight",
            "target load (of the slots)",
            0.7,
            _UTILIZATIONS,
            lambda setting, knob: HpaOnInFlight(knob * setting.slots, source=setting.load, **setting.bounds),
        ),
        Contender(
            "KEDA",
            "target load (of the slots)",
            0.7,
            _UTILIZATIONS,
            lambda setting, knob: Keda(knob * setting.slots, source=setting.load, **setting.bounds),
        ),
        Contender(
            "KPA",
            "target load (of the slots)",
            0.7,
            _UTILIZATIONS,
            lambda setting, knob: Kpa(knob * setting.slots, **setting.bounds),
        ),
        Contender(
            "RayServe",
            "target load (of the slots)",
            0.7,
            _UTILIZATIONS,
            lambda setting, knob: RayServe(knob * setting.slots, **setting.bounds),
        ),
        Contender("Static", "replicas", 10, (4, 6, 8, 10, 13, 16, 20), lambda setting, knob: Static(int(knob))),
        Contender(
            "Oracle",
            "attainment",
            0.99,
            (0.95, 0.99, 0.999),
            _oracle,
        ),
    )
}

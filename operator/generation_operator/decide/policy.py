"""What a resource says about deciding, prepared once so that each decision is cheap.

Everything that `step` needs beside the state and the observation is here; two policies with the same digest decide
alike.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Final, Self

from generation_operator.api import spec as api
from generation_operator.api.quantity import parse_quantity
from generation_operator.decide.types import Override, Replicas, Seconds, Stage

_AROUND: Final = (Stage.BURN, Stage.SCHEDULES, Stage.OVERRIDE)
_GUARDS: Final = (
    Stage.EVIDENCE,
    Stage.TROUBLE,
    Stage.ROLLOUT,
    Stage.WARM_UP,
    Stage.GUARD,
    Stage.BUDGET,
    Stage.BOUNDS,
)
# The stages of each policy, in order; each leaves one line.
STAGES: Final = {
    api.Policy.SCORE: (Stage.SIGNALS, Stage.SCORE, *_AROUND, Stage.COOLDOWN, *_GUARDS),
    api.Policy.TARGETS: (Stage.SIGNALS, Stage.DEMAND, Stage.FORECAST, *_AROUND, Stage.STABILISE, *_GUARDS),
}
_MAX_AGE_SECONDS: Final = 60  # the default of spec.metrics.maxAgeSeconds
_HPA_PERCENT: Final = 70  # of the request: the performance guide's HPA


@dataclass(frozen=True, slots=True)
class Policy:
    """How one service is to be scaled.

    Attributes:
        scaling: `spec.scaling`.
        targets: `spec.targets`.
        max_age_seconds: age up to which a sample is fresh.
        hpa_cpu_percent: the target of the guide's HPA in % of the CPU limit; no stage reads it, counterfactuals do.
        override: the override of the spec, whether it is over or not.
        digest: identifies what is decided by.
    """

    scaling: api.Scaling
    targets: api.Targets
    max_age_seconds: int = _MAX_AGE_SECONDS
    hpa_cpu_percent: float = _HPA_PERCENT
    override: Override | None = field(init=False, repr=False, compare=False)
    digest: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        wanted = self.scaling.override
        override = wanted and Override(Replicas(wanted.replicas), Seconds(wanted.until_seconds), wanted.reason or "")
        said = f"{self.scaling.model_dump_json()}{self.targets.model_dump_json()}{self.max_age_seconds}"
        object.__setattr__(self, "override", override)
        object.__setattr__(self, "digest", hashlib.blake2b(said.encode(), digest_size=16).digest())

    @classmethod
    def of(cls, spec: api.GenerationServiceSpec) -> Self:
        """The policy that a resource declares."""
        request, limit = (parse_quantity(kind.cpu) for kind in (spec.resources.requests, spec.resources.limits))
        hpa = float(_HPA_PERCENT * request / limit) if limit > 0 else 0.0
        return cls(spec.scaling, spec.targets, spec.metrics.max_age_seconds, hpa)

    @property
    def is_score(self) -> bool:
        """Whether the performance guide's scores decide, and not the targets."""
        return self.scaling.policy is api.Policy.SCORE

    @property
    def error_budget(self) -> float:
        """Share of workflows that may miss, 0..1."""
        return (100 - self.targets.success_percent) / 100

"""Builders for the objects that many tests need, with defaults that mean "an ordinary one".

A test names only what it is about: `make_service("a").replicas(1, 3).obj()`.
"""

from collections.abc import Mapping
from typing import Any, Self

from generation_operator.api import names
from generation_operator.api.kinds import Manifest
from generation_operator.api.resource import GenerationService, parse
from generation_operator.decide.policy import Policy
from generation_operator.decide.types import (
    Decision,
    Observation,
    Reason,
    Replicas,
    Seconds,
    Signal,
    SignalName,
    SignalState,
    Stage,
)
from generation_operator.desired.available import Available

UID = "5e7f1c1a-0000-4000-8000-000000000001"

WITH_VPA = Available(vertical_pod_autoscaler=True)


class ServiceBuilder:
    """A `GenerationService`, as a manifest or parsed."""

    def __init__(self, name: str, namespace: str) -> None:
        self._metadata: dict[str, Any] = {"name": name, "namespace": namespace, "uid": UID, "generation": 1}
        self._spec: dict[str, Any] = {"image": "generation-service:0.1.0"}

    def uid(self, uid: str) -> Self:
        self._metadata["uid"] = uid
        return self

    def generation(self, generation: int) -> Self:
        self._metadata["generation"] = generation
        return self

    def paused_by_annotation(self) -> Self:
        self._metadata["annotations"] = {names.ANNOTATION_PAUSED: "true"}
        return self

    def image(self, image: str) -> Self:
        self._spec["image"] = image
        return self

    def replicas(self, minimum: int, maximum: int) -> Self:
        return self.scaling(minReplicas=minimum, maxReplicas=maximum)

    def mode(self, mode: str) -> Self:
        return self.scaling(mode=mode)

    def scaling(self, **fields: Any) -> Self:
        self._spec.setdefault("scaling", {}).update(fields)
        return self

    def targets(self, **fields: Any) -> Self:
        self._spec.setdefault("targets", {}).update(fields)
        return self

    def env(self, name: str, value: str) -> Self:
        self._spec.setdefault("env", []).append({"name": name, "value": value})
        return self

    def proxy(self, **fields: Any) -> Self:
        self._spec.setdefault("proxy", {}).update(fields)
        return self

    def vertical(self, mode: str) -> Self:
        self._spec["vertical"] = {"mode": mode}
        return self

    def spec(self, **fields: Any) -> Self:
        """Any other field, as it stands in the manifest."""
        self._spec.update(fields)
        return self

    def manifest(self) -> Manifest:
        return {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "metadata": dict(self._metadata),
            "spec": dict(self._spec),
        }

    def obj(self) -> GenerationService:
        return parse(self.manifest())


def make_service(name: str = "a", namespace: str = "default") -> ServiceBuilder:
    return ServiceBuilder(name, namespace)


def make_policy(*, targets: Mapping[str, Any] | None = None, **scaling: Any) -> Policy:
    """What `spec.scaling` says, all in camelCase; the policy Targets unless said otherwise."""
    return Policy.of(make_service().targets(**targets or {}).scaling(**scaling).obj().spec)


def make_signal(
    name: SignalName, value: float | None = 1.0, state: SignalState = SignalState.FRESH, age: float | None = 3.0
) -> Signal:
    return Signal(name, state, value, None if age is None else Seconds(age))


def make_observation(
    signals: Mapping[SignalName, float] | None = None, *, current: int = 2, ready: int | None = None, **fields: Any
) -> Observation:
    """All given signals Fresh; every pod ready unless said otherwise."""
    return Observation(
        signals={name: make_signal(name, value) for name, value in (signals or {}).items()},
        current=Replicas(current),
        ready=Replicas(current if ready is None else ready),
        **fields,
    )


def make_decision(*, desired: int = 2, current: int = 2, at: float = 1_700_000_000.0, **fields: Any) -> Decision:
    """A decision to stay, unless said otherwise."""
    values: dict[str, Any] = {
        "id": "d-1",
        "valid": True,
        "binder": Stage.SCORE,
        "limited_by": None,
        "reason": Reason.WITHIN_RANGE,
        "message": "up 0 of 50, down 0 of 60",
        "signals": (),
        "lines": (),
    } | fields
    return Decision(at=Seconds(at), desired=Replicas(desired), current=Replicas(current), **values)

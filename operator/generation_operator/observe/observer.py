"""Put together what is known about one service: its Deployment, its HPA and its metrics, at one moment."""

from generation_operator.api.kinds import Manifest
from generation_operator.api.resource import GenerationService
from generation_operator.decide.guard import guard_need
from generation_operator.decide.types import Observation, Replicas
from generation_operator.observe.signals import Reading, classify, explain


def observe(service: GenerationService, deployment: Manifest, hpa: Manifest | None, reading: Reading) -> Observation:
    """The observation that a decision is made on.

    Args:
        service: the parsed resource.
        deployment: its Deployment as last seen.
        hpa: its HorizontalPodAutoscaler as last seen, None when there is none.
        reading: what its metrics said.
    """
    status = deployment.get("status", {})
    ready = status.get("readyReplicas", 0)
    signals = classify(reading, service.spec, ready)
    return Observation(
        signals=signals,
        current=Replicas(deployment["spec"].get("replicas", 1)),  # 1: the API server's default
        ready=Replicas(ready),
        starting=Replicas(max(0, status.get("replicas", 0) - ready)),
        rollout_in_progress=rollout_in_progress(deployment),
        guard=guard_need(hpa, ready),
        metrics_error=explain(reading, service.spec, ready, signals),
    )


def rollout_in_progress(deployment: Manifest) -> bool:
    """Whether pods of an older template are left, or the Deployment controller has not looked yet.

    Fewer updated pods than `spec.replicas` alone are no rollout: a scale-up in the making looks like that, and so does
    a quota that refuses pods, for ever.
    """
    status = deployment.get("status", {})
    if status.get("observedGeneration", 0) < deployment["metadata"].get("generation", 0):
        return True
    return bool(status.get("replicas", 0) > status.get("updatedReplicas", 0))

"""What the cluster says about the demo's service, sampled once a second: replicas, readiness, the last decision."""

import json
import time
from dataclasses import dataclass, field, replace
from typing import Any

from localcluster.cluster import Cluster
from localcluster.errors import LocalClusterError


@dataclass(frozen=True, slots=True)
class Sample:
    """The service at one moment."""

    at: float  # seconds since the story began
    replicas: int  # spec.replicas of the Deployment
    ready: int
    conditions: dict[str, str]  # type -> status
    decision_id: str
    desired: int
    reason: str
    message: str


@dataclass(slots=True)
class Watch:
    """All samples of one service, and the decisions seen on the way."""

    cluster: Cluster
    namespace: str
    name: str
    began: float = field(default_factory=time.monotonic)
    samples: list[Sample] = field(default_factory=list)

    def look(self) -> Sample:
        """Take one sample; the previous one is repeated while the API server cannot be asked."""
        try:
            sample = self._sample()
        except LocalClusterError:
            if not self.samples:
                raise
            sample = replace(self.samples[-1], at=time.monotonic() - self.began)
        self.samples.append(sample)
        return sample

    @property
    def decisions(self) -> list[Sample]:
        """The first sample of each decision."""
        seen: dict[str, Sample] = {}
        for sample in self.samples:
            if sample.decision_id:
                seen.setdefault(sample.decision_id, sample)
        return list(seen.values())

    @property
    def peak(self) -> int:
        """Most replicas that were ready at once."""
        return max((sample.ready for sample in self.samples), default=0)

    def _sample(self) -> Sample:
        text = self.cluster.kubectl(
            *("get", f"gensvc/{self.name}", f"deployment/{self.name}"),
            *(f"--namespace={self.namespace}", "--output=json", "--ignore-not-found"),
            timeout=10,
        )
        found = {item["kind"]: item for item in json.loads(text).get("items", [])} if text else {}
        status: dict[str, Any] = found.get("GenerationService", {}).get("status", {})
        deployment: dict[str, Any] = found.get("Deployment", {})
        decision = status.get("autoscaling", {}).get("lastDecision", {})
        replicas = deployment.get("spec", {}).get("replicas", 0)
        return Sample(
            at=time.monotonic() - self.began,
            replicas=replicas,
            ready=deployment.get("status", {}).get("readyReplicas", 0),
            conditions={entry["type"]: entry["status"] for entry in status.get("conditions", [])},
            decision_id=decision.get("id", ""),
            desired=status.get("autoscaling", {}).get("desiredReplicas", replicas),
            reason=decision.get("reason", ""),
            message=decision.get("message", ""),
        )

"""Let the idlest pods go first when a service is scaled down.

A ReplicaSet removes the pods with the lowest `controller.kubernetes.io/pod-deletion-cost` first, and a pod without the
annotation costs 0. So as many pods as are about to go, those with the least to do, get a cost below 0; the work in the
others is not cut off or drained for nothing. Best effort: a scale-down never waits for long, and never fails, because
of it.
"""

import asyncio
import logging
from collections.abc import Collection, Mapping
from typing import Final, Protocol

from generation_operator.api.kinds import POD
from generation_operator.api.names import MANAGER_SCALER
from generation_operator.api.resource import Key
from generation_operator.cluster.ports import ClusterApi, ClusterError
from generation_operator.observe.pod_index import ANNOTATION_COST, Pod, PodIndex

_log = logging.getLogger(__name__)

# Lower than any cost that users give; among each other the idlest is still the cheapest.
_CHEAPEST: Final = -1_000_000
_SECONDS: Final = 2.0
# Pods of one step that are marked; of more than that the rest goes as the ReplicaSet likes.
_MOST: Final = 32


class Workloads(Protocol):
    """Knows how much each pod has to do."""

    def busy(self, service: Key) -> Mapping[str, float]:
        """Work in flight and waiting by pod uid, as last sampled."""


class DeletionCost:
    """Marks the pods that should go.

    Args:
        cluster: where pods are annotated.
        pods: which pods there are.
        workloads: how much they have to do.
    """

    def __init__(self, cluster: ClusterApi, pods: PodIndex, workloads: Workloads) -> None:
        self._cluster = cluster
        self._pods = pods
        self._workloads = workloads

    async def prepare(self, service: Key, count: int) -> None:
        """Mark the `count` idlest pods, and unmark those that were marked before and are not among them any more."""
        changes = costs(self._pods.ready(service), self._workloads.busy(service), count)
        if not changes:
            return
        try:
            async with asyncio.timeout(_SECONDS):
                await asyncio.gather(*(self._annotate(pod, cost) for pod, cost in changes))
        except (ClusterError, TimeoutError) as error:
            _log.warning("%s: pods could not be marked for removal: %s", service, error or "no answer in time")

    async def _annotate(self, pod: Pod, cost: str | None) -> None:
        annotations = {} if cost is None else {ANNOTATION_COST: cost}
        metadata = {"name": pod.key.name, "namespace": pod.key.namespace, "uid": pod.uid, "annotations": annotations}
        # The uid: a pod that is gone, or another one of its name, is not created or marked.
        manifest = {"apiVersion": POD.api_version, "kind": POD.kind, "metadata": metadata}
        self._pods.put(await self._cluster.apply(manifest, manager=MANAGER_SCALER, force=False))


def costs(ready: Collection[Pod], busy: Mapping[str, float], count: int) -> list[tuple[Pod, str | None]]:
    """The pods whose annotation has to change, with the new value; None removes it.

    Args:
        ready: pods that serve traffic.
        busy: how much each has to do, by uid; a pod that is not there was not sampled, and is not chosen.
        count: pods that are about to go.
    """
    known = sorted((pod for pod in ready if pod.uid in busy), key=lambda pod: (busy[pod.uid], pod.uid))
    chosen = {pod.uid: str(_CHEAPEST + int(busy[pod.uid])) for pod in known[: min(count, _MOST)]}
    changes: list[tuple[Pod, str | None]] = []
    for pod in ready:
        wanted = chosen.get(pod.uid)
        if wanted is None and (pod.cost is None or not _is_ours(pod.cost)):
            continue
        if wanted != pod.cost and (pod.cost is None or _is_ours(pod.cost)):
            changes.append((pod, wanted))
    return changes


def _is_ours(cost: str) -> bool:
    """A user's own cost is never replaced."""
    try:
        return _CHEAPEST <= int(cost) < _CHEAPEST // 2
    except ValueError:
        return False

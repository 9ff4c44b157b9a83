"""The PodDisruptionBudget of the service: drains take one replica at a time."""

from generation_operator.api.kinds import PDB, Manifest
from generation_operator.api.resource import GenerationService
from generation_operator.desired import names
from generation_operator.desired.names import Component


def pdb(service: GenerationService) -> Manifest | None:
    """The budget; None for a service that never has a second replica, whose node could not be drained otherwise.

    `maxUnavailable` and not `minAvailable`: the replica count moves, and what is allowed moves with it.
    """
    if service.spec.scaling.max_replicas == 1:
        return None
    name = service.key.name
    return names.child(PDB, service, names.pdb(name), Component.SERVICE) | {
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": names.selector(name, Component.SERVICE)},
            # A replica that cannot become ready serves nobody, and should not keep a node from being drained.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        }
    }

"""Everything that should exist for one resource, in the order in which it is applied.

What is not in this list should not exist; `reconcile` deletes it. The list depends on nothing but its arguments, so two
calls with the same resource give the same manifests, byte for byte.
"""

import hashlib
import json

from generation_operator.api.kinds import Manifest
from generation_operator.api.names import ANNOTATION_HASH
from generation_operator.api.resource import GenerationService
from generation_operator.desired.available import Available
from generation_operator.desired.deployment import deployment
from generation_operator.desired.hpa import hpa
from generation_operator.desired.pdb import pdb
from generation_operator.desired.pod_monitor import pod_monitor
from generation_operator.desired.proxy import proxy
from generation_operator.desired.service_account import service_account
from generation_operator.desired.services import cluster_ip, headless
from generation_operator.desired.vpa import vpa


def children(
    service: GenerationService, *, cluster_domain: str, available: Available, may_resize: bool = False
) -> tuple[Manifest, ...]:
    """The manifests that should exist.

    Args:
        service: the parsed resource.
        cluster_domain: DNS domain of the cluster, usually `cluster.local`.
        available: which optional APIs there are.
        may_resize: whether now is a time at which the VerticalPodAutoscaler may change pods.
    """
    manifests = (
        service_account(service) if service.spec.pod_template.service_account_name is None else None,
        cluster_ip(service),
        headless(service),
        deployment(service, annotated_for_scraping=not available.pod_monitor),
        pdb(service),
        hpa(service, custom_metrics=available.custom_metrics),
        vpa(service, may_act=may_resize) if available.vertical_pod_autoscaler else None,
        pod_monitor(service) if available.pod_monitor else None,
        *proxy(service, cluster_domain=cluster_domain),
    )
    return tuple(_stamped(manifest) for manifest in manifests if manifest is not None)


def _stamped(manifest: Manifest) -> Manifest:
    """The manifest with its own hash: a live object that lacks it, or has another, was made from another manifest."""
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return manifest | {"metadata": manifest["metadata"] | {"annotations": {ANNOTATION_HASH: digest}}}

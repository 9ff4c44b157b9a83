"""Every child as the real API server sees it: known fields only, values that its validation accepts."""

import json

import pytest

from api_fixtures import Api
from builders import ServiceBuilder, make_service
from generation_operator.api.kinds import VPA, kind_of
from generation_operator.desired.available import Available
from generation_operator.desired.children import children
from unit.desired.regenerate_golden import FULL

SERVICES = {"minimal": make_service("a"), "one replica": make_service("one").replicas(1, 1), "full": FULL}


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES.keys())
def test_children_pass_strict_validation(api: Api, service: ServiceBuilder) -> None:
    wanted = children(service.obj(), cluster_domain="cluster.local", available=Available())
    for manifest in wanted:
        # The owner exists in no cluster, and the namespace is the test's own.
        del manifest["metadata"]["ownerReferences"]
        manifest["metadata"]["namespace"] = api.namespace
        assert kind_of(manifest) != VPA
    everything = {"apiVersion": "v1", "kind": "List", "items": list(wanted)}
    said = api.kubectl(
        *("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"), stdin=json.dumps(everything)
    )
    assert said.count("serverside-applied (server dry run)") == len(wanted)

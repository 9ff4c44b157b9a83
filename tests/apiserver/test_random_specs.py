"""A thousand specs that are right and a thousand that are wrong, made from the CRD itself, on a real API server.

Every request is a server-side apply in a dry run with strict field validation, as the operator's own but for the dry
run, so that nothing is kept and the API server says all that it would say.
"""

import asyncio
import copy
import itertools
import json
import random
from collections.abc import Iterator
from typing import Any, Final

import pytest
from aiohttp import ClientSession, TCPConnector
from hypothesis import HealthCheck, given, settings

from api_fixtures import Api
from generation_operator.api.kinds import GENERATION_SERVICE, HPA, KINDS, POD, Manifest, kind_of
from generation_operator.api.names import API_VERSION, KIND
from generation_operator.api.resource import GenerationService, InvalidSpecError, parse
from generation_operator.api.spec import Engine
from generation_operator.cluster.wire import yaml_text
from generation_operator.desired import floor
from generation_operator.desired.available import Available
from generation_operator.desired.children import children
from generation_operator.desired.floor import Bounds
from kube_http import client_tls, read_config, server_url
from spec_strategies import SPEC, Place, probes, values

_COUNT: Final = 1000
_DRAWN: Final = 2400  # of which rules forbid somewhat more than half
_AT_ONCE: Final = 16
_DRY_RUN: Final = {"dryRun": "All", "fieldManager": "test", "force": "true", "fieldValidation": "Strict"}
EVERYTHING: Final = Available(vertical_pod_autoscaler=True, pod_monitor=True, custom_metrics=True)
_APPLY: Final = {"Content-Type": "application/apply-patch+yaml"}


def resource(spec: Any, namespace: str) -> Manifest:
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": "random", "namespace": namespace},
        "spec": spec,
    }


def parsed(spec: Any, namespace: str) -> GenerationService:
    manifest = resource(spec, namespace)
    return parse(manifest | {"metadata": manifest["metadata"] | {"uid": "5e7f1c1a-0000-4000-8000-000000000001"}})


def is_valid(spec: Any) -> bool:
    try:
        parsed(spec, "x")
    except InvalidSpecError:
        return False
    return True


@pytest.fixture(scope="module")
def drawn() -> list[Any]:
    """Anything that the schema allows, rules aside; the same in every run."""
    specs: list[Any] = []

    @settings(max_examples=_DRAWN, derandomize=True, database=None, deadline=None, suppress_health_check=[*HealthCheck])
    @given(values(SPEC))
    def draw(spec: Any) -> None:
        specs.append(spec)

    draw()
    return specs


async def answers(api: Api, manifests: list[Manifest]) -> list[str]:
    """What the API server says of each manifest; nothing where it accepts."""
    config = read_config(api.cluster.kubeconfig)
    free = asyncio.Semaphore(_AT_ONCE)

    async def ask(session: ClientSession, manifest: Manifest) -> str:
        kind, metadata = kind_of(manifest), manifest["metadata"]
        path = f"{kind.path}/namespaces/{metadata['namespace']}/{kind.plural}/{metadata['name']}"
        async with (
            free,
            session.patch(
                server_url(config) + path,
                params=_DRY_RUN,
                headers=_APPLY,
                data=yaml_text(manifest).encode(),
            ) as answer,
        ):
            return "" if answer.status in (200, 201) else str((await answer.json())["message"])

    connector = TCPConnector(ssl=client_tls(config), limit=_AT_ONCE)
    async with ClientSession(connector=connector) as session:
        return await asyncio.gather(*(ask(session, manifest) for manifest in manifests))


def refused(manifests: list[Manifest], said: list[str]) -> list[str]:
    return [
        f"{manifest['kind']}: {text}\n{json.dumps(manifest)}"
        for manifest, text in zip(manifests, said, strict=True)
        if text
    ]


@pytest.mark.usefixtures("every_api")
def test_valid_specs_become_manifests_that_the_api_server_accepts(api: Api, drawn: list[Any]) -> None:
    valid = [spec for spec in drawn if is_valid(spec)][:_COUNT]
    assert len(valid) == _COUNT, "draw more"
    resources = [resource(spec, api.namespace) for spec in valid]
    assert refused(resources, asyncio.run(answers(api, resources)))[:3] == []
    wanted = []
    for spec in valid:
        service = parsed(spec, api.namespace)
        every = children(service, cluster_domain="cluster.local", available=EVERYTHING, may_resize=True)
        wanted += [by_itself(manifest, service) for manifest in every]
    assert {kind_of(manifest) for manifest in wanted} == set(KINDS.values()) - {GENERATION_SERVICE, POD}
    said = asyncio.run(answers(api, wanted))
    assert refused(wanted, said)[:3] == []


def by_itself(manifest: Manifest, service: GenerationService) -> Manifest:
    """The child without its owner, which exists nowhere, and with what another field manager would say."""
    metadata = {field: value for field, value in manifest["metadata"].items() if field != "ownerReferences"}
    bounds = {}
    if kind_of(manifest) == HPA and service.spec.scaling.engine is Engine.FLOOR:
        own = Bounds(service.spec.scaling.min_replicas, service.spec.scaling.max_replicas)
        bounds = floor.manifest(service, own)["spec"]
    return manifest | {"metadata": metadata} | ({"spec": manifest["spec"] | bounds} if bounds else {})


def test_invalid_specs_are_refused_with_the_field_by_one_or_the_other(api: Api, drawn: list[Any]) -> None:
    valid: list[Any] = []
    broken_rules: list[Any] = []
    for spec in drawn:
        (valid if is_valid(spec) else broken_rules).append(spec)
    invalid = [*broken_rules[: _COUNT // 2], *itertools.islice(spoilt(valid), _COUNT)][:_COUNT]
    assert len(invalid) == _COUNT, "draw more"
    said = asyncio.run(answers(api, [resource(spec, api.namespace) for spec in invalid]))
    for spec, text in zip(invalid, said, strict=True):
        if text:
            assert "spec" in text, text
            continue
        # What the rules of a CRD cannot say, the operator says in Ready=False, InvalidSpec.
        with pytest.raises(InvalidSpecError, match=r"^spec[.:\[]"):
            parsed(spec, api.namespace)
    assert sum(map(bool, said)) > 0.9 * _COUNT, "nearly all of it is the API server's to refuse"


def spoilt(valid: list[Any]) -> Iterator[Any]:
    """Valid specs with one value each that a bound of the schema forbids."""
    chance = random.Random(0)
    wrong = [(place, value) for place, value, allowed in probes() if not allowed]
    for spec in itertools.cycle(valid):
        place, value = chance.choice(wrong)
        yield with_wrong_value(spec, place, value)


def with_wrong_value(spec: Any, place: Place, value: Any) -> Any:
    """The spec with this value at this place; what leads there is made as small as can be."""
    if not place.path:
        return value
    changed = copy.deepcopy(spec)
    here = changed
    for step, following in itertools.pairwise(place.path):
        inner: Any = [] if following == "[]" else {}
        if step == "[]":
            here[:] = here[:1] or [inner]
            here = here[0]
        else:
            here = here.setdefault("key" if step == "{}" else step, inner)
    last = place.path[-1]
    if last == "[]":
        here[:] = [value]
    else:
        here["key" if last == "{}" else last] = value
    return changed


def test_nothing_was_kept(api: Api) -> None:
    assert api.items(GENERATION_SERVICE.plural) == []

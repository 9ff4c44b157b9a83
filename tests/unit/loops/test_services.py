"""Resources are parsed once per version, and share what they have in common."""

from builders import make_service
from generation_operator.api.kinds import GENERATION_SERVICE
from generation_operator.api.resource import Key, parse
from generation_operator.loops.services import Services
from generation_operator.observe.store import Store


def test_what_is_shared_says_the_same() -> None:
    store = Store()
    manifests = [
        make_service("a").targets(concurrentWorkflows=7).manifest(),
        make_service("b").targets(concurrentWorkflows=7).scaling(maxReplicas=30).manifest(),
        make_service("c").targets(concurrentWorkflows=8).manifest(),
    ]
    for manifest in manifests:
        store.put(GENERATION_SERVICE, manifest)
    known = {found.service.key.name: found for found in Services(store).all()}
    for manifest in manifests:
        assert known[manifest["metadata"]["name"]].service == parse(manifest)
    one, two, three = (known[name].service.spec for name in ("a", "b", "c"))
    assert one.targets is two.targets
    assert one.targets is not three.targets
    assert one.resources is two.resources is three.resources, "left out is equal as well"
    assert one.scaling.max_replicas != two.scaling.max_replicas == 30
    assert known["a"].policy.targets is one.targets


def test_sections_are_forgotten_with_the_last_resource_that_has_them() -> None:
    store, key = Store(), Key("default", "a")
    services = Services(store)
    store.put(GENERATION_SERVICE, make_service("a").targets(concurrentWorkflows=7).manifest())
    assert services.all()
    before = len(services._sections)
    for number in range(8, 20):
        store.put(GENERATION_SERVICE, make_service("a").targets(concurrentWorkflows=number).manifest())
        [known] = services.all()
        assert known.service.spec.targets.concurrent_workflows == number
        del known
        assert len(services._sections) == before
    store.remove(GENERATION_SERVICE, key)
    assert services.all() == []
    assert "targets" not in {name for name, _ in services._sections}

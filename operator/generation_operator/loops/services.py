"""The resources that can be decided on, parsed once for each version of them.

Parsing takes longer than deciding, and a resource is decided on far more often than it changes. A parsed spec takes
16 kB, most of it defaults and sections that other resources have as well, so equal sections are one.
"""

import dataclasses
import json
import logging
from typing import Final, NamedTuple
from weakref import WeakValueDictionary

from generation_operator.api.kinds import GENERATION_SERVICE, Manifest
from generation_operator.api.model import Model
from generation_operator.api.resource import GenerationService, InvalidSpecError, Key, parse
from generation_operator.decide.policy import Policy
from generation_operator.observe.store import Store

_log: Final = logging.getLogger(__name__)


class Known(NamedTuple):
    """A resource, and what its spec means to a decision."""

    service: GenerationService
    policy: Policy


class Services:
    """Parsed resources of a store.

    Args:
        store: where resources are read.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._parsed: dict[Key, tuple[object, Known | None]] = {}
        # By what the manifest says of them, for as long as a resource has them.
        self._sections: WeakValueDictionary[tuple[str, str], Model] = WeakValueDictionary()

    def all(self) -> list[Known]:
        """Resources that can be decided on, by key; why another cannot is for reconcile to say."""
        keys = self._store.keys(GENERATION_SERVICE)
        for gone in self._parsed.keys() - keys:
            del self._parsed[gone]
        return [known for key in sorted(keys) if (known := self.get(key)) is not None]

    def get(self, key: Key) -> Known | None:
        """The resource as last seen; None for one that is gone, going or not understood."""
        version = self._store.version(GENERATION_SERVICE, key)
        if version is None:
            return None
        seen = self._parsed.get(key)
        if seen is None or seen[0] is not version:
            resource = self._store.get(GENERATION_SERVICE, key) or {}
            seen = self._parsed[key] = version, self._understood(key, resource)
        return seen[1]

    def _understood(self, key: Key, resource: Manifest) -> Known | None:
        if "deletionTimestamp" in resource["metadata"]:
            return None
        try:
            service = self._shared(parse(resource), resource)
            return Known(service, Policy.of(service.spec))
        except InvalidSpecError:
            return None
        except Exception:  # noqa: BLE001 - one service's failure is not the others'
            _log.exception("%s: left out of all ticks until it changes", key)
            return None

    def _shared(self, service: GenerationService, resource: Manifest) -> GenerationService:
        """The same with sections that others have too. Models are frozen, so it does not matter who shares them."""
        said, sections = resource.get("spec") or {}, {}
        for name, info in type(service.spec).model_fields.items():
            section = getattr(service.spec, name)
            if isinstance(section, Model):
                text = json.dumps(said.get(info.alias or name), sort_keys=True)
                sections[name] = self._sections.setdefault((name, text), section)
        spec = service.spec.model_copy()
        # `update=` would note all of them as given, in a set that takes 0.7 kB.
        spec.__dict__.update(sections)
        return dataclasses.replace(service, spec=spec)

"""Carry out what was decided: write the replica count where the mode allows it.

Whoever else moves the count, the HPA above all, is never overwritten: nothing is written then, and the next tick
decides anew on what it sees. A step counts as taken only when the API server took it.
"""

import asyncio
import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from generation_operator.api.kinds import DEPLOYMENT, Manifest
from generation_operator.api.names import MANAGER_SCALER
from generation_operator.api.resource import GenerationService, Key
from generation_operator.api.spec import Mode
from generation_operator.cluster.ports import ClusterApi, ClusterError, ConflictError, Scale
from generation_operator.decide.step import not_carried_out
from generation_operator.decide.types import Decision, Observation, State
from generation_operator.desired import names
from generation_operator.observe.store import Store

_log = logging.getLogger(__name__)

# Writes at a time: a step of one service should not wait for those of a hundred others, nor flood the API server.
_WRITERS: Final = 8
# Waiting for a writer included, so that a slow API server delays a tick by this much and no more. The liveness probe
# allows 60 s without a tick.
_WRITE_SECONDS: Final = 10.0
_CHECK_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Turn:
    """One service in one tick."""

    service: GenerationService
    observation: Observation
    before: State
    after: State
    decision: Decision
    written: bool = False
    write_error: str | None = None

    def not_written(self, error: str | None = None) -> "Turn":
        """The step was not taken, so it must not be remembered."""
        after = not_carried_out(self.before, self.after)
        return (
            self if after is self.after and error is None else dataclasses.replace(self, after=after, write_error=error)
        )


class Removal(Protocol):
    """Prepares a step down."""

    async def prepare(self, service: Key, count: int) -> None:
        """See to it that the right `count` pods go. Never raises, and takes a few seconds at most."""


class Actuator:
    """Writes replica counts.

    Args:
        cluster: where they are written.
        store: told of each write, as the next tick may come before the watch event.
        removal: lets the right pods go.
    """

    def __init__(self, cluster: ClusterApi, store: Store, removal: Removal) -> None:
        self._cluster = cluster
        self._store = store
        self._removal = removal
        self._writers = asyncio.Semaphore(_WRITERS)

    async def carry_out(self, turns: Sequence[Turn]) -> list[Turn]:
        """Carry out the decisions of one tick."""
        due = {number: self._one(turn) for number, turn in enumerate(turns) if _is_due(turn)}
        done = dict(zip(due, await asyncio.gather(*due.values()), strict=True))
        return [done.get(number) or turn.not_written() for number, turn in enumerate(turns)]

    async def _one(self, turn: Turn) -> Turn:
        """Write the count if nobody else has moved it."""
        try:
            async with asyncio.timeout(_WRITE_SECONDS), self._writers:
                written = await self._scale(turn)
        except (ClusterError, TimeoutError) as error:
            if await self._arrived(turn):
                return dataclasses.replace(turn, written=True)
            if isinstance(error, ConflictError):
                return turn.not_written()
            return turn.not_written(str(error) or f"no answer within {_WRITE_SECONDS:.0f} s")
        except Exception:  # noqa: BLE001 - one service's failure is not the others'
            _log.exception("%s: the replica count could not be written", turn.service.key)
            return turn.not_written("the operator failed unexpectedly: see its log")
        return dataclasses.replace(turn, written=True) if written else turn.not_written()

    async def _arrived(self, turn: Turn) -> bool:
        """Whether a write that seems to have failed was carried out: its answer may have been lost on the way."""
        key = _deployment_key(turn.service.key)
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                fresh = await self._cluster.get_scale(DEPLOYMENT, key.namespace, key.name)
        except (ClusterError, TimeoutError):
            return False
        return fresh.replicas == turn.decision.desired

    async def _scale(self, turn: Turn) -> bool:
        """Write the replica count; False when it is not any more what the decision was made on."""
        decision, key = turn.decision, _deployment_key(turn.service.key)
        fresh = await self._cluster.get_scale(DEPLOYMENT, key.namespace, key.name)
        if fresh.replicas != decision.current:
            # The store lags, or the HPA has raised the count since.
            _log.debug("%s: %d replicas, decided on %d; deciding anew", key, fresh.replicas, decision.current)
            return False
        if decision.desired < decision.current:
            await self._removal.prepare(turn.service.key, decision.current - decision.desired)
        written = await self._cluster.scale(
            DEPLOYMENT, key.namespace, key.name, decision.desired, expect=fresh, manager=MANAGER_SCALER
        )
        _log.info("%s: %d -> %d (%s) %s", key, decision.current, decision.desired, decision.reason, decision.message)
        # The next tick may come before the watch event. The store keeps what is newer, should that have come first.
        seen = self._store.get(DEPLOYMENT, key)
        if seen is not None:
            self._store.put(DEPLOYMENT, _rescaled(seen, written))
        return True


def _is_due(turn: Turn) -> bool:
    """Whether there is something to write that the mode allows."""
    return turn.decision.changes_replicas and turn.service.mode is Mode.ACTIVE


def _deployment_key(key: Key) -> Key:
    return Key(key.namespace, names.deployment(key.name))


def _rescaled(deployment: Manifest, to: Scale) -> Manifest:
    """A copy that tells the written count and version; objects in the store are never changed in place."""
    metadata = deployment["metadata"] | {"resourceVersion": to.resource_version}
    return deployment | {"metadata": metadata, "spec": deployment["spec"] | {"replicas": to.replicas}}

"""Carry out what was decided: write the replica count, or the bounds of it, where mode and ownership allow it.

Whoever else moves the count, the HPA above all, is never overwritten: nothing is written then, and the next tick
decides anew on what it sees. While somebody has a rival claim on the count nothing is written at all. A step counts as
taken only when the API server took it.
"""

import asyncio
import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from generation_operator.api.kinds import DEPLOYMENT, Manifest
from generation_operator.api.names import MANAGER_SCALER
from generation_operator.api.resource import GenerationService, Key
from generation_operator.api.spec import Engine, Mode
from generation_operator.cluster.ports import ClusterApi, ClusterError, ConflictError, Scale
from generation_operator.decide.step import not_carried_out
from generation_operator.decide.types import Decision, Observation, State
from generation_operator.desired import names
from generation_operator.loops.floor import floor_step
from generation_operator.observe.ownership import Standing, replicas_written_by
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
    had_standing: Standing = field(default_factory=Standing)  # at the last tick
    standing: Standing = field(default_factory=Standing)

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


class Step(Protocol):
    """What one service needs written in one tick."""

    @property
    def is_decided(self) -> bool:
        """Whether this is the decided step, and not something that keeps the count where it is."""

    async def write(self) -> bool:
        """Write it; False when it is not any more what the decision was made on. Raises `ClusterError`."""

    async def arrived(self) -> bool:
        """Whether a write that seems to have failed was carried out. Raises `ClusterError`."""


class Actuator:
    """Writes replica counts, or their bounds.

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
        due = {number: self._one(turn) for number, turn in enumerate(turns) if _may_write(turn)}
        done = dict(zip(due, await asyncio.gather(*due.values()), strict=True))
        return [done.get(number) or turn.not_written() for number, turn in enumerate(turns)]

    async def _one(self, turn: Turn) -> Turn:
        try:
            step = self._step(turn)
            if step is None:
                return turn.not_written()
            try:
                async with asyncio.timeout(_WRITE_SECONDS), self._writers:
                    written = await step.write()
            except (ClusterError, TimeoutError) as error:
                # Its answer may have been lost on the way.
                written = await _arrived(step)
                if not written and not isinstance(error, ConflictError):
                    return turn.not_written(str(error) or f"no answer within {_WRITE_SECONDS:.0f} s")
        except Exception:  # noqa: BLE001 - one service's failure is not the others'
            _log.exception("%s: the replica count could not be written", turn.service.key)
            return turn.not_written("the operator failed unexpectedly: see its log")
        return dataclasses.replace(turn, written=True) if written and step.is_decided else turn.not_written()

    def _step(self, turn: Turn) -> Step | None:
        """What is to be written.

        mode       rivals | Direct             | Floor
        Recommend  any    | nothing            | nothing: there is no HPA either
        any        some   | nothing            | nothing
        Paused     none   | nothing            | bounds that hold the count, if they do not yet
        Active     none   | the decided count  | bounds that lead to the decided count
        """
        service = turn.service
        if turn.standing.rivals or service.mode is Mode.RECOMMEND:
            return None
        if service.spec.scaling.engine is Engine.FLOOR:
            return floor_step(self._cluster, self._store, service, turn.decision)
        if service.mode is Mode.PAUSED or not turn.decision.changes_replicas:
            return None
        return _DirectStep(self._cluster, self._store, self._removal, service.key, turn.decision)


async def _arrived(step: Step) -> bool:
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            return await step.arrived()
    except (ClusterError, TimeoutError):
        return False


@dataclass(frozen=True, slots=True)
class _DirectStep:
    """A replica count for the scale subresource of one Deployment."""

    cluster: ClusterApi
    store: Store
    removal: Removal
    service: Key
    decision: Decision
    is_decided: bool = True

    async def write(self) -> bool:
        decision, key = self.decision, _deployment_key(self.service)
        fresh = await self.cluster.get_scale(DEPLOYMENT, key.namespace, key.name)
        if fresh.replicas != decision.current:
            # The store lags, or the HPA has raised the count since.
            _log.debug("%s: %d replicas, decided on %d; deciding anew", key, fresh.replicas, decision.current)
            return False
        if decision.desired < decision.current:
            await self.removal.prepare(self.service, decision.current - decision.desired)
        written = await self.cluster.scale(
            DEPLOYMENT, key.namespace, key.name, decision.desired, expect=fresh, manager=MANAGER_SCALER
        )
        _log.info("%s: %d -> %d (%s) %s", key, decision.current, decision.desired, decision.reason, decision.message)
        # The next tick may come before the watch event. The store keeps what is newer, should that have come first.
        seen = self.store.get(DEPLOYMENT, key)
        if seen is not None:
            self.store.put(DEPLOYMENT, _rescaled(seen, written))
        return True

    async def arrived(self) -> bool:
        key = _deployment_key(self.service)
        fresh = await self.cluster.get_scale(DEPLOYMENT, key.namespace, key.name)
        return fresh.replicas == self.decision.desired


def _may_write(turn: Turn) -> bool:
    """Whether there can be something to write: for nearly all services in nearly all ticks there is nothing."""
    return turn.decision.changes_replicas or turn.service.spec.scaling.engine is Engine.FLOOR


def _deployment_key(key: Key) -> Key:
    return Key(key.namespace, names.deployment(key.name))


def _rescaled(deployment: Manifest, to: Scale) -> Manifest:
    """A copy that tells the written count, its writer and version; objects in the store are never changed in place."""
    told = deployment["metadata"].get("managedFields") or ()
    metadata = deployment["metadata"] | {
        "resourceVersion": to.resource_version,
        # Else the count would look like another write of whoever wrote the one before.
        "managedFields": replicas_written_by(MANAGER_SCALER, told),
    }
    return deployment | {"metadata": metadata, "spec": deployment["spec"] | {"replicas": to.replicas}}

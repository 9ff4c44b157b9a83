"""One clocked loop over all resources: observe, decide, actuate, publish.

All services are observed with a few batched queries and decided on together, but none depends on another: what goes
wrong with one is its own affair. A step counts as taken only when the API server took it. Whoever else moves the
replica count, the HPA above all, is never overwritten: the loop then does nothing and decides anew on what it sees.
"""

import asyncio
import dataclasses
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, ParamSpec, TypeVar

from generation_operator.api.kinds import DEPLOYMENT, GENERATION_SERVICE, HPA, Manifest
from generation_operator.api.names import MANAGER_SCALER
from generation_operator.api.resource import GenerationService, InvalidSpecError, Key, parse
from generation_operator.api.spec import Mode
from generation_operator.cluster.ports import ClusterApi, ClusterError, ConflictError, Scale
from generation_operator.decide.policy import Policy
from generation_operator.decide.step import not_carried_out, step
from generation_operator.decide.types import Decision, Observation, Seconds, State
from generation_operator.desired import names
from generation_operator.loops.events import scaled
from generation_operator.observe.observer import observe
from generation_operator.observe.signals import Ask, MetricsSource, Reading
from generation_operator.observe.store import Autoscaling, Store
from generation_operator.reconcile.status import state_from_status

_log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

# Writes at a time: a step of one service should not wait for those of a hundred others, nor flood the API server.
_WRITERS: Final = 8
# Waiting for a writer included, so that a slow API server delays a tick by this much and no more. The liveness probe
# allows 60 s without a tick.
_WRITE_SECONDS: Final = 10.0
_CHECK_SECONDS: Final = 5.0
# +-10 %: operators that started together should not ask the same Prometheus at the same moment for ever.
_JITTER: Final = 0.1


@dataclass(frozen=True, slots=True)
class _Turn:
    """One service in one tick."""

    service: GenerationService
    observation: Observation
    before: State
    after: State
    decision: Decision
    written: bool = False
    write_error: str | None = None

    def not_written(self, error: str | None = None) -> "_Turn":
        """The step was not taken, so it must not be remembered."""
        return dataclasses.replace(self, after=not_carried_out(self.before, self.after), write_error=error)


class Autoscaler:
    """Decides for all resources, once per tick.

    Args:
        cluster: where replica counts are written.
        store: where resources and their children are read, and decisions are put.
        metrics: where signals are read.
        enqueue: called with the key of a resource whose status has something new to tell.
        clock: Unix time in seconds.
        prometheus_default_url: for resources that name no Prometheus; None: those have no metrics.
        tick_seconds: time from one tick to the next. Shorter reacts sooner and asks Prometheus more often; shorter than
            the scrape interval sees nothing new.
    """

    def __init__(
        self,
        cluster: ClusterApi,
        store: Store,
        metrics: MetricsSource,
        enqueue: Callable[[Key], None],
        *,
        clock: Callable[[], float],
        prometheus_default_url: str | None,
        tick_seconds: float,
    ) -> None:
        self._cluster = cluster
        self._store = store
        self._metrics = metrics
        self._enqueue = enqueue
        self._clock = clock
        self._prometheus_default_url = prometheus_default_url
        self._tick_seconds = tick_seconds
        self._states: dict[Key, tuple[str, State]] = {}  # with the uid: another resource of that name starts anew
        self._writers = asyncio.Semaphore(_WRITERS)

    async def run(self) -> None:
        """Tick until cancelled; a tick that fails is logged, and the next one comes at its time."""
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            try:
                await self.tick(Seconds(self._clock()))
            except Exception:  # noqa: BLE001 - the loop must outlive whatever a tick ran into
                _log.exception("a tick failed; the next one comes as usual")
            period = self._tick_seconds * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - not for secrets
            await asyncio.sleep(max(0.0, started + period - loop.time()))

    async def tick(self, now: Seconds) -> None:
        """Look at every resource once.

        Args:
            now: Unix seconds.
        """
        readings = await self._metrics.read([self._ask(service) for service in self._services()])
        turns = self._decide(self._observe(readings), now)
        turns = await self._actuate(turns)
        self._publish(turns)
        await self._announce(turns)

    def _services(self) -> list[GenerationService]:
        """Resources that can be decided on; why another cannot is for reconcile to say."""
        found = []
        for key in sorted(self._store.keys(GENERATION_SERVICE)):
            service = _alone(key, self._service, key)
            if service is not None:
                found.append(service)
        return found

    def _service(self, key: Key) -> GenerationService | None:
        resource = self._store.get(GENERATION_SERVICE, key)
        if resource is None or _is_going(resource):
            return None
        try:
            return parse(resource)
        except InvalidSpecError:
            return None

    def _ask(self, service: GenerationService) -> Ask:
        metrics = service.spec.metrics
        url = metrics.prometheus_url or self._prometheus_default_url
        return Ask(service.key, url, metrics.window_seconds, metrics.max_age_seconds)

    def _observe(self, readings: Mapping[Key, Reading]) -> list[tuple[GenerationService, Observation]]:
        """What is known of each service. Resources are read again: one may be paused while Prometheus answers."""
        observations = []
        for service in self._services():
            reading, deployment = readings.get(service.key), self._deployment(service)
            if reading is None or deployment is None:
                continue
            hpa = self._store.get(HPA, Key(service.key.namespace, names.hpa(service.key.name)))
            observation = _alone(service.key, observe, service, deployment, hpa, reading)
            if observation is not None:
                observations.append((service, observation))
        return observations

    def _decide(self, observations: Sequence[tuple[GenerationService, Observation]], now: Seconds) -> list[_Turn]:
        turns = []
        for service, observation in observations:
            before = self._state(service)
            outcome = _alone(service.key, step, Policy.of(service.spec), before, observation, now)
            if outcome is not None:
                after, decision = outcome
                turns.append(_Turn(service, observation, before, after, decision))
        return turns

    async def _actuate(self, turns: Sequence[_Turn]) -> list[_Turn]:
        return list(await asyncio.gather(*(self._carry_out(turn) for turn in turns)))

    async def _carry_out(self, turn: _Turn) -> _Turn:
        """Write the count if the mode allows it and nobody else has moved it."""
        if not turn.decision.changes_replicas or turn.service.mode is not Mode.ACTIVE:
            return turn.not_written()
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

    async def _arrived(self, turn: _Turn) -> bool:
        """Whether a write that seems to have failed was carried out: its answer may have been lost on the way."""
        key = self._deployment_key(turn.service.key)
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                fresh = await self._cluster.get_scale(DEPLOYMENT, key.namespace, key.name)
        except (ClusterError, TimeoutError):
            return False
        return fresh.replicas == turn.decision.desired

    async def _scale(self, turn: _Turn) -> bool:
        """Write the replica count; False when it is not any more what the decision was made on."""
        decision, key = turn.decision, self._deployment_key(turn.service.key)
        fresh = await self._cluster.get_scale(DEPLOYMENT, key.namespace, key.name)
        if fresh.replicas != decision.current:
            # The store lags, or the HPA has raised the count since.
            _log.debug("%s: %d replicas, decided on %d; deciding anew", key, fresh.replicas, decision.current)
            return False
        written = await self._cluster.scale(
            DEPLOYMENT, key.namespace, key.name, decision.desired, expect=fresh, manager=MANAGER_SCALER
        )
        _log.info("%s: %d -> %d (%s) %s", key, decision.current, decision.desired, decision.reason, decision.message)
        # The next tick may come before the watch event. The store keeps what is newer, should that have come first.
        seen = self._store.get(DEPLOYMENT, key)
        if seen is not None:
            self._store.put(DEPLOYMENT, _rescaled(seen, written))
        return True

    def _publish(self, turns: Sequence[_Turn]) -> None:
        """Remember what was decided; have a status written only where it has something new to tell."""
        for turn in turns:
            key = turn.service.key
            self._states[key] = turn.service.uid, turn.after
            told = self._store.autoscaling(key)
            new = Autoscaling(turn.observation, turn.decision, turn.after, turn.write_error)
            self._store.put_autoscaling(key, new)
            if told is None or _telling(told) != _telling(new):
                self._enqueue(key)
        for key in self._states.keys() - self._store.keys(GENERATION_SERVICE):
            del self._states[key]

    async def _announce(self, turns: Sequence[_Turn]) -> None:
        """Record an Event for each step; what cannot be recorded soon is left out."""
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                await asyncio.gather(*(self._announce_one(turn) for turn in turns if turn.written))
        except TimeoutError:
            _log.warning("Events of this tick's steps were not recorded within %.0f s", _CHECK_SECONDS)

    async def _announce_one(self, turn: _Turn) -> None:
        try:
            await self._cluster.emit_event(scaled(turn.service, turn.decision))
        except ClusterError as error:
            _log.warning("%s: the Event of a step was not recorded: %s", turn.service.key, error)

    def _state(self, service: GenerationService) -> State:
        """What was remembered of this very resource; after a start, what its status tells."""
        uid, state = self._states.get(service.key, ("", State()))
        if uid == service.uid:
            return state
        resource = self._store.get(GENERATION_SERVICE, service.key) or {}
        return state_from_status(resource.get("status") or {})

    def _deployment(self, service: GenerationService) -> Manifest | None:
        """The Deployment if it is this resource's: one that only has its name is nobody's to scale."""
        deployment = self._store.get(DEPLOYMENT, self._deployment_key(service.key))
        if deployment is None or _is_going(deployment) or names.controller_uid(deployment) != service.uid:
            return None
        return deployment

    def _deployment_key(self, key: Key) -> Key:
        return Key(key.namespace, names.deployment(key.name))


def _alone(key: Key, do: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
    """Run a step for one service; an error is logged and is nobody else's."""
    try:
        return do(*args, **kwargs)
    except Exception:  # noqa: BLE001 - one service's failure is not the others'
        _log.exception("%s: left out of this tick", key)
        return None


def _telling(autoscaling: Autoscaling) -> tuple[object, ...]:
    """What makes a status worth writing; values and ages that move with every tick do not."""
    decision, observation = autoscaling.decision, autoscaling.observation
    return (
        decision.desired,
        decision.valid,
        decision.binder,
        decision.limited_by,
        decision.reason,
        tuple((signal.name, signal.state) for signal in decision.signals),
        observation.guard,
        observation.metrics_error,
        autoscaling.state.last_step_at,
        autoscaling.write_error,
    )


def _rescaled(deployment: Manifest, to: Scale) -> Manifest:
    """A copy that tells the written count and version; objects in the store are never changed in place."""
    metadata = deployment["metadata"] | {"resourceVersion": to.resource_version}
    return deployment | {"metadata": metadata, "spec": deployment["spec"] | {"replicas": to.replicas}}


def _is_going(manifest: Manifest) -> bool:
    return "deletionTimestamp" in manifest["metadata"]

"""One clocked loop over all resources: observe, decide, actuate, publish.

All services are observed with a few batched queries and decided on together, but none depends on another: what goes
wrong with one is its own affair.
"""

import asyncio
import dataclasses
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Final, ParamSpec, TypeAlias, TypeVar

from generation_operator.api.kinds import DEPLOYMENT, GENERATION_SERVICE, HPA, Manifest
from generation_operator.api.resource import GenerationService, InvalidSpecError, Key, parse
from generation_operator.cluster.ports import ClusterApi, ClusterError
from generation_operator.decide.floors import floor_in_force
from generation_operator.decide.policy import Policy
from generation_operator.decide.step import step
from generation_operator.decide.types import Observation, Seconds, State
from generation_operator.desired import names
from generation_operator.loops.actuation import Actuator, Turn
from generation_operator.loops.events import changed_standing, scaled
from generation_operator.loops.floor import commanded
from generation_operator.loops.needs import Needs
from generation_operator.loops.standing import Standings
from generation_operator.observe.observer import observe
from generation_operator.observe.ownership import Standing
from generation_operator.observe.signals import Ask, MetricsSource, Reading
from generation_operator.observe.store import Autoscaling, Store
from generation_operator.observe.targets import verdicts
from generation_operator.reconcile.status import state_from_status

_log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

# A service, what is known of it, and who else had and has a say in its replica count.
_Seen: TypeAlias = tuple[GenerationService, Observation, tuple[Standing, Standing]]

KEEP_MANUAL_SECONDS: Final = 1800.0  # long enough to find out why somebody had to, short enough to be forgotten
_EVENT_SECONDS: Final = 5.0
# +-10 %: operators that started together should not ask the same Prometheus at the same moment for ever.
_JITTER: Final = 0.1


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
        keep_manual_seconds: how long a count that somebody wrote by hand is kept.
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
        keep_manual_seconds: float = KEEP_MANUAL_SECONDS,
    ) -> None:
        self._cluster = cluster
        self._store = store
        self._metrics = metrics
        self._enqueue = enqueue
        self._clock = clock
        self._prometheus_default_url = prometheus_default_url
        self._tick_seconds = tick_seconds
        self._states: dict[Key, tuple[str, State]] = {}  # with the uid: another resource of that name starts anew
        self._standings = Standings(store, keep_seconds=keep_manual_seconds)
        self._needs = Needs()
        self._actuator = Actuator(cluster, store)

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
        turns = self._decide(self._observe(readings, now), now)
        turns = await self._actuator.carry_out(turns)
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

    def _observe(self, readings: Mapping[Key, Reading], now: Seconds) -> list[_Seen]:
        """What is known of each service. Resources are read again: one may be paused while Prometheus answers."""
        observations = []
        for service in self._services():
            reading, deployment = readings.get(service.key), self._deployment(service)
            if reading is None or deployment is None:
                continue
            hpa = self._store.get(HPA, Key(service.key.namespace, names.hpa(service.key.name)))
            observation = _alone(service.key, observe, service, deployment, hpa, reading)
            standing = _alone(service.key, self._look, service, deployment, now)
            if observation is not None and standing is not None:
                manual = standing[1].manual
                observation = dataclasses.replace(
                    observation,
                    current=commanded(service, hpa, observation.current),
                    override=None if manual is None else manual.override(),
                    guard=self._needs.held(service, observation.guard, now),
                )
                observations.append((service, observation, standing))
        return observations

    def _look(self, service: GenerationService, deployment: Manifest, now: Seconds) -> tuple[Standing, Standing]:
        """Who had a say in the count at the last tick, and who has now."""
        resource = self._store.get(GENERATION_SERVICE, service.key) or {}
        return self._standings.look(service, resource.get("status") or {}, deployment, now)

    def _decide(self, observations: Sequence[_Seen], now: Seconds) -> list[Turn]:
        turns = []
        for service, observation, (before_standing, standing) in observations:
            before = self._state(service)
            outcome = _alone(service.key, step, Policy.of(service.spec), before, observation, now)
            if outcome is not None:
                after, decision = outcome
                turn = Turn(service, observation, before, after, decision)
                turns.append(dataclasses.replace(turn, had_standing=before_standing, standing=standing))
        return turns

    def _publish(self, turns: Sequence[Turn]) -> None:
        """Remember what was decided; have a status written only where it has something new to tell."""
        for turn in turns:
            key = turn.service.key
            self._states[key] = turn.service.uid, turn.after
            told = self._store.autoscaling(key)
            new = _autoscaling(turn)
            self._store.put_autoscaling(key, new)
            if told is None or _telling(told) != _telling(new):
                self._enqueue(key)
        for key in self._states.keys() - self._store.keys(GENERATION_SERVICE):
            del self._states[key]
        for remembered in (self._standings, self._needs):
            remembered.forget_all_but(self._store.keys(GENERATION_SERVICE))

    async def _announce(self, turns: Sequence[Turn]) -> None:
        """Record an Event for each step and each change of who has a say; what cannot be recorded soon is left out."""
        try:
            async with asyncio.timeout(_EVENT_SECONDS):
                await asyncio.gather(
                    *(self._announce_one(turn.service.key, event) for turn in turns for event in _events(turn))
                )
        except TimeoutError:
            _log.warning("Events of this tick were not recorded within %.0f s", _EVENT_SECONDS)

    async def _announce_one(self, key: Key, event: Manifest) -> None:
        try:
            await self._cluster.emit_event(event)
        except ClusterError as error:
            _log.warning("%s: an Event was not recorded: %s", key, error)

    def _state(self, service: GenerationService) -> State:
        """What was remembered of this very resource; after a start, what its status tells."""
        uid, state = self._states.get(service.key, ("", State()))
        if uid == service.uid:
            return state
        resource = self._store.get(GENERATION_SERVICE, service.key) or {}
        return state_from_status(resource.get("status") or {})

    def _deployment(self, service: GenerationService) -> Manifest | None:
        """The Deployment if it is this resource's: one that only has its name is nobody's to scale."""
        deployment = self._store.get(DEPLOYMENT, Key(service.key.namespace, names.deployment(service.key.name)))
        if deployment is None or _is_going(deployment) or names.controller_uid(deployment) != service.uid:
            return None
        return deployment


def _alone(key: Key, do: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
    """Run a step for one service; an error is logged and is nobody else's."""
    try:
        return do(*args, **kwargs)
    except Exception:  # noqa: BLE001 - one service's failure is not the others'
        _log.exception("%s: left out of this tick", key)
        return None


def _events(turn: Turn) -> list[Manifest]:
    """What happened to one service in this tick."""
    steps = [scaled(turn.service, turn.decision)] if turn.written else []
    return [*steps, *changed_standing(turn.service, turn.had_standing, turn.standing, turn.decision.at)]


def _autoscaling(turn: Turn) -> Autoscaling:
    spec = turn.service.spec
    return Autoscaling(
        turn.observation,
        turn.decision,
        turn.after,
        turn.write_error,
        standing=turn.standing,
        verdicts=verdicts(spec, turn.observation),
        floor=floor_in_force(spec.scaling, turn.after, turn.decision.at),
    )


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
        autoscaling.standing,
        autoscaling.floor,
        tuple((verdict.met, (verdict.budget_remaining_percent or 0) // 10) for verdict in autoscaling.verdicts),
    )


def _is_going(manifest: Manifest) -> bool:
    return "deletionTimestamp" in manifest["metadata"]

"""One clocked loop over all resources: observe, decide, actuate, publish.

All services are observed with a few batched queries and decided on together, but none depends on another: what goes
wrong with one is its own affair.
"""

import asyncio
import dataclasses
import logging
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from generation_operator.api.kinds import DEPLOYMENT, GENERATION_SERVICE, HPA, Manifest
from generation_operator.api.resource import GenerationService, Key
from generation_operator.cluster.ports import ClusterApi, ClusterError
from generation_operator.decide.floors import floor_in_force
from generation_operator.decide.history import recalled
from generation_operator.decide.step import step
from generation_operator.decide.types import Seconds, SignalName, State
from generation_operator.decide.vertical import may_resize
from generation_operator.desired import names
from generation_operator.loops.actuation import Actuator, Removal, Turn
from generation_operator.loops.events import changed_standing, scaled
from generation_operator.loops.floor import commanded
from generation_operator.loops.needs import Needs
from generation_operator.loops.services import Known, Services
from generation_operator.loops.standing import Standings
from generation_operator.loops.witness import Nobody, Phase, Witness
from generation_operator.observe.observer import observe
from generation_operator.observe.signals import Ask, MetricsSource, Reading
from generation_operator.observe.store import Autoscaling, Store
from generation_operator.observe.targets import verdicts
from generation_operator.reconcile.status import need_from_status, state_from_status

_log = logging.getLogger(__name__)

KEEP_MANUAL_SECONDS: Final = 1800.0  # long enough to find out why somebody had to, short enough to be forgotten
_EVENT_SECONDS: Final = 5.0
# +-10 %: operators that started together should not ask the same Prometheus at the same moment for ever.
_JITTER: Final = 0.1
# Services that are decided on before others get their turn, probes and watch events above all: about 10 ms.
_AT_ONCE: Final = 32
# Of what is new in one tick, so many are decided on and written before the others, which take ten times as long.
_FIRST: Final = 64


class Autoscaler:
    """Decides for all resources, once per tick.

    Args:
        cluster: where replica counts are written.
        store: where resources and their children are read, and decisions are put.
        metrics: where signals are read.
        removal: lets the right pods go when replicas are lowered.
        enqueue: called with the key of a resource whose status has something new to tell.
        clock: Unix time in seconds.
        prometheus_default_url: for resources that name no Prometheus; None: those have no metrics.
        tick_seconds: time from one tick to the next: how long what is new waits at most.
        keep_manual_seconds: how long a count that somebody wrote by hand is kept.
        witness: told of ticks and decisions.
    """

    def __init__(
        self,
        cluster: ClusterApi,
        store: Store,
        metrics: MetricsSource,
        enqueue: Callable[[Key], None],
        *,
        removal: Removal,
        clock: Callable[[], float],
        prometheus_default_url: str | None,
        tick_seconds: float,
        keep_manual_seconds: float = KEEP_MANUAL_SECONDS,
        witness: Witness | None = None,
    ) -> None:
        self._cluster = cluster
        self._store = store
        self._metrics = metrics
        self._enqueue = enqueue
        self._clock = clock
        self._prometheus_default_url = prometheus_default_url
        self._tick_seconds = tick_seconds
        self._witness = witness or Nobody()
        self.services: Final = Services(store)
        self._asked: dict[Key, tuple[Known, Ask]] = {}
        self._states: dict[Key, tuple[str, State]] = {}  # with the uid: another resource of that name starts anew
        self._past: dict[Key, tuple[str, Mapping[int, float]]] = {}  # to be remembered at the next tick
        self._standings = Standings(store, keep_seconds=keep_manual_seconds)
        self._needs = Needs()
        self._actuator = Actuator(cluster, store, removal)

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

    def remind(self, service: GenerationService, rates: Mapping[int, float]) -> None:
        """Remember at the next tick what arrived before the start: workflows per second by slot."""
        self._past[service.key] = service.uid, rates

    async def tick(self, now: Seconds) -> None:
        """Look once at every resource that there is something new of, the most urgent first.

        Args:
            now: Unix seconds.
        """
        spent = dict.fromkeys(Phase, 0.0)
        with _timed(Phase.OBSERVE, spent):
            readings = await self._metrics.read(self._asks())
        keys, done = list(readings), list[Turn]()
        for part in (keys[:_FIRST], keys[_FIRST:]):
            with _timed(Phase.DECIDE, spent):
                turns = await self._decide({key: readings[key] for key in part}, now)
            with _timed(Phase.ACTUATE, spent):
                turns = await self._actuator.carry_out(turns)
            with _timed(Phase.PUBLISH, spent):
                self._witness.decided(turns, self._publish(turns))
            done += turns
        with _timed(Phase.PUBLISH, spent):
            self._forget()
            await self._announce(done)
        for phase, seconds in spent.items():
            self._witness.ticked(phase, seconds)

    def _asks(self) -> list[Ask]:
        """What to read of each resource. Made once for each version of it: a tick would spend a tenth on it."""
        before, self._asked = self._asked, {}
        for known in self.services.all():
            seen = before.get(known.service.key)
            if seen is None or seen[0] is not known:
                seen = known, self._ask(known.service)
            self._asked[known.service.key] = seen
        return [ask for _, ask in self._asked.values()]

    def _ask(self, service: GenerationService) -> Ask:
        metrics = service.spec.metrics
        url = metrics.prometheus_url or self._prometheus_default_url
        own = {SignalName(entry.signal): entry.query for entry in metrics.queries}
        return Ask(service.key, url, metrics.window_seconds, metrics.max_age_seconds, service.spec.port, own)

    async def _decide(self, readings: Mapping[Key, Reading], now: Seconds) -> list[Turn]:
        turns = []
        for number, key in enumerate(readings, 1):
            try:
                turn = self._turn(key, readings[key], now)
            except Exception:  # noqa: BLE001 - one service's failure is not the others'
                _log.exception("%s: left out of this tick", key)
                continue
            if turn is not None:
                turns.append(turn)
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)
        return turns

    def _turn(self, key: Key, reading: Reading, now: Seconds) -> Turn | None:
        """Observe one service and decide. It is looked up again: it may have been paused while Prometheus answered."""
        known = self.services.get(key)
        if known is None:
            return None
        deployment = self._deployment(known.service)
        if deployment is None:
            return None
        service = known.service
        hpa = self._store.glance(HPA, Key(key.namespace, names.hpa(key.name)))
        told = partial(self._status, key)
        had_standing, standing = self._standings.look(service, told, deployment, now)
        observation = observe(service, deployment, hpa, reading)
        observation = dataclasses.replace(
            observation,
            current=commanded(service, hpa, observation.current),
            override=None if standing.manual is None else standing.manual.override(),
            guard=self._needs.held(service, observation.guard, now, told=lambda: need_from_status(told())),
        )
        before = self._reminded(service, self._state(service), now)
        after, decision = step(known.policy, before, observation, now)
        return Turn(service, observation, before, after, decision, had_standing=had_standing, standing=standing)

    def _publish(self, turns: Sequence[Turn]) -> list[Turn]:
        """Remember what was decided; have a status written only where it has something new to tell, and say where."""
        news = []
        for turn in turns:
            key = turn.service.key
            self._states[key] = turn.service.uid, turn.after
            told = self._store.autoscaling(key)
            new = _autoscaling(turn)
            self._store.put_autoscaling(key, new)
            if told is None or _telling(told) != _telling(new):
                self._enqueue(key)
                news.append(turn)
        return news

    def _forget(self) -> None:
        """Let go of resources that are gone."""
        there = self._store.keys(GENERATION_SERVICE)
        for key in self._states.keys() - there:
            del self._states[key]
        for remembered in (self._standings, self._needs):
            remembered.forget_all_but(there)

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
        return state_from_status(self._status(service.key))

    def _status(self, key: Key) -> Mapping[str, Any]:
        """What the resource tells. To be read after a start only: it is packed."""
        resource = self._store.get(GENERATION_SERVICE, key) or {}
        return resource.get("status") or {}

    def _reminded(self, service: GenerationService, state: State, now: Seconds) -> State:
        uid, rates = self._past.pop(service.key, ("", {}))
        if uid != service.uid:
            return state
        return dataclasses.replace(state, memory=recalled(state.memory, rates, now))

    def _deployment(self, service: GenerationService) -> Manifest | None:
        """The Deployment if it is this resource's: one that only has its name is nobody's to scale."""
        deployment = self._store.glance(DEPLOYMENT, Key(service.key.namespace, names.deployment(service.key.name)))
        if deployment is None or _is_going(deployment) or names.controller_uid(deployment) != service.uid:
            return None
        return deployment


@contextmanager
def _timed(phase: Phase, spent: dict[Phase, float]) -> Iterator[None]:
    started = asyncio.get_running_loop().time()
    yield
    spent[phase] += asyncio.get_running_loop().time() - started


def _events(turn: Turn) -> list[Manifest]:
    """What happened to one service in this tick."""
    steps = [scaled(turn.service, turn.decision)] if turn.written else []
    return [*steps, *changed_standing(turn.service, turn.had_standing, turn.standing, turn.decision.at)]


def _autoscaling(turn: Turn) -> Autoscaling:
    spec = turn.service.spec
    return Autoscaling(
        # The decision has them, as far as they are to be trusted.
        dataclasses.replace(turn.observation, signals={}),
        # What each stage said takes as much room as all the rest, and is told by the decision log alone.
        dataclasses.replace(turn.decision, lines=()),
        turn.after,
        turn.write_error,
        standing=turn.standing,
        verdicts=verdicts(spec, turn.observation),
        floor=floor_in_force(spec.scaling, turn.after, turn.decision.at),
        may_resize=may_resize(turn.after, turn.decision, turn.decision.at),
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
        autoscaling.may_resize,
        tuple((verdict.met, (verdict.budget_remaining_percent or 0) // 10) for verdict in autoscaling.verdicts),
    )


def _is_going(manifest: Manifest) -> bool:
    return "deletionTimestamp" in manifest["metadata"]

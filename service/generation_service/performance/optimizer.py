"""Acts on what the collector saw, rarely and within bounds, and writes down what it did and whether it helped.

It must never act on stale data or twice on one sample. Every run of an action leaves an entry with the figures before
and, once things have settled, after it; an action that did not help says so. Everything it does concerns this replica
alone (its L1, its pools), so its cooldowns are this replica's too; warming is coordinated by the cache's own lock.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from generation_service.performance.actions import Action
from generation_service.performance.collector import Collector
from generation_service.performance.rules import CONSECUTIVE, RULES, ActionName, Rule, State, judge
from generation_service.performance.snapshot import Snapshot
from generation_service.ports import Clock

ENTRIES_KEPT: Final = 200
SETTLE_SECONDS: Final = 60.0  # the windows of the figures are a minute long; earlier they still show the time before
RETRY_SECONDS: Final = 60.0  # after a failure; it does not start the cooldown, but is not repeated every sample either
WORTH: Final = 0.05  # a figure that moved by less than this share did not move


class Outcome(StrEnum):
    """What became of an action."""

    PENDING = "pending"  # done, its effect is not measured yet
    HELPED = "helped"  # the figure of its rule moved to the good side
    NO_EFFECT = "no effect"
    WORSE = "worse"
    UNMEASURED = "unmeasured"  # no figure to compare, for instance because nobody asked for anything
    FAILED = "failed"  # it raised; nothing is claimed


Figures = Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class Entry:
    """One run of an action."""

    id: int  # rises by one from 1
    at: float  # seconds since the epoch
    rule: str  # figure and threshold in words
    action: ActionName
    reason: str  # what the samples said
    detail: str  # what was done, or the error
    before: Figures
    after: Figures | None  # once settled
    reverted_at: float | None  # seconds since the epoch; when all of it was undone
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class RuleStatus:
    """A rule as it stands."""

    rule: Rule
    state: State
    cooldown_seconds_left: float
    refusal: str | None  # why the action was not done although the rule is broken


@dataclass(slots=True)
class _Ledger:
    """What is remembered about a rule; times on the monotonic clock."""

    state: State = State.UNCLEAR
    not_before: float = 0.0
    refusal: str | None = None
    last_entry: int | None = None  # the newest one that is not reverted


class Optimizer:
    """Looks at every new sample while `run` runs.

    Args:
        collector: whose samples it judges.
        actions: what can be done; a rule without its action is only watched.
        clock: for cooldowns.
        wall: seconds since the epoch, only shown to people.
        acted: is told of each run: the action's name, and True unless it failed.
        rules: to act by.
    """

    def __init__(
        self,
        collector: Collector,
        actions: Sequence[Action],
        clock: Clock,
        wall: Callable[[], float],
        *,
        acted: Callable[[str, bool], None] = lambda _name, _done: None,
        rules: Sequence[Rule] = RULES,
    ) -> None:
        self.last_error: str | None = None
        self._collector = collector
        self._actions = {action.name: action for action in actions}
        self._clock = clock
        self._wall = wall
        self._acted = acted
        self._rules = rules
        self._ledgers = {rule.action: _Ledger(not_before=clock.now()) for rule in rules}
        self._entries: deque[Entry] = deque(maxlen=ENTRIES_KEPT)
        self._settling: list[tuple[float, int, Rule]] = []  # (measure from, entry, rule)
        self._next_id = 1
        self._seen: float | None = None  # `at` of the sample judged last

    @property
    def entries(self) -> Sequence[Entry]:
        """What was done, oldest first; a copy."""
        return tuple(self._entries)

    @property
    def rules(self) -> Sequence[RuleStatus]:
        """All rules as they stand."""
        now = self._clock.now()
        return tuple(
            RuleStatus(rule, ledger.state, max(0.0, ledger.not_before - now), ledger.refusal)
            for rule in self._rules
            for ledger in (self._ledgers[rule.action],)
        )

    async def run(self) -> None:
        """Judge until cancelled."""
        while True:
            await self._clock.sleep(self._collector.interval_seconds)
            await self.tick()

    async def tick(self) -> None:
        """Judge the newest sample, once, if it is fresh."""
        latest = self._collector.latest
        if latest is None or not self._collector.fresh or latest.at == self._seen:
            return
        self._seen = latest.at
        recent = self._collector.snapshots[-CONSECUTIVE:]
        self._measure(latest)
        errors = []
        for rule in self._rules:
            try:
                await self._consider(rule, recent)
            except Exception as error:  # noqa: BLE001 - must neither end the loop, nor stop other rules, nor stay unseen
                errors.append(f"{rule.action}: {type(error).__name__}: {error}")
        self.last_error = "; ".join(errors) or None

    async def _consider(self, rule: Rule, recent: Sequence[Snapshot]) -> None:
        action = self._actions.get(rule.action)
        ledger = self._ledgers[rule.action]
        ledger.state = judge(rule, recent)
        ledger.refusal = None
        if action is None:
            return
        if ledger.state is State.FINE:
            self._relax(action, ledger)
        elif ledger.state is State.BROKEN and self._clock.now() >= ledger.not_before:
            ledger.refusal = action.refusal(recent)
            if ledger.refusal is None:
                await self._act(rule, action, ledger, recent)

    async def _act(self, rule: Rule, action: Action, ledger: _Ledger, recent: Sequence[Snapshot]) -> None:
        outcome = Outcome.PENDING
        try:
            detail = await action.apply()
            ledger.not_before = self._clock.now() + rule.cooldown_seconds
        except Exception as error:  # noqa: BLE001 - whatever an action raises is written down
            detail = f"{type(error).__name__}: {error}"
            outcome = Outcome.FAILED
            ledger.not_before = self._clock.now() + RETRY_SECONDS
        entry = Entry(
            id=self._next_id,
            at=self._wall(),
            rule=f"{rule.figure} {'<' if rule.below else '>'} {rule.threshold_for(recent[-1]):g}",
            action=rule.action,
            reason=f"the last {len(recent)} samples were {', '.join(_shown(rule.read(sample)) for sample in recent)}",
            detail=detail,
            before=figures(recent[-1]),
            after=None,
            reverted_at=None,
            outcome=outcome,
        )
        self._next_id += 1
        self._entries.append(entry)
        if outcome is Outcome.PENDING:
            ledger.last_entry = entry.id
            self._settling.append((self._clock.now() + SETTLE_SECONDS, entry.id, rule))
        self._acted(rule.action.value, outcome is not Outcome.FAILED)

    def _relax(self, action: Action, ledger: _Ledger) -> None:
        if action.relax() and ledger.last_entry is not None:
            self._change(ledger.last_entry, lambda entry: replace(entry, reverted_at=self._wall()))
            ledger.last_entry = None

    def _measure(self, latest: Snapshot) -> None:
        """Write the figures after it into the entries that had time to settle."""
        after = figures(latest)
        for due, number, rule in self._settling:
            if latest.at >= due:
                self._change(
                    number,
                    lambda entry, rule=rule: replace(  # type: ignore[misc]
                        entry, after=after, outcome=effect(rule, entry.before, after)
                    ),
                )
        self._settling = [waiting for waiting in self._settling if latest.at < waiting[0]]

    def _change(self, number: int, change: Callable[[Entry], Entry]) -> None:
        for index, entry in enumerate(self._entries):
            if entry.id == number:
                self._entries[index] = change(entry)
                return


def figures(snapshot: Snapshot) -> dict[str, float | None]:
    """What an entry shows of a sample."""
    return {
        "memory_mb": snapshot.memory_mb,
        "cpu_percent": snapshot.cpu_percent,
        "response_time_p95": snapshot.response_time_p95,
        "cache_hit_ratio": snapshot.cache_hit_ratio,
        "queue_length": snapshot.queue_length,
    }


def effect(rule: Rule, before: Figures, after: Figures) -> Outcome:
    """Which way the figure of the rule moved."""
    earlier, later = before.get(rule.figure), after.get(rule.figure)
    if earlier is None or later is None:
        return Outcome.UNMEASURED
    gain = later - earlier if rule.below else earlier - later
    if abs(gain) < WORTH * abs(earlier) or gain == 0:
        return Outcome.NO_EFFECT
    return Outcome.HELPED if gain > 0 else Outcome.WORSE


def _shown(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4g}"

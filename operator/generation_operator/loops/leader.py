"""Elect one operator out of several, with a Lease, as the controllers of Kubernetes do.

The rules are those of client-go's `leaderelection`: a Lease that was renewed within its duration is respected, and
"within" is judged by when this process saw it change, on its own clock, because clocks of machines differ. Who holds
the Lease renews it every 2 s, and has to stop writing when it could not for 10 s: 5 s before anybody else may take it.
Every change of the Lease names the version that it is based on, so of two that try at once one fails.

It can be asked at any time, `remaining()`, how long this process may still write; a process that was stopped and goes
on finds that it may not. That is what `cluster.fenced` asks before each write.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from generation_operator.api.kinds import LEASE, Manifest
from generation_operator.api.names import MANAGER_BOOTSTRAP, MANAGER_LEADER
from generation_operator.api.resource import Key
from generation_operator.cluster.ports import ClusterApi, ClusterError, ConflictError, NotFoundError

_log = logging.getLogger(__name__)

# Standbys that started together should not try at the same moment for ever.
_JITTER: Final = 1.2


@dataclass(frozen=True, slots=True)
class Timing:
    """In seconds; the defaults are those of Kubernetes' own controllers."""

    duration: float = 15.0  # after which others may take a Lease that was not renewed
    deadline: float = 10.0  # after which its holder stops
    retry: float = 2.0  # between two tries


class LeadershipLostError(Exception):
    """The Lease could not be renewed in time, or somebody else has it."""


class Election:
    """One candidate.

    Args:
        cluster: where the Lease is; must not be fenced by this very election.
        lease: namespace and name of the Lease.
        identity: of this process, unique among all that ever run.
        clock: monotonic, in seconds.
        now: Unix seconds; for people who read the Lease, nothing depends on it.
        beat: called with each try, with whether this process leads, so that a standby can be seen to be alive.
        timing: durations.
    """

    def __init__(
        self,
        cluster: ClusterApi,
        lease: Key,
        identity: str,
        *,
        clock: Callable[[], float],
        now: Callable[[], float],
        beat: Callable[[bool], None] = lambda _: None,
        timing: Timing = Timing(),
    ) -> None:
        self._cluster = cluster
        self._lease = lease
        self._identity = identity
        self._clock = clock
        self._now = now
        self._beat = beat
        self._timing = timing
        self._seen_version = ""
        self._seen_at = 0.0
        self._held_until = -1.0  # before any monotonic time
        self._told = ""

    def remaining(self) -> float:
        """Seconds for which this process may write; none are left when it is 0 or less."""
        return self._held_until - self._clock()

    async def acquire(self) -> None:
        """Wait until this process leads."""
        while True:
            if await self._try():
                break
            await asyncio.sleep(self._timing.retry * random.uniform(1, _JITTER))  # noqa: S311 - not for secrets
        _log.info("%s leads", self._identity)

    async def hold(self) -> None:
        """Renew until that fails.

        Raises:
            LeadershipLostError: this process must not write any more.
        """
        while True:
            await asyncio.sleep(self._timing.retry)
            if not await self._try() and self.remaining() <= 0:
                raise LeadershipLostError(
                    f"the Lease {self._lease} could not be renewed for {self._timing.deadline:.0f} s"
                )

    async def release(self) -> None:
        """Let somebody else lead at once, if this process still does."""
        left, self._held_until = self.remaining(), -1.0
        if left <= 0:
            return
        try:
            async with asyncio.timeout(min(left, self._timing.retry)):
                live = await self._cluster.get(LEASE, *self._lease)
                if _holder(live) == self._identity:
                    spec = {field: value for field, value in live["spec"].items() if field in _KEPT_WHEN_RELEASED}
                    await self._write(live, spec)
        except (ClusterError, TimeoutError) as error:
            _log.info("the Lease was not released, others wait until it runs out: %s", error or "no answer in time")

    async def _try(self) -> bool:
        """One try to get or renew the Lease; whether this process holds it now."""
        self._beat(self.remaining() > 0)
        started = self._clock()
        try:
            # Half the deadline: there is to be time for a second try.
            async with asyncio.timeout(self._timing.deadline / 2):
                if not await self._take(await self._read()):
                    return False
        except ConflictError:
            return False  # somebody else was quicker; the next try sees who
        except (ClusterError, TimeoutError) as error:
            _log.warning("the Lease %s: %s", self._lease, error or "no answer in time")
            return False
        # From before the request: the others count from when it arrived, which is later.
        self._held_until = started + self._timing.deadline
        return True

    async def _read(self) -> Manifest:
        try:
            live = await self._cluster.get(LEASE, *self._lease)
        except NotFoundError:
            # Without a holder, and the same from everybody: it does not matter who is first.
            empty = _manifest(self._lease, {"leaseDurationSeconds": int(self._timing.duration)})
            live = await self._cluster.apply(empty, manager=MANAGER_BOOTSTRAP, force=False)
        version = live["metadata"]["resourceVersion"]
        if version != self._seen_version:
            self._seen_version, self._seen_at = version, self._clock()
        return live

    async def _take(self, live: Manifest) -> bool:
        spec, holder = live.get("spec") or {}, _holder(live)
        is_mine = holder == self._identity
        if not is_mine:
            self._held_until = -1.0
        duration = spec.get("leaseDurationSeconds") or self._timing.duration
        if holder and not is_mine and self._clock() < self._seen_at + duration:
            if holder != self._told:
                _log.info("%s leads; standing by", holder)
                self._told = holder
            return False
        moment = datetime.fromtimestamp(self._now(), UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        written = await self._write(
            live,
            {
                "holderIdentity": self._identity,
                "leaseDurationSeconds": int(self._timing.duration),
                "acquireTime": spec.get("acquireTime", moment) if is_mine else moment,
                "renewTime": moment,
                "leaseTransitions": spec.get("leaseTransitions", 0) + (0 if is_mine else 1),
            },
        )
        self._seen_version, self._seen_at = written["metadata"]["resourceVersion"], self._clock()
        return True

    async def _write(self, live: Manifest, spec: dict[str, Any]) -> Manifest:
        manifest = _manifest(self._lease, spec)
        manifest["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"]
        return await self._cluster.apply(manifest, manager=MANAGER_LEADER)


_KEPT_WHEN_RELEASED: Final = ("leaseDurationSeconds", "leaseTransitions", "renewTime")


def _holder(lease: Manifest) -> str:
    return str((lease.get("spec") or {}).get("holderIdentity") or "")


def _manifest(lease: Key, spec: dict[str, Any]) -> Manifest:
    metadata = {"name": lease.name, "namespace": lease.namespace}
    return {"apiVersion": LEASE.api_version, "kind": LEASE.kind, "metadata": metadata, "spec": spec}

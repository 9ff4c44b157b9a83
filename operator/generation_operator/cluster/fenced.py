"""A `ClusterApi` that writes only while this process may.

Two operators that both believe to lead would undo each other's work. So each write is allowed for as long as the
leadership lasts and not a moment longer, whatever the caller believes. Reads are always allowed: a standby keeps what
it knows up to date.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from generation_operator.api.kinds import Kind, Manifest
from generation_operator.cluster.ports import ClusterApi, ClusterError, Scale, as_it_is

T = TypeVar("T")


class NotLeadingError(ClusterError):
    """Nothing was written, or it is not known whether it was: another operator may lead."""

    def __init__(self) -> None:
        super().__init__(0, "not written: this operator does not lead, or not any more")


class Fenced:
    """A `ClusterApi` around another one.

    Args:
        cluster: where is read and written.
        remaining: for how many seconds this process may write.
    """

    def __init__(self, cluster: ClusterApi, remaining: Callable[[], float]) -> None:
        self._cluster = cluster
        self._remaining = remaining

    async def get(self, kind: Kind, namespace: str, name: str) -> Manifest:
        """Read one object."""
        return await self._cluster.get(kind, namespace, name)

    async def list(
        self,
        kind: Kind,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        transform: Callable[[Manifest], Manifest] = as_it_is,
    ) -> list[Manifest]:
        """Read all objects of a kind."""
        return await self._cluster.list(kind, namespace, label_selector=label_selector, transform=transform)

    async def serves(self, group: str) -> bool:
        """Whether there is an API group of that name."""
        return await self._cluster.serves(group)

    async def apply(self, manifest: Manifest, *, manager: str, force: bool = True) -> Manifest:
        """Server-side apply."""
        return await self._write(lambda: self._cluster.apply(manifest, manager=manager, force=force))

    async def apply_status(self, manifest: Manifest, *, manager: str) -> Manifest:
        """Server-side apply of `status`."""
        return await self._write(lambda: self._cluster.apply_status(manifest, manager=manager))

    async def get_scale(self, kind: Kind, namespace: str, name: str) -> Scale:
        """Read the scale subresource."""
        return await self._cluster.get_scale(kind, namespace, name)

    async def scale(self, kind: Kind, namespace: str, name: str, to: int, *, expect: Scale, manager: str) -> Scale:
        """Write `spec.replicas`, if the object is still the one in `expect`."""
        return await self._write(lambda: self._cluster.scale(kind, namespace, name, to, expect=expect, manager=manager))

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str) -> None:
        """Delete exactly the object with this uid."""
        await self._write(lambda: self._cluster.delete(kind, namespace, name, uid=uid))

    async def emit_event(self, event: Manifest) -> None:
        """Create an Event."""
        await self._write(lambda: self._cluster.emit_event(event))

    async def _write(self, write: Callable[[], Awaitable[T]]) -> T:
        left = self._remaining()
        if left <= 0:
            raise NotLeadingError
        try:
            async with asyncio.timeout(left) as limit:
                return await write()
        except TimeoutError:
            if limit.expired():
                raise NotLeadingError from None
            raise

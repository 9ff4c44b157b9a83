"""What the operator needs from a Kubernetes API: a few verbs on plain manifests.

Every adapter passes the suite in `tests/contract`. Kinds are those of `api.kinds`; a manifest names its own kind.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from generation_operator.api.kinds import Kind, Manifest


@dataclass(frozen=True, slots=True)
class Scale:
    """The scale subresource of a workload."""

    replicas: int  # spec.replicas
    resource_version: str


class ClusterError(Exception):
    """The API server refused or did not answer; `status` is the HTTP status, 0 when there was no answer."""

    def __init__(self, status: int, message: str, retry_after: float | None = None) -> None:
        super().__init__(f"{status}: {message}" if status else message)
        self.status = status
        self.message = message
        self.retry_after = retry_after


class NotFoundError(ClusterError):
    """The object, or its whole kind, does not exist (404)."""


class ConflictError(ClusterError):
    """Somebody else owns a field, or changed the object since it was read (409)."""


def as_it_is(manifest: Manifest) -> Manifest:
    """The object that was listed, unchanged."""
    return manifest


class ClusterApi(Protocol):
    """The port. All calls may raise `ClusterError`."""

    async def get(self, kind: Kind, namespace: str, name: str) -> Manifest:
        """Read one object. Raises `NotFoundError`."""

    async def list(
        self,
        kind: Kind,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        transform: Callable[[Manifest], Manifest] = as_it_is,
    ) -> list[Manifest]:
        """Read all objects of a kind, each with `apiVersion` and `kind`. Raises `NotFoundError` for an absent kind.

        `transform` makes of each object what the caller needs of it, before more are read: thousands of whole objects
        at once take hundreds of megabytes.
        """

    async def serves(self, group: str) -> bool:
        """Whether there is an API group of that name, whoever serves it."""

    async def apply(self, manifest: Manifest, *, manager: str, force: bool = True) -> Manifest:
        """Server-side apply; creates the object when absent. Raises `ConflictError` without force.

        With `metadata.uid`: of exactly that object, else `ClusterError` (409 when there is none of that name, 422 when
        there is another one); nothing is created or changed then. With `metadata.resourceVersion`: of exactly that
        version, else `ConflictError`.
        """

    async def apply_status(self, manifest: Manifest, *, manager: str) -> Manifest:
        """Server-side apply of `status` on the status subresource. Raises `NotFoundError` when the object is gone."""

    async def get_scale(self, kind: Kind, namespace: str, name: str) -> Scale:
        """Read the scale subresource."""

    async def scale(self, kind: Kind, namespace: str, name: str, to: int, *, expect: Scale, manager: str) -> Scale:
        """Write `spec.replicas` through the scale subresource, if the object is still as in `expect`.

        Raises `ConflictError` when it changed meanwhile.
        """

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str) -> None:
        """Delete exactly the object with this uid; nothing happens when it is gone already."""

    async def emit_event(self, event: Manifest) -> None:
        """Create a Kubernetes Event. Best effort: the caller does not depend on it."""

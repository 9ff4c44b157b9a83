"""The real cluster: `ClusterApi` on `kubernetes.aio`, with plain manifests and explicit paths.

One client for the process, a time limit on every request, and retries that cannot do harm: every write is idempotent
(server-side apply, delete by uid) or guarded by a resourceVersion, and a 409 is never retried, because only the caller
can say whether its intent still holds. It never reads a kubeconfig that nobody named.
"""

import asyncio
import json
import logging
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import aiohttp
import yaml
from aiolimiter import AsyncLimiter
from kubernetes.aio import config as kubeconfig_files
from kubernetes.aio.client import ApiClient, Configuration

from generation_operator.api.kinds import Kind, Manifest, kind_of
from generation_operator.api.names import OPERATOR
from generation_operator.api.resource import key_of
from generation_operator.cluster.ports import ClusterError, ConflictError, NotFoundError, Scale, as_it_is
from generation_operator.cluster.wire import yaml_text

_log = logging.getLogger(__name__)

TRY_SECONDS: Final = 10.0  # for one try; the API server answers within 1 s or is in trouble
BACKOFF_SECONDS: Final = 0.2  # before the second try, doubled for each further one: 1.4 s in all
REQUESTS_PER_SECOND: Final = 200.0
_TRIES: Final = 4
_LONGEST_WAIT: Final = 10.0  # seconds; a server that asks for more gets its rest from the caller's back-off
_PAGE: Final = 100  # objects per list request; with 500, RSS is 15 MiB larger after a start beside 1,000 services

# The parameter keeps the client from making JSON of the body, which is not always YAML: see `wire`.
_APPLY: Final = "application/apply-patch+yaml; charset=utf-8"
_MERGE: Final = "application/merge-patch+json"
_JSON: Final = "application/json"


# Method, resource, HTTP status (0: no answer), seconds.
Told = Callable[[str, str, int, float], None]


@dataclass(frozen=True, slots=True)
class Credentials:
    """How this process reaches the API server, for another client that should log in the same way."""

    server: str
    ca_path: str | None
    certificate_path: str | None
    private_key_path: str | None
    token: str | None
    insecure: bool


@asynccontextmanager
async def connect(
    kubeconfig: Path | None = None,
    *,
    try_seconds: float = TRY_SECONDS,
    backoff_seconds: float = BACKOFF_SECONDS,
    requests_per_second: float = REQUESTS_PER_SECOND,
    told: Told = lambda *_: None,
) -> AsyncIterator["KubeCluster"]:
    """Connect with a kubeconfig, or, without one, as the pod's service account.

    Args:
        kubeconfig: its current context is used.
        try_seconds: how long one try of a request may take.
        backoff_seconds: wait before a failed request is tried a second time; doubled for each further try.
        requests_per_second: what is more waits; the API server has other clients too.
        told: of each try of a request.

    Raises:
        ClusterError: there is no usable configuration.
    """
    async with ApiClient(await _configuration(kubeconfig)) as client:
        client.user_agent = OPERATOR
        limit = AsyncLimiter(max(1.0, requests_per_second), 1.0)
        yield KubeCluster(client, limit, told, try_seconds=try_seconds, backoff_seconds=backoff_seconds)


async def _configuration(kubeconfig: Path | None) -> Configuration:
    # Variables like HTTPS_PROXY are meant for other traffic; a kubeconfig can name a proxy of its own.
    configuration = Configuration(client_session_kwargs={"trust_env": False})
    try:
        if kubeconfig is None:
            kubeconfig_files.load_incluster_config(configuration)  # reads the token file again every minute
        else:
            # Opened here first: the loader takes a file that is not there for an empty one.
            kubeconfig.open().close()
            await kubeconfig_files.load_kube_config(
                str(kubeconfig), client_configuration=configuration, persist_config=False
            )
    except (kubeconfig_files.ConfigException, OSError, ValueError, TypeError, yaml.YAMLError) as error:
        if kubeconfig is None:
            raise ClusterError(0, f"no service account: {error} Run in a pod, or name a kubeconfig") from error
        problem = " ".join(str(error).split())  # YAML errors have many lines
        raise ClusterError(0, f"kubeconfig {kubeconfig} cannot be used: {problem}") from error
    return configuration


class KubeCluster:
    """A `ClusterApi` on a real API server; made by `connect`."""

    def __init__(
        self, client: ApiClient, limit: AsyncLimiter, told: Told, *, try_seconds: float, backoff_seconds: float
    ) -> None:
        self._client = client
        self._limit = limit
        self._told = told
        self._try_seconds = try_seconds
        self._backoff_seconds = backoff_seconds

    async def credentials(self) -> Credentials:
        """The credentials in use now; a token is the newest one that was read."""
        configuration = self._client.configuration
        header = await configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        return Credentials(
            server=configuration.host,
            ca_path=configuration.ssl_ca_cert,
            certificate_path=configuration.cert_file,
            private_key_path=configuration.key_file,
            token=header.split(maxsplit=1)[-1] if header else None,
            insecure=not configuration.verify_ssl,
        )

    async def get(self, kind: Kind, namespace: str, name: str) -> Manifest:
        """Read one object."""
        return await self._call("GET", _path(kind, namespace, name))

    async def list(
        self,
        kind: Kind,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        transform: Callable[[Manifest], Manifest] = as_it_is,
    ) -> list[Manifest]:
        """Read all objects of a kind, page by page."""
        query = {"labelSelector": label_selector} if label_selector else {}
        head = {"apiVersion": kind.api_version, "kind": kind.kind}
        try:
            pages = self._pages(kind, namespace, query | {"limit": str(_PAGE)})
            return [transform(head | item) async for item in pages]
        except ClusterError as error:
            if error.status != 410:
                raise
            # The snapshot of the first page was compacted away before the last page was read: read all at once.
            return [transform(head | item) async for item in self._pages(kind, namespace, query)]

    async def serves(self, group: str) -> bool:
        """Whether there is an API group of that name; everybody who is logged in may ask."""
        try:
            await self._call("GET", f"/apis/{group}")
        except NotFoundError:
            return False
        return True

    async def apply(self, manifest: Manifest, *, manager: str, force: bool = True) -> Manifest:
        """Server-side apply."""
        key = key_of(manifest)
        return await self._apply(_path(kind_of(manifest), *key), manifest, manager, force=force)

    async def apply_status(self, manifest: Manifest, *, manager: str) -> Manifest:
        """Server-side apply of `status`."""
        key = key_of(manifest)
        manifest = {part: manifest[part] for part in ("apiVersion", "kind", "metadata", "status")}
        return await self._apply(_path(kind_of(manifest), *key, "status"), manifest, manager, force=True)

    async def get_scale(self, kind: Kind, namespace: str, name: str) -> Scale:
        """Read the scale subresource."""
        return _scale(await self._call("GET", _path(kind, namespace, name, "scale")))

    async def scale(self, kind: Kind, namespace: str, name: str, to: int, *, expect: Scale, manager: str) -> Scale:
        """Write `spec.replicas`, if the object is still the one in `expect`."""
        body = {"metadata": {"resourceVersion": expect.resource_version}, "spec": {"replicas": to}}
        path = _path(kind, namespace, name, "scale")
        return _scale(await self._call("PATCH", path, {"fieldManager": manager}, body, _MERGE))

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str) -> None:
        """Delete exactly the object with this uid; what it owns goes too, in the background."""
        body = {"preconditions": {"uid": uid}, "propagationPolicy": "Background"}
        try:
            await self._call("DELETE", _path(kind, namespace, name), body=body)
        except (NotFoundError, ConflictError) as error:
            _log.debug("%s %s/%s with uid %s is gone already: %s", kind.kind, namespace, name, uid, error)

    async def emit_event(self, event: Manifest) -> None:
        """Create an Event; one that cannot be created is logged and forgotten."""
        path = _path(Kind(event["apiVersion"], event["kind"], "events"), event["metadata"]["namespace"])
        try:
            # One try: a create whose answer was lost would appear twice.
            await self._try("POST", path, {"fieldManager": OPERATOR}, event, _JSON)
        except ClusterError as error:
            _log.warning("an Event was not recorded: %s", error)

    async def _apply(self, path: str, manifest: Manifest, manager: str, *, force: bool) -> Manifest:
        query = {"fieldManager": manager, "force": "true" if force else "false"}
        return await self._call("PATCH", path, query, yaml_text(manifest), _APPLY)

    async def _pages(self, kind: Kind, namespace: str | None, query: dict[str, str]) -> AsyncIterator[Manifest]:
        path = _path(kind, namespace)
        while True:
            page = await self._call("GET", path, query)
            for item in page.get("items") or ():
                yield item
            token = (page.get("metadata") or {}).get("continue")
            if not token:
                return
            query = query | {"continue": token}

    async def _call(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None = None,
        body: Manifest | str | None = None,
        content_type: str = _JSON,
    ) -> Manifest:
        """One request, tried again when the server is overloaded, broken or out of reach."""
        for attempt in range(1, _TRIES + 1):
            try:
                return await self._try(method, path, query, body, content_type)
            except ClusterError as error:
                wait = self._wait_before_retry(error, attempt)
                if wait is None:
                    raise
                _log.info("%s; trying again in %.1f s", error, wait)
                await asyncio.sleep(wait)
        raise AssertionError("the last try returns or raises")

    def _wait_before_retry(self, error: ClusterError, attempt: int) -> float | None:
        """Seconds to wait before the next try, None when there should not be one."""
        if attempt == _TRIES or not (error.status in (0, 429) or error.status >= 500):
            return None
        if error.retry_after is not None:
            return error.retry_after if error.retry_after <= _LONGEST_WAIT else None
        # Between half and all of it, so that many callers do not come back together.
        return float(self._backoff_seconds * 2 ** (attempt - 1) * random.uniform(0.5, 1))  # noqa: S311 - not a secret

    async def _try(
        self, method: str, path: str, query: dict[str, str] | None, body: Manifest | str | None, content_type: str
    ) -> Manifest:
        """One try; authentication is added here, so that a new token counts at once."""
        await self._limit.acquire()
        started, code = time.monotonic(), 0
        try:
            answer = await self._send(method, path, query, body, content_type)
            code = 200
        except ClusterError as error:
            code = error.status
            raise
        finally:
            self._told(method, _resource(path), code, time.monotonic() - started)
        return answer

    async def _send(
        self, method: str, path: str, query: dict[str, str] | None, body: Manifest | str | None, content_type: str
    ) -> Manifest:
        headers = {"Accept": _JSON, "Content-Type": content_type}
        request = await self._client.param_serialize(
            method, path, query_params=query or {}, header_params=headers, body=body, auth_settings=["BearerToken"]
        )
        try:
            response = await self._client.call_api(*request, _request_timeout=self._try_seconds)
            text = (await response.read()).decode("utf-8", "replace")
        except TimeoutError:
            raise ClusterError(0, f"{method} {path}: no answer within {self._try_seconds:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise ClusterError(0, f"{method} {path}: {error}") from error
        if not 200 <= response.status < 300:
            raise _error(f"{method} {path}", response.status, text, response.headers.get("Retry-After"))
        try:
            content: Manifest = json.loads(text)
        except ValueError:
            raise ClusterError(0, f"{method} {path}: the answer is not JSON: {text[:100]!r}") from None
        return content


def _error(request: str, status: int, text: str, retry_after: str | None) -> ClusterError:
    """The error that says what the server said: the message of its Status object, if it sent one."""
    try:
        content: Any = json.loads(text)
    except ValueError:
        content = None
    message = content.get("message") if isinstance(content, dict) else None
    kind = {404: NotFoundError, 409: ConflictError}.get(status, ClusterError)
    seconds = float(retry_after) if retry_after and retry_after.isdecimal() else None
    return kind(status, str(message or f"{request}: {text.strip()[:200] or 'no explanation'}"), seconds)


def _path(kind: Kind, namespace: str | None = None, name: str = "", subresource: str = "") -> str:
    parts = [kind.path, *(("namespaces", quote(namespace, safe="")) if namespace else ()), kind.plural]
    return "/".join(parts + [quote(part, safe="") for part in (name, subresource) if part])


def _resource(path: str) -> str:
    """`deployments` or `deployments/scale` of a path; `groups` where it is asked what is served."""
    parts = path.split("/")
    core = parts[1] == "api"
    rest = parts[3:] if core else parts[4:]
    if not rest:
        return "groups"
    if rest[0] == "namespaces":
        rest = rest[2:]
    return "/".join([rest[0], *rest[2:]])


def _scale(content: Manifest) -> Scale:
    # The API server leaves a count of zero out.
    return Scale((content.get("spec") or {}).get("replicas", 0), content["metadata"]["resourceVersion"])

"""What the real adapter sends, what it tries again and what it makes of errors: a scripted server on loopback tells."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from generation_operator.api.kinds import CONFIG_MAP, DEPLOYMENT, HPA
from generation_operator.cluster.kube import Credentials, KubeCluster, connect
from generation_operator.cluster.ports import ClusterError, ConflictError, NotFoundError, Scale

MANIFEST = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "n"}, "data": {"k": "v"}}


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, str]
    content_type: str
    authorization: str
    body: Any


@dataclass(frozen=True)
class Answer:
    status: int
    text: str
    headers: dict[str, str]


@dataclass
class Server:
    """Answers each request with the next of `answers`, and for ever with the last one."""

    answers: tuple[Answer, ...]
    requests: list[Request] = field(default_factory=list)
    silent: bool = False
    url: str = ""

    async def handle(self, request: web.Request) -> web.Response:
        if self.silent:
            await asyncio.sleep(5)
        text = await request.text()
        self.requests.append(
            Request(
                request.method,
                request.path,
                dict(request.query),
                request.headers.get("Content-Type", ""),
                request.headers.get("Authorization", ""),
                json.loads(text) if text else None,
            )
        )
        answer = self.answers[min(len(self.requests), len(self.answers)) - 1]
        return web.Response(text=answer.text, status=answer.status, headers=answer.headers)

    def answer(self, *answers: Answer) -> None:
        self.answers = answers


def ok(**content: Any) -> Answer:
    return Answer(200, json.dumps(content), {"Content-Type": "application/json"})


def refusal(status: int, message: str = "no", retry_after: str | None = None) -> Answer:
    text = json.dumps({"kind": "Status", "message": message})
    return Answer(status, text, {"Retry-After": retry_after} if retry_after else {})


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    scripted = Server((ok(),))
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", scripted.handle)
    async with TestServer(application) as running:
        scripted.url = str(running.make_url("")).rstrip("/")
        yield scripted


@pytest.fixture
def kubeconfig(tmp_path: Path, server: Server) -> Path:
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server.url}}],
        "users": [{"name": "u", "user": {"token": "secret"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path = tmp_path / ".kube" / "config"
    path.parent.mkdir()
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def dead(kubeconfig: Path, server: Server, tmp_path: Path) -> Path:
    """A kubeconfig of a server where nobody listens: port 9."""
    path = tmp_path / "dead"
    path.write_text(kubeconfig.read_text().replace(server.url, "http://127.0.0.1:9"))
    return path


@pytest.fixture
async def cluster(kubeconfig: Path) -> AsyncIterator[KubeCluster]:
    async with connect(kubeconfig, try_seconds=0.3, backoff_seconds=0.001) as connected:
        yield connected


async def test_get_is_one_authorized_request(cluster: KubeCluster, server: Server) -> None:
    server.answer(ok(kind="Deployment"))
    assert await cluster.get(DEPLOYMENT, "n", "a") == {"kind": "Deployment"}
    (request,) = server.requests
    assert (request.method, request.path) == ("GET", "/apis/apps/v1/namespaces/n/deployments/a")
    assert request.authorization == "Bearer secret"


async def test_apply_is_a_server_side_apply_with_manager_and_force(cluster: KubeCluster, server: Server) -> None:
    await cluster.apply(MANIFEST, manager="m")
    await cluster.apply(MANIFEST, manager="m", force=False)
    forced, polite = server.requests
    assert (forced.method, forced.path) == ("PATCH", "/api/v1/namespaces/n/configmaps/a")
    assert forced.content_type == "application/apply-patch+yaml; charset=utf-8"
    assert forced.body == MANIFEST
    assert forced.query == {"fieldManager": "m", "force": "true"}
    assert polite.query == {"fieldManager": "m", "force": "false"}


async def test_apply_status_sends_the_status_only(cluster: KubeCluster, server: Server) -> None:
    manifest = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a", "namespace": "n"}}
    await cluster.apply_status(manifest | {"spec": {"replicas": 1}, "status": {"replicas": 2}}, manager="m")
    (request,) = server.requests
    assert request.path == "/apis/apps/v1/namespaces/n/deployments/a/status"
    assert request.body == manifest | {"status": {"replicas": 2}}


async def test_scale_is_a_merge_patch_that_expects_a_version(cluster: KubeCluster, server: Server) -> None:
    server.answer(ok(metadata={"resourceVersion": "8"}, spec={"replicas": 3}))
    scale = await cluster.scale(DEPLOYMENT, "n", "a", 3, expect=Scale(2, "7"), manager="m")
    assert scale == Scale(3, "8")
    (request,) = server.requests
    assert (request.method, request.path) == ("PATCH", "/apis/apps/v1/namespaces/n/deployments/a/scale")
    assert request.content_type == "application/merge-patch+json"
    assert request.query == {"fieldManager": "m"}
    assert request.body == {"metadata": {"resourceVersion": "7"}, "spec": {"replicas": 3}}


async def test_replicas_left_out_are_zero(cluster: KubeCluster, server: Server) -> None:
    server.answer(ok(metadata={"resourceVersion": "8"}, spec={}))
    assert await cluster.get_scale(DEPLOYMENT, "n", "a") == Scale(0, "8")


async def test_delete_names_the_uid(cluster: KubeCluster, server: Server) -> None:
    await cluster.delete(HPA, "n", "a", uid="u-1")
    (request,) = server.requests
    assert request.method == "DELETE"
    assert request.body == {"preconditions": {"uid": "u-1"}, "propagationPolicy": "Background"}


@pytest.mark.parametrize("status", [404, 409])
async def test_delete_of_what_is_gone_or_another_is_done(cluster: KubeCluster, server: Server, status: int) -> None:
    server.answer(refusal(status))
    await cluster.delete(HPA, "n", "a", uid="u-1")
    assert len(server.requests) == 1


async def test_list_reads_all_pages_and_names_kinds(cluster: KubeCluster, server: Server) -> None:
    server.answer(
        ok(metadata={"continue": "next"}, items=[{"metadata": {"name": "a"}}]), ok(items=[{"metadata": {"name": "b"}}])
    )
    found = await cluster.list(CONFIG_MAP, label_selector="x=y")
    assert found == [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b"}},
    ]
    first, second = server.requests
    assert first.path == "/api/v1/configmaps"
    assert first.query == {"labelSelector": "x=y", "limit": "100"}
    assert second.query == first.query | {"continue": "next"}


async def test_list_whose_pages_expired_is_read_at_once(cluster: KubeCluster, server: Server) -> None:
    server.answer(
        ok(metadata={"continue": "old"}, items=[{"metadata": {"name": "a"}}]),
        refusal(410, "the provided continue parameter is too old"),
        ok(items=[{"metadata": {"name": "a"}}, {"metadata": {"name": "b"}}]),
    )
    assert [item["metadata"]["name"] for item in await cluster.list(CONFIG_MAP, "n")] == ["a", "b"]
    assert server.requests[2].query == {}


@pytest.mark.parametrize(
    ("status", "error"), [(404, NotFoundError), (409, ConflictError), (403, ClusterError), (422, ClusterError)]
)
async def test_refusal_is_one_try_with_the_servers_words(
    cluster: KubeCluster, server: Server, status: int, error: type[ClusterError]
) -> None:
    server.answer(refusal(status, "because of spec.x"))
    with pytest.raises(error, match=f"{status}: because of spec.x") as caught:
        await cluster.apply(MANIFEST, manager="m")
    assert type(caught.value) is error
    assert len(server.requests) == 1


async def test_refusal_without_a_status_names_the_request(cluster: KubeCluster, server: Server) -> None:
    server.answer(Answer(404, "404 page not found\n", {}))
    with pytest.raises(NotFoundError, match=r"GET /api/v1/configmaps: 404 page not found$"):
        await cluster.list(CONFIG_MAP)


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_overloaded_or_broken_server_is_tried_again(cluster: KubeCluster, server: Server, status: int) -> None:
    server.answer(refusal(status), refusal(status), ok(kind="ConfigMap"))
    assert await cluster.apply(MANIFEST, manager="m") == {"kind": "ConfigMap"}
    assert len(server.requests) == 3


async def test_four_tries_are_the_limit(cluster: KubeCluster, server: Server) -> None:
    server.answer(refusal(503, "overloaded"))
    with pytest.raises(ClusterError, match="503: overloaded"):
        await cluster.get(CONFIG_MAP, "n", "a")
    assert len(server.requests) == 4


async def test_wait_that_the_server_asks_for_is_kept(cluster: KubeCluster, server: Server) -> None:
    server.answer(refusal(429, retry_after="1"), ok())
    loop = asyncio.get_running_loop()
    started = loop.time()
    await cluster.get(CONFIG_MAP, "n", "a")
    assert loop.time() - started >= 1.0


async def test_wait_that_is_too_long_is_left_to_the_caller(cluster: KubeCluster, server: Server) -> None:
    server.answer(refusal(429, retry_after="60"))
    with pytest.raises(ClusterError) as caught:
        await cluster.get(CONFIG_MAP, "n", "a")
    assert caught.value.retry_after == 60.0
    assert len(server.requests) == 1


async def test_silent_server_is_given_up(kubeconfig: Path, server: Server) -> None:
    server.silent = True
    async with connect(kubeconfig, try_seconds=0.02, backoff_seconds=0.001) as cluster:
        with pytest.raises(
            ClusterError, match=r"GET /api/v1/namespaces/n/configmaps/a: no answer within 0.02 s"
        ) as caught:
            await cluster.get(CONFIG_MAP, "n", "a")
    assert caught.value.status == 0


async def test_dead_server_is_an_error_without_a_status(dead: Path) -> None:
    async with connect(dead, backoff_seconds=0.001) as cluster:
        with pytest.raises(ClusterError, match=r"GET /api/v1/configmaps: Cannot connect") as caught:
            await cluster.list(CONFIG_MAP)
    assert caught.value.status == 0


async def test_answer_that_is_not_json_is_an_error(cluster: KubeCluster, server: Server) -> None:
    server.answer(Answer(200, "<html>captive portal</html>", {}))
    with pytest.raises(ClusterError, match="not JSON"):
        await cluster.get(CONFIG_MAP, "n", "a")


async def test_event_is_tried_once_and_never_disturbs(cluster: KubeCluster, server: Server) -> None:
    server.answer(refusal(503))
    await cluster.emit_event({"apiVersion": "v1", "kind": "Event", "metadata": {"namespace": "n", "name": "e"}})
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/api/v1/namespaces/n/events")


async def test_credentials_are_those_in_use(cluster: KubeCluster, server: Server) -> None:
    assert await cluster.credentials() == Credentials(server.url, None, None, None, "secret", insecure=False)


@pytest.mark.parametrize("content", [None, "", "- a", "a: [b", "{}"])
async def test_unusable_kubeconfig_is_named(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "config"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ClusterError, match=f"kubeconfig {path} cannot be used"):
        async with connect(path):
            pass


async def test_kubeconfig_that_nobody_named_is_never_used(
    monkeypatch: pytest.MonkeyPatch, kubeconfig: Path, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ClusterError, match="no service account"):
        async with connect():
            pass

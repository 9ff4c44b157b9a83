"""The rendered nginx.conf: well formed, and closed to whatever a user writes.

That nginx itself accepts it is proven in the cluster tier, where nginx runs.
"""

import re
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import make_service
from generation_operator.desired.nginx import ProxyConfig, render
from generation_operator.desired.proxy import proxy, proxy_config

Block = list[tuple[list[str], "Block | None"]]
TOKEN = re.compile(r'\s*(?:#[^\n]*|("(?:\\.|[^"\\])*")|([{};])|([^\s{};"#]+))')


def parse(text: str) -> Block:
    """A small reader of nginx's grammar: words end with `;` or open a block. Raises on anything unbalanced."""
    stack: list[Block] = [[]]
    words: list[str] = []
    position = 0
    while position < len(text.rstrip()):
        match = TOKEN.match(text, position)
        assert match is not None, f"unreadable at {text[position : position + 40]!r}"
        position = match.end()
        quoted, mark, word = match.groups()
        if mark == ";":
            assert words, "a directive without a name"
            stack[-1].append((words, None))
            words = []
        elif mark == "{":
            assert words, "a block without a name"
            block: Block = []
            stack[-1].append((words, block))
            stack.append(block)
            words = []
        elif mark == "}":
            assert not words, f"missing ; after {words}"
            stack.pop()
            assert stack, "one } too many"
        elif quoted or word:
            words.append(quoted or word)
    assert len(stack) == 1, "missing }"
    assert not words, f"missing ; after {words}"
    return stack[0]


def find(block: Block, *path: str) -> Block:
    for name in path:
        (block,) = [inner for words, inner in block if " ".join(words) == name and inner is not None]
    return block


def directives(block: Block) -> dict[str, list[list[str]]]:
    result: dict[str, list[list[str]]] = {}
    for words, _ in block:
        result.setdefault(words[0], []).append(words[1:])
    return result


def shape(block: Block) -> list[Any]:
    """Directive names only: what a configuration can do, without its values."""
    return [(words[0], None if inner is None else shape(inner)) for words, inner in block]


CONFIG = ProxyConfig("a-headless.default.svc.cluster.local", 8000, 60)


@pytest.mark.parametrize("broken", ["http {", "http { } }", "listen 80", "http { listen 80 }", "; ", "{ }"])
def test_the_reader_refuses_what_is_not_well_formed(broken: str) -> None:
    with pytest.raises((AssertionError, IndexError)):
        parse(broken)


def test_the_configuration_is_well_formed() -> None:
    assert [name for name, _ in shape(parse(render(CONFIG)))] == [
        "worker_processes",
        "worker_shutdown_timeout",
        "pid",
        "error_log",
        "events",
        "http",
    ]


def test_nothing_is_cached_and_no_cache_header_is_added() -> None:
    every = re.findall(r"^\s*([a-z_0-9]+)", render(CONFIG), flags=re.MULTILINE)
    forbidden = {"add_header", "proxy_cache", "proxy_cache_path", "expires", "proxy_store"}
    assert not forbidden & set(every)


def test_posts_that_were_sent_are_never_sent_again() -> None:
    location = directives(find(parse(render(CONFIG)), "http", "server", "location /"))
    assert location["proxy_next_upstream"] == [["error", "timeout"]]
    assert location["proxy_next_upstream_tries"] == [["3"]]


def test_pods_are_looked_up_for_each_request() -> None:
    server = find(parse(render(CONFIG)), "http", "server")
    assert directives(server)["set"] == [["$pods", "a-headless.default.svc.cluster.local"]]
    assert directives(find(server, "location /"))["proxy_pass"] == [["http://$pods:8000"]]


def test_health_is_answered_without_a_pod() -> None:
    location = directives(find(parse(render(CONFIG)), "http", "server", "location = /-/healthz"))
    assert location["return"] == [["200", '"ok\\n"']]
    assert "proxy_pass" not in location


def test_every_path_that_nginx_writes_is_under_tmp() -> None:
    main = parse(render(CONFIG))
    http = directives(find(main, "http"))
    paths = [directives(main)["pid"][0][0]]
    paths += [http[f"{kind}_temp_path"][0][0] for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")]
    assert all(path.startswith("/tmp/") for path in paths)
    assert http["access_log"] == [["off"]]
    assert directives(main)["error_log"] == [["stderr", "warn"]]


@pytest.mark.parametrize(("target", "timeout"), [(1, 60), (30, 60), (31, 62), (3600, 7200)])
def test_the_proxy_waits_twice_the_target_and_at_least_a_minute(target: int, timeout: int) -> None:
    service = make_service().targets(workflowDurationSeconds=target).obj()
    assert proxy_config(service, "cluster.local").read_timeout_seconds == timeout


def test_a_stopping_proxy_pod_outlives_its_longest_request() -> None:
    service = make_service().targets(workflowDurationSeconds=500).obj()
    pod = proxy(service, cluster_domain="cluster.local")[1]["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > proxy_config(service, "cluster.local").read_timeout_seconds + 5


@given(st.text(min_size=1).filter(lambda text: set(text) - set(string.ascii_lowercase + string.digits + ".-")))
def test_a_host_that_is_no_dns_name_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match="is not a DNS name"):
        ProxyConfig(f"a{host}.svc", 8000, 60)


HOSTILE = st.text(alphabet=st.sampled_from('abz {};"$\\\n#/'), min_size=6, max_size=40)
IMAGE = st.text(alphabet=st.sampled_from('abz{};"$\\#/'), min_size=6, max_size=40)


@given(IMAGE, IMAGE, HOSTILE, st.integers(1, 65535), st.integers(1, 86400))
def test_no_text_of_a_spec_reaches_the_configuration(
    image: str, proxy_image: str, env: str, port: int, duration: int
) -> None:
    service = make_service().image(image).proxy(image=proxy_image).env("X", env).spec(port=port)
    parsed = service.targets(workflowDurationSeconds=duration).obj()
    text = proxy(parsed, cluster_domain="cluster.local")[0]["data"]["nginx.conf"]
    # Stronger than "not contained": the text is a function of the name and two integers alone.
    timeout = max(60, 2 * duration)
    assert text == render(ProxyConfig("a-headless.default.svc.cluster.local", port, timeout))
    assert shape(parse(text)) == shape(parse(render(CONFIG)))

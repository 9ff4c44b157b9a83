"""nginx.conf for the proxy, rendered from typed fields only.

No text that a user writes reaches the configuration: names are checked to be DNS names, everything else is an integer.
So no resource can smuggle a directive in. The file works unchanged on nginx 1.22 and newer.
"""

import re
from dataclasses import dataclass
from typing import Final

from generation_operator.desired.names import PROXY_PORT

HEALTH_PATH: Final = "/-/healthz"
RESOLVER_FILE: Final = "/tmp/resolver.conf"  # noqa: S108 - an emptyDir of the proxy's pod, written at its start

_DNS_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


@dataclass(frozen=True, slots=True)
class ProxyConfig:
    """Everything that varies between two proxies."""

    upstream_host: str  # DNS name whose addresses are the ready pods
    upstream_port: int
    read_timeout_seconds: int  # longest silence of a pod before the request fails

    def __post_init__(self) -> None:
        if not _DNS_NAME.fullmatch(self.upstream_host):
            raise ValueError(f"upstream host {self.upstream_host!r} is not a DNS name: check the cluster domain")


def render(config: ProxyConfig) -> str:
    """The whole nginx.conf."""
    return f"""\
worker_processes 2;
# A worker that shuts down finishes its requests; the longest may take as long as the read timeout.
worker_shutdown_timeout {config.read_timeout_seconds}s;
pid /tmp/nginx.pid;
error_log stderr warn;

events {{
    worker_connections 4096;
}}

http {{
    access_log off;
    server_tokens off;
    default_type application/octet-stream;

    # The root file system is read-only.
    client_body_temp_path /tmp/client_body;
    proxy_temp_path /tmp/proxy;
    fastcgi_temp_path /tmp/fastcgi;
    uwsgi_temp_path /tmp/uwsgi;
    scgi_temp_path /tmp/scgi;

    keepalive_timeout 65s;
    client_max_body_size 10m;

    # Written at start from the pod's /etc/resolv.conf: `resolver ADDRESS valid=1s ipv6=off;`
    include {RESOLVER_FILE};
    resolver_timeout 2s;

    map $http_x_request_id $chosen_request_id {{
        "" $request_id;
        default $http_x_request_id;
    }}
    map $http_x_forwarded_proto $chosen_forwarded_proto {{
        "" $scheme;
        default $http_x_forwarded_proto;
    }}

    server {{
        listen {PROXY_PORT};

        # A variable makes nginx look the name up for each request (cached for `valid`), so pods come and go
        # without a reload. Written as a constant it would be looked up once, at start.
        set $pods {config.upstream_host};

        location = {HEALTH_PATH} {{
            default_type text/plain;
            return 200 "ok\\n";
        }}

        location / {{
            proxy_pass http://$pods:{config.upstream_port};
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Host $http_host;
            proxy_set_header X-Forwarded-Proto $chosen_forwarded_proto;
            proxy_set_header X-Request-Id $chosen_request_id;

            # Tokens are passed on as they come.
            proxy_buffering off;
            proxy_connect_timeout 2s;
            proxy_send_timeout 60s;
            proxy_read_timeout {config.read_timeout_seconds}s;

            # Another pod is tried when this one cannot be reached. A POST that was sent is never sent twice.
            proxy_next_upstream error timeout;
            proxy_next_upstream_tries 3;
            proxy_next_upstream_timeout 10s;
        }}
    }}
}}
"""

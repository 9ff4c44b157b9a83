"""Plain HTTP to an API server, as the administrator whom its kubeconfig names."""

import base64
import json
import ssl
import tempfile
from pathlib import Path
from typing import Any

Config = dict[str, Any]


def read_config(kubeconfig: Path) -> Config:
    """The kubeconfig of a local cluster, which is JSON."""
    config: Config = json.loads(kubeconfig.read_text())
    return config


def server_url(config: Config) -> str:
    """Where the API server is."""
    return str(config["clusters"][0]["cluster"]["server"])


def client_tls(config: Config) -> ssl.SSLContext:
    """How to trust the API server, and the administrator's certificate."""
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    context = ssl.create_default_context(cadata=_pem(cluster, "certificate-authority"))
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / "certificate", Path(folder) / "key"]
        for file, field in zip(files, ("client-certificate", "client-key"), strict=True):
            file.touch(mode=0o600)
            file.write_text(_pem(user, field))
        context.load_cert_chain(files[0], files[1])
    return context


def _pem(entry: dict[str, str], field: str) -> str:
    """A file's text, from the kubeconfig itself or from where it points to."""
    if f"{field}-data" in entry:
        return base64.b64decode(entry[f"{field}-data"]).decode()
    return Path(entry[field]).read_text()

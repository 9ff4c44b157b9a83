"""A real Prometheus of a test's own, which the test may kill: the cluster's is never started again.

The same program as the cluster's, on loopback, with the same way to name whom to scrape.
"""

import json
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Final

from api_fixtures import eventually
from localcluster.build import Binaries
from localcluster.plan import Plan, free_ports

SCRAPE_SECONDS: Final = 2


class PrometheusProcess:
    """One server; its port and what it has stored outlive the process.

    Args:
        plan: of the cluster that was built with the program.
        folder: where it keeps everything.
    """

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.targets: Final = folder / "targets"
        self.targets.mkdir()
        self._program = str(Binaries(plan.binaries).path("prometheus"))
        self._folder = folder
        [self._port] = free_ports(1)
        self._process: subprocess.Popen[bytes] | None = None
        found = [{"files": [f"{self.targets}/*.json"], "refresh_interval": "1s"}]
        interval = f"{SCRAPE_SECONDS}s"
        configuration = {
            "global": {"scrape_interval": interval, "scrape_timeout": interval},
            "scrape_configs": [{"job_name": "processes", "file_sd_configs": found}],
        }
        (folder / "prometheus.yaml").write_text(json.dumps(configuration))  # JSON is YAML

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start it, and return before it answers."""
        with (self._folder / "prometheus.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self._program,
                    f"--config.file={self._folder}/prometheus.yaml",
                    f"--storage.tsdb.path={self._folder}/data",
                    f"--web.listen-address=127.0.0.1:{self._port}",
                    "--log.level=warn",
                ],
                stdout=log,
                stderr=log,
            )

    def await_ready(self) -> None:
        """Wait until it answers."""
        eventually(self._is_ready, bool, seconds=30, what="Prometheus is ready")

    def kill(self) -> None:
        """End it as a lost node would: it writes nothing more."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def ask(self, query: str) -> list[Any]:
        """The result of an instant query. Raises `OSError` while it does not answer."""
        text = urllib.parse.urlencode({"query": query})
        with urllib.request.urlopen(f"{self.url}/api/v1/query?{text}", timeout=10) as response:
            return list(json.load(response)["data"]["result"])

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=1) as response:
                return bool(response.status == 200)
        except OSError:
            return False

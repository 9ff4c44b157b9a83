"""Start the components of one cluster in order, reap what ends, and end everything on SIGTERM.

Run as its own process: as PID 1 of the cluster's namespaces (then the kernel ends every process of the cluster with it,
containers included), or as a plain process without root (then the death signal set on each child does). It reports
through `status.json` in the state folder.
"""

import json
import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final

from localcluster.shell import die_with_parent

_POLL_SECONDS: Final = 0.05


class Supervisor:
    """The components of one cluster and how far each one is."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._components: list[dict[str, Any]] = json.loads((state / "components.json").read_text())
        self._pids: dict[str, int] = {}
        self._ready: set[str] = set()
        self._failed: dict[str, str] = {}
        self._stopping = False
        self._tls = ssl.create_default_context(cafile=str(state / "pki" / "ca.crt"))
        self._tls.load_cert_chain(state / "pki" / "admin.crt", state / "pki" / "admin.key")
        # Controller manager, scheduler and metrics-server make their own certificates; only "does it answer" is asked.
        self._any = ssl.create_default_context()
        self._any.check_hostname = False
        self._any.verify_mode = ssl.CERT_NONE

    def run(self) -> None:
        """Until SIGTERM."""
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        reported = None
        while not self._stopping:
            self._reap()
            for component in self._components:
                self._advance(component)
            report = {"ready": sorted(self._ready), "pids": self._pids, "failed": self._failed}
            if report != reported:
                self._report(report)
                reported = report
            time.sleep(_POLL_SECONDS)
        self._end_all()

    def _advance(self, component: dict[str, Any]) -> None:
        name = component["name"]
        if name in self._ready or name in self._failed:
            return
        if name not in self._pids:
            if all(earlier in self._ready for earlier in component["after"]):
                self._start(component)
        elif self._answers(component):
            self._ready.add(name)

    def _start(self, component: dict[str, Any]) -> None:
        log = (self._state / "logs" / f"{component['name']}.log").open("ab")
        try:
            process = subprocess.Popen(
                component["argv"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | component["environment"],
                cwd=self._state,
                preexec_fn=die_with_parent,  # noqa: PLW1509 (no threads here)
            )
        except OSError as error:
            self._failed[component["name"]] = f"cannot start {component['argv'][0]}: {error.strerror}"
            return
        finally:
            log.close()
        self._pids[component["name"]] = process.pid
        process.returncode = 0  # reaped below, with everything else that PID 1 inherits

    def _answers(self, component: dict[str, Any]) -> bool:
        if component["ready_file"]:
            return Path(component["ready_file"]).exists()
        url = component["ready_url"]
        if not url:
            return True
        context = None
        if url.startswith("https:"):
            context = self._tls if component["name"] == "kube-apiserver" else self._any
        try:
            with urllib.request.urlopen(url, timeout=1, context=context) as response:
                return bool(response.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for name, known in self._pids.items():
                if known == pid:
                    self._ready.discard(name)
                    self._failed[name] = f"ended with exit code {os.waitstatus_to_exitcode(status)}"

    def _report(self, report: dict[str, Any]) -> None:
        partial = self._state / "status.json.partial"
        partial.write_text(json.dumps(report))
        partial.rename(self._state / "status.json")

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def _end_all(self) -> None:
        """Everything at once: a test cluster has nothing to save."""
        for name, pid in self._pids.items():
            if name not in self._failed:
                os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline and len(self._failed) < len(self._pids):
            self._reap()
            time.sleep(_POLL_SECONDS)


def main() -> None:
    """Entry of `python supervisor.py STATE [ADDRESS GATEWAY]`; with addresses this is PID 1 of new namespaces."""
    state = Path(sys.argv[1])
    if len(sys.argv) > 2:
        _prepare_namespaces(state, *sys.argv[2:4])
    Supervisor(state).run()


def _prepare_namespaces(state: Path, address: str, gateway: str) -> None:
    """Bring up the network and the mounts that the kubelet expects, all of it private to these namespaces."""
    subprocess.run(["mount", "--make-rshared", "/"], check=True)
    deadline = time.monotonic() + 10
    while not Path("/sys/class/net").exists() or not _has_link("eth0"):
        if time.monotonic() > deadline:
            sys.exit("the link to the host did not appear within 10 s")
        time.sleep(0.01)
    for command in (
        "ip link set lo up",
        f"ip address add {address}/24 dev eth0",
        "ip link set eth0 up",
        f"ip route add default via {gateway}",
    ):
        subprocess.run(command.split(), check=True)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    _pin_kernel_settings(state)


def _has_link(name: str) -> bool:
    return subprocess.run(["ip", "link", "show", name], capture_output=True, check=False).returncode == 0


def _pin_kernel_settings(state: Path) -> None:
    """Show the kubelet the kernel settings it wants, without changing the machine's.

    These settings are not per namespace. The kubelet writes them only when they differ, so it gets to see files that
    hold the wanted values already.
    """
    wanted = {
        "vm/overcommit_memory": "1",
        "vm/panic_on_oom": "0",
        "kernel/panic": "10",
        "kernel/panic_on_oops": "1",
        "kernel/keys/root_maxkeys": "1000000",
        "kernel/keys/root_maxbytes": "25000000",
    }
    for name, value in wanted.items():
        setting = Path("/proc/sys") / name
        if setting.exists():
            stand_in = state / "run" / name.replace("/", ".")
            stand_in.write_text(f"{value}\n")
            subprocess.run(["mount", "--bind", str(stand_in), str(setting)], check=True)


if __name__ == "__main__":
    main()

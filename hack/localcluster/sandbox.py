"""The namespaces of a real node, and the process that everything in them depends on.

A cluster with a real node lives in a mount, PID and network namespace of its own. Ending its first process ends every
other one, containers included, and takes the mounts, firewall rules and bridges along; what is left to remove are the
cgroups and the state folder. Without root there are no namespaces, only a process group to end.
"""

import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

from localcluster.errors import LocalClusterError
from localcluster.plan import Plan, Shape
from localcluster.shell import run, succeeds

_SLOTS: Final = range(1, 200)
_SUPERVISOR: Final = Path(__file__).parent / "supervisor.py"


def available() -> str | None:
    """Why a real node cannot run here, or None when it can."""
    if sys.platform != "linux":
        return "a real node needs Linux"
    if os.geteuid() != 0:
        return "a real node needs root"
    if platform.machine() != "x86_64":
        return f"a real node needs x86_64, this is {platform.machine()}"
    if not succeeds(["unshare", "--mount", "--pid", "--net", "--fork", "true"]):
        return "this machine does not allow new namespaces (unshare failed)"
    if not Path("/sys/fs/cgroup").is_dir():
        return "cgroups are not mounted"
    return None


def free_slot(folder: Path) -> int:
    """The lowest slot that no other cluster, also of another user, has taken: it decides the networks."""
    taken = {plan["slot"] for path in folder.glob("*/plan.json") if (plan := json.loads(path.read_text()))}
    for slot in _SLOTS:
        if slot not in taken and not Path(f"/sys/class/net/localcluster{slot}").exists():
            return slot
    raise LocalClusterError("all 199 networks for local clusters are taken: end some with `down --name`")


def start(plan: Plan) -> None:
    """Start the supervisor, in namespaces of its own for a real node, and record its process."""
    argv = [sys.executable, str(_SUPERVISOR), str(plan.state)]
    if plan.shape is Shape.NODE:
        argv = [
            "unshare", "--mount", "--pid", "--net", "--fork", "--mount-proc", "--propagation", "private",
            *argv, plan.address, plan.host_address,
        ]  # fmt: skip
        _make_cgroups(plan.cgroup)
    with (plan.logs / "supervisor.log").open("ab") as log:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    process.returncode = 0  # it outlives this object on purpose; `end` waits for it
    _record(plan, "outer", process.pid)
    if plan.shape is Shape.NODE:
        inner = _only_child(process.pid)
        _record(plan, "supervisor", inner)
        _connect(plan, inner)
    else:
        _record(plan, "supervisor", process.pid)


def status(plan: Plan) -> dict[str, Any]:
    """What the supervisor last reported: ready components, pids, failures."""
    try:
        report: dict[str, Any] = json.loads((plan.state / "status.json").read_text())
    except FileNotFoundError:
        return {"ready": [], "pids": {}, "failed": {}}
    return report


def is_alive(plan: Plan) -> bool:
    """Whether the recorded supervisor still runs."""
    return _recorded(plan, "supervisor") is not None


def end(plan: Plan) -> None:
    """End every process of the cluster and remove what namespaces do not take along. Safe to repeat."""
    for role in ("supervisor", "outer"):
        pid = _recorded(plan, role)
        if pid is not None:
            _end_process(pid)
    if plan.shape is Shape.KWOK:
        # Their death signal has ended them with the supervisor; this is for one that was started in that instant.
        for pid in status(plan)["pids"].values():
            if str(plan.state) in _command_of(pid):
                _end_process(pid)
    if plan.shape is Shape.NODE:
        if _link_record(plan).exists():
            succeeds(["ip", "link", "delete", plan.link])  # usually gone with the network namespace already
        _remove_cgroups(plan.cgroup)


def _connect(plan: Plan, pid: int) -> None:
    """Lay the one link between the host and the cluster, and the routes to its services and pods."""
    run(["ip", "link", "add", plan.link, "type", "veth", "peer", "name", "eth0", "netns", str(pid)])
    _link_record(plan).touch()  # now it is ours to delete
    run(["ip", "address", "add", f"{plan.host_address}/24", "dev", plan.link])
    run(["ip", "link", "set", plan.link, "up"])
    for network in (plan.service_network, plan.pod_network):
        run(["ip", "route", "add", network, "via", plan.address])


def _link_record(plan: Plan) -> Path:
    return plan.state / "link"


def _only_child(pid: int) -> int:
    deadline = time.monotonic() + 10
    children = Path(f"/proc/{pid}/task/{pid}/children")
    while time.monotonic() < deadline:
        with contextlib.suppress(FileNotFoundError):
            if found := children.read_text().split():
                return int(found[0])
        time.sleep(0.01)
    raise LocalClusterError("the cluster's namespaces could not be created; see logs/supervisor.log")


def _record(plan: Plan, role: str, pid: int) -> None:
    """Remember a process by pid and start time, so that a reused pid is never taken for it."""
    (plan.state / f"{role}.pid").write_text(f"{pid} {_start_time(pid)}")


def _recorded(plan: Plan, role: str) -> int | None:
    try:
        pid, started = (plan.state / f"{role}.pid").read_text().split()
    except (FileNotFoundError, ValueError):
        return None
    return int(pid) if _start_time(int(pid)) == started else None


def _start_time(pid: int) -> str:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return "gone"
    state, *fields = stat.rpartition(")")[2].split()
    return "gone" if state == "Z" else fields[18]


def _command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _end_process(pid: int) -> None:
    """SIGTERM, and SIGKILL after five seconds."""
    started = _start_time(pid)
    for number, seconds in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
            if _start_time(pid) != started:
                return
            time.sleep(0.02)


def _hierarchies() -> list[Path]:
    """The mount points of cgroups: one for version 2, one per controller (and `unified`) for version 1."""
    root = Path("/sys/fs/cgroup")
    if (root / "cgroup.controllers").exists():
        return [root]
    return [path for path in root.iterdir() if path.is_dir() and not path.is_symlink()]


def _make_cgroups(name: str) -> None:
    for root in _hierarchies():
        group = root / name
        group.mkdir(exist_ok=True)
        if root.name == "cpuset":
            for setting in ("cpuset.cpus", "cpuset.mems"):  # empty in a new group, and then it accepts no process
                (group / setting).write_text((root / setting).read_text())
        if (root / "cgroup.controllers").exists() and root == Path("/sys/fs/cgroup"):
            for each in (root, group):
                for controller in (root / "cgroup.controllers").read_text().split():
                    with contextlib.suppress(OSError):
                        (each / "cgroup.subtree_control").write_text(f"+{controller}")


def _remove_cgroups(name: str) -> None:
    deadline = time.monotonic() + 5
    for root in _hierarchies():
        while (root / name).exists() and time.monotonic() < deadline:
            for directory, _, _ in os.walk(root / name, topdown=False):
                with contextlib.suppress(OSError):
                    Path(directory).rmdir()
            if (root / name).exists():
                time.sleep(0.05)  # the kernel is still taking the last processes out

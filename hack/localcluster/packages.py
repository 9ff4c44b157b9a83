"""Debian packages of the real node: say what is missing, install it as root, or name it."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from localcluster.errors import LocalClusterError
from localcluster.shell import run

# What proves the package -> its name. Debian keeps the CNI plugins in /usr/lib/cni.
NODE: Final = {
    "containerd": "containerd",
    "runc": "runc",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "nft": "nftables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "iptables": "iptables",
    "ethtool": "ethtool",
    "socat": "socat",
    "mount": "mount",
    "unshare": "util-linux",
}
IMAGES: Final = {"debootstrap": "debootstrap"}


def missing(wanted: dict[str, str]) -> list[str]:
    """Names of the packages of which the proving file or command is absent."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    return [
        package
        for proof, package in wanted.items()
        if not (Path(proof).exists() if proof.startswith("/") else shutil.which(proof, path=path))
    ]


def ensure(wanted: dict[str, str], say: Callable[[str], None]) -> None:
    """Install missing packages on a Debian system as root, or say which are missing.

    Raises:
        LocalClusterError: something is missing and may not or cannot be installed here.
    """
    absent = missing(wanted)
    if not absent:
        return
    names = " ".join(absent)
    if os.environ.get("LOCALCLUSTER_APT") == "0":
        raise LocalClusterError(f"missing packages: {names}; LOCALCLUSTER_APT=0 forbids installing them here")
    if shutil.which("apt-get") is None:
        raise LocalClusterError(f"missing packages (Debian names): {names}; install them with your package manager")
    if os.geteuid() != 0:
        raise LocalClusterError(f"missing packages: {names}; install them with: sudo apt-get install {names}")
    say(f"installing Debian packages: {names} (LOCALCLUSTER_APT=0 forbids this)")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "update", "-q"], env=env, timeout=300)
    run(["apt-get", "install", "-q", "-y", "--no-install-recommends", *absent], env=env, timeout=900)
    still = missing(wanted)
    if still:
        raise LocalClusterError(f"apt-get ran but these are still missing: {' '.join(still)}")

"""Render `manifests/install.yaml` from the chart, so that both ways to install give the same objects.

`--check` compares instead and exits with 1 when the committed file is out of date. It compares objects, not text:
another Helm may sort or indent otherwise.
"""

import argparse
import sys
from pathlib import Path
from typing import Any, Final

import yaml

from localcluster.errors import LocalClusterError
from localcluster.shell import run
from tools import helm

_PROJECT: Final = Path(__file__).parents[1]
_TARGET: Final = _PROJECT / "manifests" / "install.yaml"
_NAMESPACE: Final = "generation-system"
_HEAD: Final = f"""\
# The chart with its default values, for `kubectl apply`. Generated; do not edit, run: make crds
apiVersion: v1
kind: Namespace
metadata:
  name: {_NAMESPACE}
"""


def render() -> str:
    """The whole file.

    Raises:
        LocalClusterError: there is no Helm, or it refuses the chart.
    """
    chart = str(_PROJECT / "helm" / "generation-operator")
    return _HEAD + run([str(helm.find()), "template", "generation-operator", chart, f"--namespace={_NAMESPACE}"])


def main() -> int:
    """Write or compare."""
    parser = argparse.ArgumentParser(description="Render manifests/install.yaml from the chart.")
    parser.add_argument("--check", action="store_true", help="compare with the committed file and write nothing")
    check = parser.parse_args().check
    try:
        text = render()
    except LocalClusterError as error:
        sys.stderr.write(f"manifests/install.yaml cannot be rendered: {error}\n")
        return 1
    if not check:
        _TARGET.write_text(text)
    elif not _TARGET.exists() or _objects(_TARGET.read_text()) != _objects(text):
        sys.stderr.write(
            "manifests/install.yaml is not what the chart renders: run `make crds` and commit the result\n"
        )
        return 1
    return 0


def _objects(text: str) -> list[Any]:
    return [manifest for manifest in yaml.safe_load_all(text) if manifest]


if __name__ == "__main__":
    sys.exit(main())

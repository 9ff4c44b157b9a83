"""Render `manifests/install.yaml` from the chart, so that both ways to install give the same objects.

`--check` compares instead and exits with 1 when the committed file is out of date.
"""

import sys
from pathlib import Path
from typing import Final

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
    """The whole file."""
    rendered = run(
        [
            *(str(helm.find()), "template", "generation-operator", str(_PROJECT / "helm" / "generation-operator")),
            f"--namespace={_NAMESPACE}",
        ]
    )
    return _HEAD + rendered


def main() -> int:
    """Write or compare."""
    text = render()
    if "--check" not in sys.argv:
        _TARGET.write_text(text)
        return 0
    if not _TARGET.exists() or _TARGET.read_text() != text:
        sys.stderr.write(
            "manifests/install.yaml is not what the chart renders: run `make crds` and commit the result\n"
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

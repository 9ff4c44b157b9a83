"""The chart, rendered with a real Helm. Without one, and without a package index to fetch it from, nothing is faked."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from localcluster.errors import LocalClusterError
from localcluster.shell import run
from tools import helm

CHART = Path(__file__).parents[3] / "helm" / "generation-operator"


@pytest.fixture(scope="session")
def helm_path() -> str:
    try:
        return str(helm.find())
    except LocalClusterError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def render(helm_path: str) -> Callable[..., list[dict[str, Any]]]:
    """Render with options of `helm template`; returns the objects."""

    def rendered(*options: str) -> list[dict[str, Any]]:
        text = run(
            [helm_path, "template", "generation-operator", str(CHART), "--namespace=generation-system", *options]
        )
        return [manifest for manifest in yaml.safe_load_all(text) if manifest]

    return rendered

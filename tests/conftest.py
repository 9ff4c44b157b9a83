"""Tiers, clusters and the closing summary.

A test below tests/apiserver or tests/cluster gets its tier's marker from its folder. Clusters are started once per run,
by localcluster alone: no test ever sees another kube context. What cannot run here says why and counts as skipped; in
CI a skip fails the run.
"""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from rich.console import Console

from localcluster import cluster as local
from localcluster import folders, sandbox
from localcluster.errors import LocalClusterError
from localcluster.plan import FAST_HPA, HpaTiming, Shape

_TIERS = ("apiserver", "cluster")
_IN_CI = os.environ.get("CI") == "true"
if not _IN_CI:  # there hypothesis does so by itself
    # An example may take as long as it takes: a busy machine is no failure.
    hypothesis.settings.register_profile("patient", deadline=None)
    hypothesis.settings.load_profile("patient")
_used: dict[str, local.Cluster] = {}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark by folder and run the quick tiers first."""
    for item in items:
        if _tier(item.path) in _TIERS:
            item.add_marker(_tier(item.path))
    items.sort(key=lambda item: _TIERS.index(_tier(item.path)) + 1 if _tier(item.path) in _TIERS else 0)


def _tier(path: Path) -> str:
    """The folder below tests/ (and not, for example, tests/unit/cluster)."""
    return path.relative_to(Path(__file__).parent).parts[0]


@pytest.fixture(scope="session")
def console() -> Console:
    """Where cluster progress is shown; pytest shows it for a failed test."""
    return Console(stderr=True, highlight=False)


@pytest.fixture(scope="session")
def api_cluster(console: Console) -> Iterator[local.Cluster]:
    """A control plane with fake nodes; its HPA controller syncs every second."""
    yield from _cluster("api", Shape.KWOK, console)


@pytest.fixture(scope="session")
def node_cluster(console: Console) -> Iterator[local.Cluster]:
    """A cluster that runs real pods, with the project's images loaded."""
    if reason := sandbox.available():
        pytest.skip(reason)
    for started in _cluster("node", Shape.NODE, console):
        started.load_images(console.print)
        yield started


@pytest.fixture(scope="module")
def default_hpa_cluster(console: Console) -> Iterator[local.Cluster]:
    """The same as `api_cluster` with the HPA controller's own timing: a sync every 15 s."""
    yield from _cluster("hpa", Shape.KWOK, console, HpaTiming())


def _cluster(kind: str, shape: Shape, console: Console, hpa: HpaTiming = FAST_HPA) -> Iterator[local.Cluster]:
    name = f"test-{kind}-{os.getpid()}"
    try:
        started = local.up(name, shape=shape, hpa=hpa, console=console)
    except LocalClusterError as error:
        pytest.fail(f"no {shape} cluster: {error}", pytrace=False)
    require_own(started)
    _used[kind] = started
    try:
        yield started
    finally:
        if _failures:
            local.keep_logs(started.plan, _kept_logs(kind))
        local.down(name)


def require_own(cluster: local.Cluster) -> None:
    """Refuse any kube context that localcluster did not create for this run."""
    context = cluster.kubectl("config", "current-context").strip()
    if context != cluster.plan.context or not context.startswith("localcluster-test-"):
        pytest.exit(f"refusing to touch the kube context {context!r}: this run did not create it", returncode=3)


_failures: list[str] = []
_skips: dict[str, str] = {}
_passed: Counter[str] = Counter()  # by tier


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember what the closing summary needs."""
    if report.passed and report.when == "call":
        _passed[Path(report.nodeid).parts[1]] += 1
    if report.failed:
        _failures.append(report.nodeid)
    if report.skipped and isinstance(report.longrepr, tuple):
        _skips[report.nodeid] = report.longrepr[2]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what ran in each tier, what was skipped and why, and where the logs of failed clusters are."""
    terminalreporter.write_line(", ".join(f"{tier}: {count} passed" for tier, count in _passed.items()))
    if _skips and _IN_CI:
        terminalreporter.write_line("in CI nothing may be skipped:", red=True)
        for nodeid, reason in _skips.items():
            terminalreporter.write_line(f"  {nodeid}: {reason}", red=True)
    if _failures:
        for kind in _used:
            terminalreporter.write_line(f"logs of the {kind} cluster: {_kept_logs(kind)}", yellow=True)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A skip in CI fails the run."""
    if _IN_CI and _skips and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _kept_logs(kind: str) -> Path:
    return folders.cache() / "failed" / kind

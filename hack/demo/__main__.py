"""`make demo`: a cluster, the operator, load that rises tenfold and falls, replicas that follow, all explained.

Exit code 0 when the replicas rose to at least six and came back without a failed request.
"""

import argparse
import asyncio
import contextlib
import os
import shutil
import signal
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from demo import story
from demo.arrivals import LoadError
from demo.install import is_pod
from demo.load import LoadSettings
from demo.view import View
from localcluster import cluster as local
from localcluster import folders, plan
from localcluster.errors import LocalClusterError
from localcluster.plan import Shape


def main() -> int:
    """Tell the story once."""
    arguments = _parser().parse_args()
    console = Console(highlight=False)
    # Ctrl-C and `kill` both end the story and clean up.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: signal.raise_signal(signal.SIGINT))
    began = time.monotonic()
    name = f"demo-{os.getpid()}"
    try:
        settings = story.settings(arguments.trace)
        console.print("a local Kubernetes, the operator, and a service under load: 4 minutes when everything is built")
        outcome = _run(name, settings, arguments, console)
    except (LocalClusterError, LoadError, OSError) as error:
        console.print(f"demo: {error}", style="red", markup=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("demo: interrupted")
        return 130
    _summarise(outcome, time.monotonic() - began, console)
    problems = outcome.problems(tenfold=arguments.trace is None)
    for problem in problems:
        console.print(f"demo: {problem}", style="red", markup=False, soft_wrap=True)
    return 1 if problems else 0


def _run(name: str, settings: LoadSettings, arguments: argparse.Namespace, console: Console) -> story.Outcome:
    shape = Shape(arguments.shape) if arguments.shape else None
    try:
        cluster = local.up(name, shape=shape, console=console)
        if is_pod(cluster):
            cluster.load_images(console.print)
        return asyncio.run(story.tell(cluster, View(console), console.print, settings, helm=shutil.which("helm")))
    except BaseException:
        # Without a plan the cluster itself did not start, and has said where its logs are.
        with contextlib.suppress(LocalClusterError):
            kept = local.keep_logs(plan.load(folders.state(name)), folders.cache() / "failed" / "demo")
            console.print(f"logs are kept in {kept}", soft_wrap=True)
        raise
    finally:
        if arguments.keep:
            console.print(f"the cluster is kept; end it with: {sys.executable} -m localcluster down --name {name}")
        else:
            console.print("cleaning up")
            local.down(name)


def _summarise(outcome: story.Outcome, seconds: float, console: Console) -> None:
    table = Table(title="What happened", show_header=False)
    table.add_row("replicas", f"{outcome.at_start} -> {outcome.peak} -> {outcome.at_end}")
    table.add_row("peak reached after", f"{outcome.seconds_to_peak:.0f} s")
    table.add_row("decisions", str(outcome.decisions))
    table.add_row("requests", f"{outcome.sent} sent, {outcome.failed} failed")
    table.add_row("p95 over everything", f"{outcome.p95_seconds:.2f} s")
    table.add_row("whole demo", f"{seconds:.0f} s")
    console.print(table)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m demo", description="The main job, shown in minutes.")
    parser.add_argument("--trace", type=Path, metavar="FILE", help="replay a request trace (arrival_s[,...], .gz too)")
    parser.add_argument(
        "--shape", choices=[str(shape) for shape in Shape], help="of the cluster; default: best possible"
    )
    parser.add_argument("--keep", action="store_true", help="leave the cluster running")
    return parser


if __name__ == "__main__":
    sys.exit(main())

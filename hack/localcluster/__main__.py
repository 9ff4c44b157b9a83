"""Command line: `python -m localcluster prepare|up|down|status|env|load-image`."""

import argparse
import sys

from rich.console import Console

from localcluster import cluster, folders, plan
from localcluster.errors import LocalClusterError
from localcluster.plan import FAST_HPA, Shape

_DESCRIPTION = "A real Kubernetes on this machine, without Docker: kind when there, else a real node (root), else KWOK."


def main() -> int:
    """Run one command; a problem is one sentence and exit code 1."""
    arguments = _parser().parse_args()
    console = Console(stderr=True, highlight=False)
    try:
        return int(_COMMANDS[arguments.command](arguments, console) or 0)
    except LocalClusterError as error:
        console.print(f"localcluster: {error}", style="red", markup=False, soft_wrap=True)
        return 1
    except OSError as error:
        console.print(
            f"localcluster: {error.strerror}: {error.filename or ''}", style="red", markup=False, soft_wrap=True
        )
        return 1
    except KeyboardInterrupt:
        console.print("localcluster: interrupted")
        return 130


def _up(arguments: argparse.Namespace, console: Console) -> None:
    shape = Shape(arguments.shape) if arguments.shape else None
    started = cluster.up(arguments.name, shape=shape, hpa=FAST_HPA if arguments.fast_hpa else None, console=console)
    console.print(
        f'use it with: eval "$({sys.executable} -m localcluster env --name {arguments.name})"', soft_wrap=True
    )
    if started.plan.shape is Shape.KWOK:
        console.print("pods of this cluster are simulated: they never run a container")


def _down(arguments: argparse.Namespace, console: Console) -> None:
    for name in cluster.names() if arguments.all else [arguments.name]:
        console.print(f"cluster {name} removed" if cluster.down(name) else f"there is no cluster {name}")


def _status(arguments: argparse.Namespace, console: Console) -> int:
    found = cluster.names()
    if not found:
        console.print("no cluster; start one with: python -m localcluster up")
    for name in found:
        kept = plan.load(folders.state(name))
        alive = cluster.is_running(kept)
        console.print(f"{name}: {'up' if alive else 'dead (remove it with down)'}, {kept.shape}, logs in {kept.logs}")
        if alive and kept.shape is not Shape.KIND:
            for component, state in cluster.component_states(kept).items():
                console.print(f"  {component:<26}{state}")
    return 0 if arguments.name in found else 1


def _env(arguments: argparse.Namespace, _: Console) -> None:
    for line in cluster.environment(cluster.running(arguments.name)):
        print(line)


def _load_image(arguments: argparse.Namespace, console: Console) -> None:
    cluster.running(arguments.name).load_images(console.print)
    console.print("images loaded")


def _prepare(_: argparse.Namespace, console: Console) -> None:
    cluster.prepare(console)


_COMMANDS = {"prepare": _prepare, "up": _up, "down": _down, "status": _status, "env": _env, "load-image": _load_image}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m localcluster", description=_DESCRIPTION)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in {
        "prepare": "build and fetch everything that `up` needs, without starting anything",
        "up": "start a cluster (about 6 s when everything is built)",
        "down": "end a cluster and remove everything of it",
        "status": "show clusters and components",
        "env": "print shell lines that point kubectl at the cluster",
        "load-image": "build the project's images and load them into the node",
    }.items():
        command = commands.add_parser(name, help=text, description=text)
        if name != "prepare":
            command.add_argument("--name", default="dev", help="name of the cluster (default: dev)")
        if name == "up":
            command.add_argument(
                "--shape", choices=[str(shape) for shape in Shape], help="instead of the best possible"
            )
            command.add_argument("--fast-hpa", action="store_true", help="HPA controller syncs every second")
        if name == "down":
            command.add_argument("--all", action="store_true", help="every cluster of this user")
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""`gensvc`, the command line. It needs no cluster and never changes anything."""

import argparse
import sys
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Final

from generation_operator.cli.decide import decide
from generation_operator.cli.lint import lint
from generation_operator.cli.resources import UnusableFileError, only_resource
from generation_operator.cli.simulate import add_parser

_INTERRUPTED: Final = 130  # as shells say it: 128 + SIGINT


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the result is the exit code.

    Args:
        arguments: as after the program's name; those of the process by default.
    """
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except KeyboardInterrupt:
        return _INTERRUPTED
    return code


def _lint(options: argparse.Namespace) -> int:
    files = [*options.files, *options.more]
    if not files:
        options.fail("name at least one FILE")
    findings = [finding for path in files for finding in lint(path, time.time())]
    for finding in findings:
        print(finding, file=sys.stderr if finding.is_problem else sys.stdout)
    return 1 if any(finding.is_problem for finding in findings) else 0


def _decide(options: argparse.Namespace) -> int:
    try:
        spec = only_resource(options.file).spec
    except UnusableFileError as error:
        print(f"{options.file}: {error}", file=sys.stderr)
        return 1
    if options.observations == Path("-"):
        return decide(spec, sys.stdin.buffer, sys.stdout)
    try:
        with options.observations.open("rb") as observations:
            return decide(spec, observations, sys.stdout)
    except OSError as error:
        print(f"{options.observations}: cannot be read: {error.strerror}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gensvc", description="Work with GenerationService resources.")
    parser.add_argument("--version", action="version", version=f"gensvc {metadata.version('generation-operator')}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    linting = commands.add_parser(
        "lint",
        help="check GenerationServices in YAML files",
        description="Check GenerationServices in YAML files against the rules of the API server, and for what is "
        "allowed but unwise, without a cluster. Exit code 1 if something is wrong; warnings alone do not count.",
    )
    linting.add_argument("files", nargs="*", type=Path, metavar="FILE", help="a YAML file; other kinds are passed over")
    linting.add_argument("-f", dest="more", action="append", type=Path, default=[], metavar="FILE", help="the same")
    linting.set_defaults(run=_lint, fail=linting.error)
    deciding = commands.add_parser(
        "decide",
        help="decide on observations, line by line",
        description="Read observations as JSON lines, and answer each with the decision that the operator would take, "
        "as a JSON line. State is kept from line to line; times are whatever the lines say. The format is in "
        "docs/autoscaling.md.",
    )
    deciding.add_argument("-f", dest="file", required=True, type=Path, metavar="FILE", help="the resource, as YAML")
    deciding.add_argument(
        "--observations", required=True, type=Path, metavar="FILE", help="JSON lines; - reads them from standard input"
    )
    deciding.set_defaults(run=_decide)
    add_parser(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())

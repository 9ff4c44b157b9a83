"""`gensvc`, the command line. It needs no cluster and never changes anything."""

import argparse
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from generation_operator.cli.lint import lint


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the result is the exit code.

    Args:
        arguments: as after the program's name; those of the process by default.
    """
    options = _parser().parse_args(arguments)
    findings = [finding for path in options.files for finding in lint(path)]
    for finding in findings:
        print(finding, file=sys.stderr if finding.is_problem else sys.stdout)
    return 1 if any(finding.is_problem for finding in findings) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gensvc", description="Work with GenerationService resources.")
    parser.add_argument("--version", action="version", version=f"gensvc {metadata.version('generation-operator')}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    linting = commands.add_parser(
        "lint",
        help="check GenerationServices in YAML files",
        description="Check GenerationServices in YAML files against the rules of the API server, without a cluster. "
        "Exit code 1 if something is wrong; warnings alone do not count.",
    )
    linting.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a YAML file; other kinds are passed over")
    return parser


if __name__ == "__main__":
    sys.exit(main())

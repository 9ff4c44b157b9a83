"""Lines of a file, plain or gzip, that nobody vouches for.

Every read is bounded, so that neither an endless line nor a small file that unpacks to terabytes can take the memory;
every refusal names the line.
"""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import Final, Literal

from generation_operator.simulate.traces.source import TraceError

_GZIP: Final = b"\x1f\x8b"
_OTHER_PACKING: Final = ((b"BZh", "bzip2"), (b"\xfd7zXZ", "xz"), (b"PK\x03\x04", "zip"), (b"\x28\xb5\x2f\xfd", "zstd"))
_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")
_HEAD_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a file is read at most.

    Attributes:
        requests: rows, lines of a log, or requests of a realisation.
        line_bytes: of one line; log lines with long cookies stay below 32 KiB.
        skipped_lines: blank lines and comments.
        total_bytes: unpacked: 20 million lines of 200 bytes, and a gzip bomb is given up within a minute.
        document_bytes: of a file that is parsed as a whole (JSON needs about ten times its size as memory).
    """

    requests: int = 20_000_000
    line_bytes: int = 64 * 1024
    skipped_lines: int = 1_000_000
    total_bytes: int = 4 * 1024**3
    document_bytes: int = 64 * 1024**2


LIMITS: Final = Limits()


def head(path: Path) -> str:
    """The first line that is neither blank nor a comment, cut at 64 KiB; enough to tell a format by."""
    with _opened(path) as file:
        start = file.read(_HEAD_BYTES).decode("utf-8-sig", errors="replace")
    for line in start.splitlines():
        if not skippable(line):
            return line.strip()
    raise TraceError(f"{path.name}: is empty; a trace needs a header and at least one row of data")


def skippable(line: str) -> bool:
    """Whether a line says nothing: blank, or a comment."""
    stripped = line.strip()
    return not stripped or stripped.startswith("#")


def lines(
    path: Path, limits: Limits, *, undecodable: Literal["strict", "replace"] = "strict"
) -> Iterator[tuple[int, str]]:
    """The lines that say something, with their numbers from 1, without white space at their ends."""
    total = number = skipped = 0
    with _opened(path) as file:
        # One byte more than allowed shows that a line is longer.
        while raw := file.readline(limits.line_bytes + 1):
            number += 1
            total += len(raw)
            if len(raw) > limits.line_bytes:
                raise TraceError(
                    f"{path.name}, line {number}: is longer than {limits.line_bytes:,} bytes; is this really a trace?"
                )
            if total > limits.total_bytes:
                raise TraceError(
                    f"{path.name}, line {number}: the file is too large ({limits.total_bytes:,} bytes unpacked are "
                    "read at most); cut it into parts or count its requests per bin (t_s,count)"
                )
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8", errors=undecodable).strip()
            except UnicodeDecodeError as error:
                raise TraceError(
                    f"{path.name}, line {number}: is not UTF-8 text ({error.reason}); convert the file to UTF-8"
                ) from error
            if not skippable(line):
                yield number, line
                continue
            skipped += 1
            if skipped > limits.skipped_lines:
                raise TraceError(
                    f"{path.name}, line {number}: more than {limits.skipped_lines:,} blank lines and comments; "
                    "is this really a trace?"
                )


def document(path: Path, limits: Limits) -> str:
    """A whole file as text."""
    with _opened(path) as file:
        raw = file.read(limits.document_bytes + 1)
    if len(raw) > limits.document_bytes:
        raise TraceError(
            f"{path.name}: is larger than {limits.document_bytes:,} bytes; export a shorter range or a wider step"
        )
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TraceError(f"{path.name}: is not UTF-8 text ({error.reason}); convert the file to UTF-8") from error


@contextmanager
def _opened(path: Path) -> Iterator[BufferedIOBase]:
    """A file for reading, unpacked if need be; what goes wrong while it is read becomes a `TraceError`."""
    try:
        with path.open("rb") as file:
            magic = file.read(6)
            file.seek(0)
            _refuse_what_is_no_text(path, magic)
            if magic.startswith(_GZIP):
                with gzip.open(file, "rb") as unpacked:
                    yield unpacked
            else:
                yield file
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise TraceError(f"{path.name}: is a damaged gzip file ({error}); fetch or pack it again") from error
    except OSError as error:
        raise TraceError(f"{path}: cannot be read: {error.strerror or error}") from error


def _refuse_what_is_no_text(path: Path, magic: bytes) -> None:
    if path.suffix == ".gz" and magic and not magic.startswith(_GZIP):
        raise TraceError(f"{path.name}: is not a gzip file although its name says so; rename or pack it")
    if magic.startswith(_UTF16):
        raise TraceError(f"{path.name}: is UTF-16 text; convert the file to UTF-8")
    for start, packing in _OTHER_PACKING:
        if magic.startswith(start):
            raise TraceError(f"{path.name}: is packed with {packing}; unpack it or pack it with gzip")

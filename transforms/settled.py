"""What the names of archive files tell of repeats: which files hold none, and which nothing else.

Compaction knows which rows of a day do not count, if rollup has seen them all, and writes these
apart. Whoever counts events then reads the one kind of file and not the other, without comparing
rows. That holds as long as `repeats` says the same of the days around: the name has a mark of what
it said.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

ONCE, COPIES = "once", "copies"
AROUND_DAYS = 1  # a day of UTC lies on so many more days of a project, on either side


def digest_of(content: bytes) -> str:
    """For the name of a file of `repeats`: equal contents have equal ones."""
    return hashlib.sha256(content).hexdigest()[:32]


def mark_of(repeats: Iterable[str]) -> str:
    """Mark of what some files of `repeats`, whose names end with their digest, say together."""
    digests = sorted(_name(path).rpartition("-")[2] for path in repeats)
    return digest_of("\n".join(digests).encode())


def suffix(kind: str, mark: str) -> str:
    """What the name of a file that holds only ONCE or only COPIES ends with, before `.parquet`."""
    return f"-{kind}-{mark}"


def kind_of(path: str) -> tuple[str, str] | None:
    """Kind and mark of a file by its name; None where it may hold both."""
    rest, _, mark = _name(path).rpartition("-")
    kind = rest.rpartition("-")[2]
    return (kind, mark) if kind in (ONCE, COPIES) else None


def _name(path: str) -> str:
    return path.rpartition("/")[2].removesuffix(".parquet")

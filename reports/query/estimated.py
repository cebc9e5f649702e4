"""What a query would read, as far as whoever asks may see it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from reports.warehouse.engine import Estimate
from reports.warehouse.views import TABLES

OWN_ONLY = (
    "It reads less than HEADWATER_SQL_MAX_BYTES. How much in all, and the engine's plan, follow "
    "from files that hold all projects, so only an admin of everything sees them."
)


def estimated(found: Estimate, *, whole: bool) -> dict[str, Any]:
    """In JSON's values. whole: with sizes of files of all projects, and the plan made from them.

    Without them there is `own`, the share of the project.
    """
    if whole:
        tables: list[dict[str, Any]] = [asdict(one) for one in found.reads]
        sizes = {"rows": found.rows, "bytes": found.bytes, "plan": found.plan, "note": ""}
        return {**sizes, "own": None, "tables": tables}
    # What is no file is of the project alone: its live minutes.
    unseen = dict.fromkeys(("rows", "bytes", "files", "of_files"))
    tables = [asdict(one) | (unseen if one.table in TABLES else {}) for one in found.reads]
    own = {name: sum(getattr(one, name) for one in found.own) for name in ("rows", "bytes")}
    return {
        "rows": None, "bytes": None, "plan": "", "note": OWN_ONLY, "own": own, "tables": tables,
    }  # fmt: skip

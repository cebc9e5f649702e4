"""Prints a benchmark's figures as a table and keeps them as JSON, with command and machine."""

from __future__ import annotations

import json
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"
Figure = tuple[str, float, str]  # what, value, unit


def _module() -> str:
    """Name of the module that was started."""
    spec = sys.modules["__main__"].__spec__
    assert spec is not None, "benchmarks are started with python -m"
    return spec.name


def report(name: str, title: str, figures: list[Figure], note: str) -> None:
    """Show the figures and write `results/NAME.json`."""
    table = Table(title=title, caption=note, title_justify="left", caption_justify="left")
    table.add_column("what")
    table.add_column("figure", justify="right")
    table.add_column("unit")
    for what, value, unit in figures:
        table.add_row(what, f"{value:,.0f}" if value >= 100 else f"{value:,.2f}", unit)
    Console().print(table)
    RESULTS.mkdir(exist_ok=True)
    found = {
        "command": " ".join(("python -m", _module(), *sys.argv[1:])),
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, "
        f"Python {platform.python_version()}",
        "note": note,
        "figures": [{"what": w, "value": round(v, 4), "unit": u} for w, v, u in figures],
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")


def percentile(values: list[float], share: float) -> float:
    """The value below which `share` of the values lie, nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

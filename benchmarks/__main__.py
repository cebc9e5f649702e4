"""`python -m benchmarks`: every benchmark, one after the other; takes hours."""

import subprocess
import sys

for name in (
    "collector",
    "blocks",
    "bus",
    "policy",
    "validation",
    "pipeline",
    "rollup",
    "backfill",
    "backlog",
    "freshness",
    "sustained",
    "sql",
    "funnel",
    "retention",
    "boards",
    "export",
):
    subprocess.run([sys.executable, "-m", f"benchmarks.bench_{name}"], check=True)

"""`python -m benchmarks`: every benchmark, one after the other."""

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
    "freshness",
):
    subprocess.run([sys.executable, "-m", f"benchmarks.bench_{name}"], check=True)

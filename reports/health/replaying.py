"""`python -m reports.health.replaying DIRECTORY LOCK…`: the job of one replay; see replays.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path


def main(directory: str, *locks: str) -> int:
    """Run it; writes its output, its progress and at the end done.json.

    locks: descriptors of files that are locked; the job has them too, so that they stay locked if
    only this process is killed
    """
    place = Path(directory)
    asked = json.loads((place / "job.json").read_text())
    with (place / "output.txt").open("wb") as output:
        done = subprocess.run(
            [sys.executable, "-m", "beam_pipelines.run", *asked["command"]],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | {"PROGRESS_FILE": str(place / "progress.json")},
            check=False,
            pass_fds=[int(lock) for lock in locks],
        )
    fresh = place / "done.new"
    fresh.write_text(json.dumps({"exit_code": done.returncode}))
    fresh.replace(place / "done.json")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

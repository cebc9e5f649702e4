"""The libraries with which the page draws: Vega, Vega-Lite and Vega-Embed as one script.

They come with the package that draws on the server, so both draw with the same version, and no
page asks another host. The script is made once and kept below the data directory.
"""

from __future__ import annotations

import gzip
import os
import threading
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import vl_convert


class Bundle:
    """The script. Threads may share it, and so may processes: each writes whole files."""

    def __init__(self, directory: Path) -> None:
        versions = (version("vl-convert-python"), vl_convert.get_vega_version(), VEGA_LITE, _GIVEN)
        self.name = f"vega-{sha256(repr(versions).encode()).hexdigest()[:12]}.js"
        self._path = directory / f"{self.name}.gz"
        self._lock = threading.Lock()

    def compressed(self) -> bytes:
        """The script, gzip; a second or two the very first time."""
        with self._lock:
            if not self._path.exists():
                script = vl_convert.javascript_bundle(_GIVEN, vl_version=VEGA_LITE)
                self._path.parent.mkdir(parents=True, exist_ok=True)
                part = self._path.with_suffix(f".{os.getpid()}")
                part.write_bytes(gzip.compress(script.encode(), mtime=0))
                part.replace(self._path)
        return self._path.read_bytes()


VEGA_LITE: str = vl_convert.get_vegalite_versions()[-1]
_GIVEN = "window.vegaEmbed = vegaEmbed;"  # what pages call

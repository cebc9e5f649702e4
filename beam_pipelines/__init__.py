"""Wiring: sources, windows and sinks around `transforms`. One code base, streaming and batch."""

import os

# Beam spreads the work over the cores. A second pool of threads inside each column operation
# makes the many small ones slower. Read by polars when it is first imported.
os.environ.setdefault("POLARS_MAX_THREADS", "1")

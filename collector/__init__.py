"""The front door: HTTP in, durable Avro blocks out. 200 means on disk."""

import os

# One thread works on blocks, and the other core is for requests. A pool of threads inside each
# column operation makes the many small ones slower. Read by polars when it is first imported.
os.environ.setdefault("POLARS_MAX_THREADS", "1")

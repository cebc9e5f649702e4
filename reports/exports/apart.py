"""A person's query whose whole answer comes as a stream, out of a process that can write no file.

The walls are those of the SQL page, see `reports.warehouse.sandbox`; the answer leaves through a
pipe as Arrow's stream of record batches, so that neither its size nor ours is limited by memory.
"""

from __future__ import annotations

import io
import math
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Self, cast

import duckdb
import pyarrow as pa

from reports.warehouse.execute import Failure, Job, _prepare
from reports.warehouse.sandbox import _confine

_CHILD = "from reports.exports.apart import main; main()"
_ORPHAN_S = 5  # how much longer than allowed it may go on when nobody is there to stop it
_BATCH_ROWS = 16_384
_WHOLE = "whole"
# Of a failure: it must fit into the pipe, 64 KiB, for it is read only when the child has ended.
_MOST_TEXT = 8_192


class Stream:
    """The answer of a query that runs apart. Use as a context manager: it ends with it.

    rows: read so far
    """

    def __init__(self, job: Job, timeout_s: float) -> None:
        said, saying = os.pipe()
        command = [sys.executable, "-c", _CHILD, str(math.ceil(timeout_s) + _ORPHAN_S), str(saying)]
        self._child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[saying]
        )
        os.close(saying)
        self._said = os.fdopen(said, "rb")
        self._until = time.monotonic() + timeout_s
        self._late = False
        self.rows = 0
        assert self._child.stdin is not None
        with suppress(BrokenPipeError):
            self._child.stdin.write(pickle.dumps(job))
            self._child.stdin.close()
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._end_in_time, daemon=True)
        self._watch.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._over.set()
        self._watch.join()
        self._child.wait()
        self._said.close()
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()

    def stop(self) -> None:
        """End the process now."""
        self._child.kill()

    def reader(self) -> pa.RecordBatchReader | None:
        """The rows as they come; None where there are none, for `failure` to say why."""
        assert self._child.stdout is not None
        try:
            stream = pa.ipc.open_stream(cast(io.BufferedReader, self._child.stdout))
        except (pa.ArrowInvalid, OSError):
            return None
        return pa.RecordBatchReader.from_batches(stream.schema, self._batches(stream))

    def _batches(self, stream: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        # A stream that breaks off ends here: whether it was whole, the child says apart from it.
        with suppress(pa.ArrowInvalid, OSError):
            for batch in stream:
                self.rows += batch.num_rows
                yield batch

    def failure(self) -> Failure | None:
        """Why the answer is not whole; None where it is. To be asked when all has been read."""
        code = self._child.wait()
        said = self._said.read()
        if self._late:
            return Failure("time")
        if said:
            found = pickle.loads(said)
            if isinstance(found, Failure):
                return found
            if code == 0 and found == (_WHOLE, self.rows):
                return None
        return Failure("memory" if code < 0 else "crash")

    def _end_in_time(self) -> None:
        if not self._over.wait(max(0.0, self._until - time.monotonic())):
            self._late = True
            self._child.kill()


def main() -> None:
    """The child: a job on stdin; the answer on stdout; whether it is whole on a pipe of its own."""
    signal.alarm(int(sys.argv[1]))  # the parent's own limit is shorter, but a parent may be killed
    job: Job = pickle.load(sys.stdin.buffer)
    _confine(job.memory_mb)
    try:
        found: object = (_WHOLE, _answer(job))
    except BrokenPipeError:  # nobody reads any more
        found = Failure("cancelled")
    except Exception as error:
        found = _failure(error)
    with os.fdopen(int(sys.argv[2]), "wb") as saying, suppress(BrokenPipeError):
        saying.write(pickle.dumps(found))
    # Without the interpreter's own ending, which flushes a stdout that may be gone.
    os._exit(0)


def _answer(job: Job) -> int:
    """Write all rows; how many."""
    rows = 0
    with duckdb.connect() as connection:
        _prepare(connection, job)
        found = connection.sql(job.sql, params=job.parameters or None)
        with found.to_arrow_reader(_BATCH_ROWS) as reader:
            sink = pa.PythonFile(cast(io.BufferedWriter, sys.stdout.buffer), mode="w")
            with pa.ipc.new_stream(sink, reader.schema) as out:
                for batch in reader:
                    out.write_batch(batch)
                    rows += batch.num_rows
        sys.stdout.buffer.flush()
    return rows


def _failure(error: Exception) -> Failure:
    """What went wrong. Arrow hands the engine's errors on with nothing but their text."""
    text = str(error)
    if isinstance(error, duckdb.OutOfMemoryException | MemoryError) or "Out of Memory" in text:
        return Failure("memory")
    # Its text names files, which are nobody's business.
    if isinstance(error, duckdb.IOException) or "IO Error" in text:
        return Failure("files")
    return Failure("query", text[:_MOST_TEXT])

"""Ids answered 200 = ids on Pub/Sub, while the emulator, the disk and the collector fail.

The collector is the real process on a real disk, Pub/Sub is Google's emulator behind a gate that
can be shut. The client sends every batch again, under the same ids, until it is answered 200. The
subscriber keeps what a reader that drops repeats of (producer, seq) would keep.

The emulator holds messages in memory only. So before it is stopped, the gate is shut and the
subscriber takes all that was acknowledged; what comes after goes to the disk queue.
"""

from __future__ import annotations

import os
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.collector import blocks
from tests.load import BATCH, BUSY_AFTER_S, Load, post
from tests.pubsub_emulator import PROJECT, VARIABLE, Emulator, Gate, Inbox, distinct, gaps
from tests.system import System, wait_for

pytestmark = pytest.mark.journey

TIMEOUT_S = 1.0
OUTAGE_S = 6.0
QUICK_S = 0.5  # far below the timeout: nobody waits for a bus that is known to be down


class World:
    """Emulator, gate, subscriber, and a collector that publishes through the gate."""

    def __init__(self, data: Path, emulator: Emulator, gate: Gate, **settings: Any) -> None:
        self.emulator, self.gate = emulator, gate
        self.inbox = Inbox(emulator.host)
        given = {
            "bus": f"pubsub:{PROJECT}",
            "publish_timeout_s": TIMEOUT_S,
            "busy_after_s": BUSY_AFTER_S,
            **settings,
        }
        self.system = System(data, **given)
        self.system.environ[VARIABLE] = gate.host
        self.system.run("catalog", "add-project", "shop", "--time-zone=Europe/London")
        self.key = self.system.key("shop")

    @property
    def queue(self) -> Path:
        return self.system.data / "queue"

    def health(self) -> int:
        return httpx.get(f"{self.system.collector}/health/bus").status_code

    def waiting(self) -> int:
        """Bytes of blocks on the disk."""
        return sum(path.stat().st_size for path in self.queue.glob("*/*/*.blocks"))

    def restart_emulator(self) -> None:
        """The gate is shut; all it held is lost, and the subscriber has it."""
        self.inbox.read("events")
        self.emulator.stop()
        time.sleep(OUTAGE_S / 2)
        self.emulator.start()
        self.inbox.make_topics()

    def assert_all_there(self, load: Load) -> None:
        """Every id that was answered is on the bus, none that was not sent, no gap in numbers."""
        messages = self.inbox.read("events")
        kept = distinct(messages)
        counted = Counter(row["event_id"] for message in kept for row in message.rows)
        assert set(load.answered) == set(counted)
        assert load.unanswered == 0, "every batch was sent until it was answered 200"
        # An id may be in two blocks only where a request was sent twice.
        assert sum(counted.values()) - len(counted) <= load.resent * BATCH
        assert gaps(kept) == []
        print(
            f"{len(counted)} ids in {len(kept)} blocks; {len(messages) - len(kept)} blocks came "
            f"again; answers {dict(load.statuses)}; {load.resent} batches sent again"
        )
        took = sorted(took for _, took in load.took)
        p50, p99 = (took[int(len(took) * share)] for share in (0.5, 0.99))
        print(f"answered in {p50 * 1000:.0f} ms (p50), {p99 * 1000:.0f} ms (p99)")


def load_on(world: World) -> Load:
    """Sends every batch until it is answered 200."""
    return Load(world.system, world.key, senders=4, again=True, pause_s=0.01)


@contextmanager
def world(tmp_path: Path, **settings: Any) -> Iterator[World]:
    with Emulator() as emulator, Gate(emulator) as gate:
        made = World(tmp_path / "data", emulator, gate, **settings)
        try:
            with made.system:
                yield made
        finally:
            made.inbox.close()


def recovered(world: World, load: Load, outage_s: float) -> None:
    """Everything answered until now is on the bus, in no longer than the outage was."""
    took = world.inbox.read_until("events", set(load.answered), seconds=outage_s + 20)
    print(f"outage {outage_s:.1f} s, all on the bus {took:.1f} s after its end")
    assert took <= outage_s


def test_the_emulator_stops_and_starts_anew(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        w.system.start_collector()
        with load_on(w) as load:
            time.sleep(2)
            assert w.waiting() == 0, "nothing is queued while the bus is up"
            began = time.monotonic()
            w.gate.shut()
            time.sleep(TIMEOUT_S + 1)
            down = time.monotonic()
            w.restart_emulator()
            assert w.health() == 200, "the queue takes events"
            assert w.waiting() > 0
            assert load.median_since(down) < QUICK_S
            w.gate.open()
            recovered(w, load, time.monotonic() - began)
            time.sleep(1)
        w.inbox.read_until("events", set(load.answered), seconds=10)
        wait_for(lambda: w.waiting() == 0, seconds=10, what="queue emptied")
        assert set(load.statuses) == {200}
        w.assert_all_there(load)


def test_the_emulator_hangs(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        w.system.start_collector()
        with load_on(w) as load:
            time.sleep(2)
            w.emulator.hang()
            began = time.monotonic()
            time.sleep(TIMEOUT_S + 1)
            down = time.monotonic()
            time.sleep(OUTAGE_S - TIMEOUT_S - 1)
            assert load.median_since(down) < QUICK_S
            w.emulator.go_on()
            recovered(w, load, time.monotonic() - began)
            time.sleep(1)
        w.inbox.read_until("events", set(load.answered), seconds=10)
        wait_for(lambda: w.waiting() == 0, seconds=10, what="queue emptied")
        assert set(load.statuses) == {200}
        w.assert_all_there(load)


def test_the_collector_is_killed_in_the_outage_and_while_it_drains(tmp_path: Path) -> None:
    with world(tmp_path, collector_workers=2, drain_bytes_per_s=40_000) as w:
        w.system.start_collector()
        with load_on(w) as load:
            time.sleep(1)
            w.gate.shut()
            time.sleep(TIMEOUT_S + 2)
            w.system.kill("collector")
            # One worker where there were two: it finds the other's slot, and the bus still away.
            w.system.environ["HEADWATER_COLLECTOR_WORKERS"] = "1"
            w.system.start_collector()
            time.sleep(2)
        load_of_outage = set(load.answered)
        assert len(list(w.queue.glob("events/*"))) == 2
        assert load_of_outage > {row["event_id"] for m in w.inbox.read("events") for row in m.rows}
        before = len(w.inbox.read("events"))
        w.gate.open()
        wait_for(lambda: len(w.inbox.read("events")) > before, seconds=20, what="a part is drained")
        w.system.kill("collector")
        drained = {row["event_id"] for m in w.inbox.read("events") for row in m.rows}
        assert load_of_outage > drained
        w.system.environ["HEADWATER_DRAIN_BYTES_PER_S"] = "16000000"
        w.system.start_collector()
        took = w.inbox.read_until("events", load_of_outage, seconds=20)
        print(f"all on the bus {took:.1f} s after the second kill")
        wait_for(lambda: w.waiting() == 0, seconds=10, what="both slots emptied")
        assert load.resent > 0, "the collector was killed and no request noticed"
        w.assert_all_there(load)


@contextmanager
def small_disk(at: Path, size: int) -> Iterator[None]:
    """A file system of its own, where mounting is allowed."""
    at.mkdir(parents=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", at]).returncode:
        pytest.skip("mounting a tmpfs needs root")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", at], check=True)


def test_the_disk_is_full_in_the_outage_and_free_again(tmp_path: Path) -> None:
    with small_disk(tmp_path / "data" / "queue", 4 << 20), world(tmp_path) as w:
        w.system.start_collector()
        with load_on(w) as load:
            time.sleep(1)
            began = time.monotonic()
            w.gate.shut()
            wait_for(lambda: w.waiting() > 0, seconds=10, what="the queue takes over")
            filler = w.queue / "filler"
            free = os.statvfs(w.queue).f_bavail * os.statvfs(w.queue).f_frsize
            filler.write_bytes(bytes(free - (64 << 10)))
            wait_for(lambda: load.statuses[507] > 10, seconds=20, what="507")
            assert w.health() == 503
            refused = load.statuses[507]
            at_full = time.monotonic()
            filler.unlink()
            wait_for(lambda: w.health() == 200, seconds=5, what="ready though the bus is away")
            print(f"{refused} refused; taken again {time.monotonic() - at_full:.1f} s after")
            # Full once more, by events alone; now the bus comes back first.
            filler.write_bytes(bytes(free - (256 << 10)))
            wait_for(lambda: load.statuses[507] > refused + 10, seconds=20, what="507 again")
            time.sleep(2)
            filler.unlink()
            full = time.monotonic()
            w.gate.open()
            recovered(w, load, full - began)
            wait_for(lambda: w.health() == 200, seconds=5, what="ready")
            print(f"ready {time.monotonic() - full:.1f} s after the bus came back")
            time.sleep(1)
        w.inbox.read_until("events", set(load.answered), seconds=10)
        assert set(load.statuses) <= {200, 507}
        assert load.retry_after == {"30"}
        w.assert_all_there(load)


def test_a_segment_of_the_queue_is_damaged(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        w.system.start_collector()
        w.gate.shut()
        sent = []
        with httpx.Client(timeout=20) as client:
            for _ in range(12):
                sent.append([uuid.uuid4().hex for _ in range(BATCH)])
                assert post(client, w.system, w.key, sent[-1]).status_code == 200
        w.system.kill("collector")
        (path,) = w.queue.glob("events/*/*.blocks")
        frames = blocks.frames(path.read_bytes())
        hit = len(frames) // 2
        meta, rows = blocks.decoded(frames[hit])
        data = bytearray(path.read_bytes())
        at = data.index(frames[hit])
        data[at + len(frames[hit]) // 2] ^= 0x40
        path.write_bytes(data)
        w.system.start_collector()
        w.gate.open()
        there = {i for ids in sent for i in ids} - {row["event_id"] for row in rows}
        w.inbox.read_until("events", there, seconds=15)
        wait_for(lambda: w.waiting() == 0, seconds=10, what="queue emptied")
        messages = distinct(w.inbox.read("events"))
        assert {row["event_id"] for m in messages for row in m.rows} == there
        assert gaps(messages) == [(meta["producer"], meta["seq"])], "the loss is visible"
        (aside,) = w.queue.glob("events/*/*.damaged-*")
        assert aside.read_bytes() == bytes(data[at - 12 : at + len(frames[hit])])
        assert str(aside.name) in w.system.log("collector")


# Python reads this module before any other. The collector's wall clock, which is `time.time_ns`, is
# off by what a file says; its monotonic clock is not, as with a real jump. Faking more of the
# clocks from outside the kernel breaks what a real jump does not: gRPC takes a deadline by the wall
# clock from Python to its core, and libfaketime makes Python's `sleep` fail.
JUMPING_CLOCK = """
import time
from pathlib import Path
real_ns = time.time_ns
time.time_ns = lambda: real_ns() + int(Path({offset!r}).read_text()) * 10**9
"""


def test_the_clock_jumps(tmp_path: Path) -> None:
    """Two days ahead in the outage, then an hour behind, and a day ahead while the bus is up."""
    day_s, hour_s = 86_400, 3_600
    offset = tmp_path / "offset"

    def jump(to_s: int) -> None:
        (tmp_path / "new").write_text(str(to_s))
        (tmp_path / "new").replace(offset)  # nobody reads half a number

    jump(0)
    (tmp_path / "sitecustomize.py").write_text(JUMPING_CLOCK.format(offset=str(offset)))
    with world(tmp_path) as w:
        w.system.environ["PYTHONPATH"] = str(tmp_path)
        w.system.start_collector()
        with load_on(w) as load:
            time.sleep(1)
            began = time.monotonic()
            w.gate.shut()
            time.sleep(TIMEOUT_S + 1)
            jump(2 * day_s)
            time.sleep(1.5)
            jump(-hour_s)
            time.sleep(1.5)
            w.gate.open()
            recovered(w, load, time.monotonic() - began)
            jump(day_s)  # and while the bus is up
            time.sleep(1)
        w.inbox.read_until("events", set(load.answered), seconds=10)
        wait_for(lambda: w.waiting() == 0, seconds=10, what="queue emptied")
        w.assert_all_there(load)
        now_us = time.time() * 1e6
        jumps = {
            round((row["received_time"] - now_us) / 1e6 / hour_s)
            for message in w.inbox.read("events")
            for row in message.rows
        }
        assert jumps == {0, 48, -1, 24}, "the collector's clock did jump"
        assert set(load.statuses) == {200}

"""The collector on the spool when it is killed, restarted, and its disk is full.

In each: every id answered 200 is on the bus, once. Run with `-s` to see the times.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys.test_bus_faults import small_disk
from tests.load import BATCH, BUSY_AFTER_S, Load, assert_all_there
from tests.system import System, wait_for

pytestmark = pytest.mark.journey

KILLS = 20


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    with System(tmp_path / "data", collector_workers=2, busy_after_s=BUSY_AFTER_S) as made:
        made.run("catalog", "add-project", "shop")
        yield made


def workers(system: System) -> list[int]:
    """Process ids of the collector's workers: those of its children that serve."""
    parent = system.pid("collector")
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    command = [(int(pid), Path(f"/proc/{pid}/cmdline").read_bytes()) for pid in children]
    return [pid for pid, line in command if b"resource_tracker" not in line]


def answered_since(load: Load, count: int) -> bool:
    return len(load.answered) > count


def test_twenty_kills_of_workers_and_of_everything(system: System) -> None:
    key = system.key("shop")
    system.start_collector()
    recovered: list[float] = []
    with Load(system, key, bad=1) as load:
        for number in range(KILLS):
            before = len(load.answered)
            wait_for(lambda n=before: answered_since(load, n), seconds=20, what="load")
            killed = time.monotonic()
            if number % 2:
                # One dies, the other goes on, and the first is started again by their parent
                # (who gives up at a second death within seconds: then `headwater up` starts it).
                os.kill(workers(system)[0], signal.SIGKILL)
                wait_for(lambda: len(workers(system)) == 2, seconds=20, what="a new worker")
            else:
                system.kill("collector", signal.SIGKILL)
                system.start_collector()
            before = len(load.answered)
            wait_for(lambda n=before: answered_since(load, n), seconds=20, what="answers again")
            recovered.append(time.monotonic() - killed)
    system.kill("collector", signal.SIGTERM)
    median, most = sorted(recovered)[KILLS // 2], max(recovered)
    print(f"{KILLS} kills, {len(load.answered):,} events answered 200")
    print(f"answers again {median:.1f} s after a kill (median), {most:.1f} s (most)")
    assert len(load.answered) > KILLS * BATCH
    assert load.broken > 0, "nobody noticed the kills"
    assert not load.others
    assert_all_there(system, load)


def test_a_rolling_restart_loses_no_request(system: System) -> None:
    key = system.key("shop")
    system.start_collector()
    old = set(workers(system))
    with Load(system, key, bad=1, again=True) as load:
        time.sleep(1)
        os.kill(system.pid("collector"), signal.SIGHUP)
        wait_for(
            lambda: len(now := workers(system)) == 2 and not old & set(now),
            seconds=40,
            what="two new workers in place of the old ones",
        )
        before = len(load.answered)
        wait_for(lambda: answered_since(load, before), seconds=20, what="answers by the new ones")
    system.kill("collector", signal.SIGTERM)
    # A connection that waits to be accepted while its worker ends can be cut; it is sent again.
    assert load.broken <= 1, "requests were cut"
    assert load.unanswered == 0, "a batch was given up"
    assert not load.others
    assert_all_there(system, load)


def test_the_spools_disk_is_full_and_free_again(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with (
        small_disk(data / "spool", 16 << 20),
        System(data, collector_workers=2, busy_after_s=BUSY_AFTER_S) as system,
    ):
        filler = data / "spool" / "filler"
        filler.write_bytes(bytes(15 << 20))
        system.run("catalog", "add-project", "shop")
        key = system.key("shop")
        system.start_collector()
        with Load(system, key, bad=1) as load:
            wait_for(lambda: load.others[507] > 10, seconds=40, what="507")
            with pytest.raises(OSError, match="503"):
                system.get(f"{system.collector}/health/bus")
            refused, before = load.others[507], len(load.answered)
            filler.unlink()
            freed = time.monotonic()
            wait_for(lambda: answered_since(load, before), seconds=10, what="taken again")
            print(f"{refused} requests refused with 507; taken again "
                  f"{time.monotonic() - freed:.1f} s after there was room")  # fmt: skip
            wait_for(
                lambda: system.get(f"{system.collector}/health/bus")["healthy"],
                seconds=10,
                what="ready",
            )
        system.kill("collector", signal.SIGTERM)
        assert set(load.others) <= {507}
        assert_all_there(system, load)

"""What a broken disk, writer or version leaves on the bus: a dead letter each, the rest goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas_avro.segment import segment_name
from tests import brute, observed
from tests.streams import NOON, SpoolWriter, event, frame_of, frame_rows, order
from tests.system import System, wait_for

pytestmark = pytest.mark.journey

MINUTE_US = 60_000_000


def patched(rows: list[dict[str, object]], seq: int, old: bytes, new: bytes) -> bytes:
    """A block whose header says something else: as long, so that all else stays whole."""
    payload = frame_of(rows, "collector-1", seq).payload
    assert len(old) == len(new)
    assert payload.count(old) == 1
    return payload.replace(old, new)


def test_every_kind_of_bad_block_is_a_dead_letter_and_the_rest_goes_on(tmp_path: Path) -> None:
    data = tmp_path / "data"
    topic = data / "spool/events"
    good = [event(f"good {n}", NOON + n * 1_000_000) for n in range(120)]
    large = event("large", NOON, properties='{"text":"' + "x" * 1_000_000 + '"}')
    old = {"event_id": "old", "project": "demo", "source": "web", "type": "page", "flags": 0,
           "event_time": NOON, "received_time": NOON + 1}  # fmt: skip

    # a bit has flipped in the second of three blocks; a segment lost its end, block 1 with it
    flipped = SpoolWriter(topic, "collector-0", blocks_per_segment=3)
    for start in range(0, 60, 20):
        flipped.append(frame_rows(good[start : start + 20]))
    path = topic / "collector-0" / segment_name(0)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(bytes(raw))
    torn = SpoolWriter(topic, "collector-2", blocks_per_segment=2)
    for start in range(60, 120, 20):
        torn.append(frame_rows(good[start : start + 20]))
    path = topic / "collector-2" / segment_name(0)
    path.write_bytes(path.read_bytes()[:-10])
    alive = [row for row in good if int(row["event_id"][5:]) // 20 not in (1, 4)]

    # whole frames, wrong inside
    other = SpoolWriter(topic, "collector-1")
    other.append(frame_rows([large, old]))  # a large property, and fields that are not there yet
    elsewhere = event("x", NOON, country="DE")
    pence = order("y", NOON, 100)
    other.append_bytes(patched([elsewhere], 1, b'"name":"country"', b'"name":"kountry"'))
    other.append_bytes(
        patched([pence], 2, b'"revenue_minor","type":["null","long"]',
                b'"revenue_minor","type":["null", "int"]')
    )  # fmt: skip
    other.append_bytes(b"no Avro at all")
    other.append_bytes(frame_of([event("z", NOON)], "collector-1", 4).payload[:-9])
    other.append_bytes(
        frame_of(
            [event("p", NOON), {**event("q", NOON), "project": None}], "collector-1", 5
        ).payload
    )
    other.append_bytes(frame_of([event("r", 2**62, received_time=NOON)], "collector-1", 6).payload)
    other.append(frame_rows([event("last", NOON + MINUTE_US)]))
    accepted = [*alive, large, old, event("last", NOON + MINUTE_US)]

    with System(data) as system:
        system.run("catalog", "add-project", "demo")
        system.start_ingest()
        wait_for(
            lambda: (
                len(observed.dead_letters(data)) >= 8
                and sum(observed.archived(data).values()) >= len(accepted)
            ),
            seconds=60,
            what=f"dead letters and the rest; {system.log('ingest')[-3000:]}",
        )
        wait_for(
            lambda: not observed.live_differences(data, brute.live(accepted)),
            seconds=20,
            what="live numbers of the rest",
        )
        # Damage is met once more by a run that begins before it; it stays one letter each.
        system.kill("ingest")
        system.start_ingest()
        other.append(frame_rows([event("after", NOON + 2 * MINUTE_US)]))
        accepted.append(event("after", NOON + 2 * MINUTE_US))
        wait_for(
            lambda: (
                sum(observed.archived(data).values()) >= len(accepted)
                and not observed.live_differences(data, brute.live(accepted))
            ),
            seconds=60,
            what=f"what came after a restart; {system.log('ingest')[-3000:]}",
        )
        system.run("beam_pipelines.run", "rollup")
    assert len(observed.dead_letters(data)) == 8
    letters = {(str(one["source"]), int(one["seq"])): one for one in observed.dead_letters(data)}
    assert set(letters) == {("collector-0", 1), ("collector-2", 1)} | {
        ("collector-1", seq) for seq in range(1, 7)
    }
    assert all(one["step"] == "decode" and one["original"] for one in letters.values())
    said = {seq: letters["collector-1", seq]["message"] for seq in range(1, 7)}
    assert "fields ['kountry'] are not its own" in said[1]
    assert "fields ['revenue_minor'] are not its own" in said[2]
    assert "no metadata" in said[3] or "not an Avro container" in said[3] or "no block" in said[3]
    assert "1 of 2 rows have no project" in said[5]
    assert "event_time" in said[6]
    assert "no year" in said[6]
    assert {event_id for event_id, _ in observed.archived(data)} == {
        row["event_id"] for row in accepted
    }
    wanted = observed.as_counts(brute.daily(accepted, "UTC"))
    assert observed.daily(data, "demo") == wanted

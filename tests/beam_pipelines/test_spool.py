"""Reading the spool: in order, from anywhere, across segments and past damage."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.runners.sdf_utils import RestrictionTrackerView, ThreadsafeRestrictionTracker

from beam_pipelines.connectors import spool, unarchived
from beam_pipelines.connectors.frames import Frame
from beam_pipelines.connectors.spool import END, OneReader, ProducerLog, Span, Start, Tail
from beam_pipelines.connectors.unarchived import MOST_BYTES
from beam_pipelines.connectors.warehouse import Added, Warehouse
from schemas_avro.segment import frame, segment_name
from schemas_avro.tables import EVENTS
from tests.streams import NOON, event, frame_of
from transforms.positions import Positions

Open = Callable[[Path], ProducerLog]


@pytest.fixture
def opened() -> Iterator[Open]:
    with ExitStack() as stack:
        yield lambda topic: stack.enter_context(closing(ProducerLog(str(topic / "c-0"))))


def payload(seq: int) -> bytes:
    return frame_of([event(f"e{seq}", NOON + seq * 1_000_000)], "c-0", seq).payload


class Source:
    """The source in Beam's own harness: what it reads at a look, and its watermark."""

    def __init__(self, topic: Path, start: Start, most_bytes: int = MOST_BYTES) -> None:
        self._topic = str(topic)
        self._tail = Tail(start, str(topic.parent / "archive"), EVENTS, most_bytes)
        self._tail.setup()
        self._spans: tuple[Span, ...] = ()
        self._estimator = ManualWatermarkEstimator(None)

    def look(self) -> list[Frame]:
        tracker = ThreadsafeRestrictionTracker(OneReader(self._spans))
        view = RestrictionTrackerView(tracker)
        found = [value.value for value in self._tail.process(self._topic, view, self._estimator)]
        tracker.check_done()
        rest = tracker.deferred_status()
        assert rest is not None, "it has no end"
        self._spans = rest[0]
        return found

    @property
    def watermark_us(self) -> int:
        found = self._estimator.current_watermark()
        return 0 if found is None else found.micros

    def close(self) -> None:
        self._tail.teardown()


def write(directory: Path, first: int, last: int, *, tail: bytes = b"") -> Path:
    directory.mkdir(exist_ok=True)
    path = directory / segment_name(first)
    path.write_bytes(b"".join(frame(payload(n)) for n in range(first, last)) + tail)
    return path


def seqs(frames: list[Frame]) -> list[tuple[int, int, bool]]:
    return [(f.seq, f.last, f.damaged) for f in frames]


def test_blocks_come_in_order_across_segments_and_as_they_are_appended(
    tmp_path: Path, opened: Open
) -> None:
    write(tmp_path / "c-0", 0, 3)
    log = opened(tmp_path)
    assert seqs(list(log.read(0))) == [(n, n, False) for n in range(3)]
    write(tmp_path / "c-0", 3, 5)
    assert seqs(list(log.read(3))) == [(3, 3, False), (4, 4, False)]
    assert seqs(list(log.read(1))) == [(n, n, False) for n in range(1, 5)]


def test_an_unfinished_tail_is_waited_for(tmp_path: Path, opened: Open) -> None:
    whole = frame(payload(1))
    path = write(tmp_path / "c-0", 0, 1, tail=whole[:-7])
    log = opened(tmp_path)
    assert seqs(list(log.read(0))) == [(0, 0, False)]
    assert list(log.read(1)) == []
    with path.open("ab") as file:
        file.write(whole[-7:])
    assert seqs(list(log.read(1))) == [(1, 1, False)]


def test_a_tail_cut_by_its_writer_and_written_again_is_read(tmp_path: Path, opened: Open) -> None:
    path = write(tmp_path / "c-0", 0, 1, tail=b"HWB1 torn")
    log = opened(tmp_path)
    assert len(list(log.read(0))) == 1
    path.write_bytes(frame(payload(0)) + frame(payload(1)))
    assert seqs(list(log.read(1))) == [(1, 1, False)]


def test_damage_says_which_blocks_it_cost(tmp_path: Path, opened: Open) -> None:
    bad = bytearray(frame(payload(1)))
    bad[40] ^= 1
    data = frame(payload(0)) + bytes(bad) + frame(payload(2))
    (tmp_path / "c-0").mkdir()
    (tmp_path / "c-0" / segment_name(0)).write_bytes(data)
    found = list(opened(tmp_path).read(0))
    assert seqs(found) == [(0, 0, False), (1, 1, True), (2, 2, False)]
    assert found[1].payload == bytes(bad)


def test_junk_before_a_new_segment_costs_no_block(tmp_path: Path, opened: Open) -> None:
    write(tmp_path / "c-0", 0, 1, tail=b"torn")
    write(tmp_path / "c-0", 1, 2)
    found = list(opened(tmp_path).read(0))
    assert seqs(found) == [(0, 0, False), (1, 0, True), (1, 1, False)]


def test_a_segment_that_lost_its_end_says_which_blocks_that_cost(
    tmp_path: Path, opened: Open
) -> None:
    path = write(tmp_path / "c-0", 0, 3)
    path.write_bytes(path.read_bytes()[:-5])
    write(tmp_path / "c-0", 3, 4)
    assert seqs(list(opened(tmp_path).read(0))) == [(0, 0, False), (1, 1, False), (2, 2, True),
                                                    (3, 3, False)]  # fmt: skip


def test_a_segment_that_is_gone_says_which_blocks_that_cost(tmp_path: Path, opened: Open) -> None:
    write(tmp_path / "c-0", 0, 1)
    write(tmp_path / "c-0", 5, 6)
    assert seqs(list(opened(tmp_path).read(0))) == [(0, 0, False), (1, 4, True), (5, 5, False)]


def test_whole_frames_that_are_no_blocks_cost_one_number_each(tmp_path: Path, opened: Open) -> None:
    junk = frame(b"no Avro") + frame(b"nor this")
    write(tmp_path / "c-0", 0, 1, tail=junk + frame(payload(3)))
    assert seqs(list(opened(tmp_path).read(0))) == [(0, 0, False), (1, 1, True), (2, 2, True),
                                                    (3, 3, False)]  # fmt: skip


def test_a_segment_that_is_finished_while_it_is_read_loses_nothing(tmp_path: Path) -> None:
    write(tmp_path / "c-0", 0, 1)

    class Overtaken(ProducerLog):
        """Between our look at the file and our look at the directory, the writer goes on."""

        def _segments(self) -> list[int]:
            if self._file is not None and not (tmp_path / "c-0" / segment_name(2)).exists():
                write(tmp_path / "c-0", 2, 3)
                with (tmp_path / "c-0" / segment_name(0)).open("ab") as file:
                    file.write(frame(payload(1)))
            return super()._segments()

    with closing(Overtaken(str(tmp_path / "c-0"))) as log:
        assert seqs(list(log.read(0))) == [(0, 0, False), (1, 1, False), (2, 2, False)]


def test_a_number_that_comes_twice_counts_once(tmp_path: Path, opened: Open) -> None:
    write(tmp_path / "c-0", 0, 2, tail=frame(payload(1)) + frame(payload(0)) + frame(payload(2)))
    assert seqs(list(opened(tmp_path).read(0))) == [(0, 0, False), (1, 1, False), (2, 1, True),
                                                    (2, 1, True), (2, 2, False)]  # fmt: skip


def test_damage_before_the_place_where_reading_begins_is_left_alone(
    tmp_path: Path, opened: Open
) -> None:
    write(tmp_path / "c-0", 0, 1, tail=frame(b"no Avro") + frame(payload(2)) + frame(payload(3)))
    write(tmp_path / "c-0", 4, 5)
    assert seqs(list(opened(tmp_path).read(3))) == [(3, 3, False), (4, 4, False)]
    assert seqs(list(opened(tmp_path).read(1))) == [(1, 1, True), (2, 2, False), (3, 3, False),
                                                    (4, 4, False)]  # fmt: skip


def test_a_start_is_the_earlier_of_not_archived_and_not_final(tmp_path: Path) -> None:
    directory = str(tmp_path / "c-0")
    for first in (0, 4, 8):
        write(tmp_path / "c-0", first, first + 4)
    received = NOON + 1_000_000  # of block 0; block n comes n seconds later
    held = Positions.of([("c-0", 0, 9)])

    def first(start: Start) -> int:
        ((found, stop),) = start.of(directory)
        assert stop == END
        return found

    assert first(Start(Positions())) == 0
    assert first(Start(held)) == 10
    assert first(Start(held, received + 6_000_000)) == 6
    assert first(Start(Positions.of([("c-0", 0, 2)]), received + 6_000_000)) == 3
    assert first(Start(held, received + 3_600_000_000)) == 10
    assert first(Start(held, 0)) == 0


def test_what_is_new_is_read_before_what_is_read_again(tmp_path: Path) -> None:
    directory = str(tmp_path / "c-0")
    write(tmp_path / "c-0", 0, 12)
    received = NOON + 1_000_000
    held = Positions.of([("c-0", 0, 9)])
    since = received + 2_000_000
    assert Start(held, since, received + 7_000_000).of(directory) == [(7, END), (2, 7)]
    assert Start(held, since, received + 1_000_000).of(directory) == [(2, END)]
    after_all = received + 3_600_000_000
    assert Start(held, since, after_all).of(directory) == [(12, END), (2, 12)]
    assert Start(held, after_all, after_all).of(directory) == [(12, END), (10, 12)]


@pytest.mark.parametrize("newest", [4, 6, 8])
def test_both_spans_of_a_log_are_read_whole_once(tmp_path: Path, newest: int) -> None:
    """With damage at the seam and a log that ends where the older span does."""
    write(tmp_path / "c-0", 0, 4)
    write(tmp_path / "c-0", 4, 5, tail=frame(b"no Avro") + frame(payload(6)) + frame(payload(7)))
    received = NOON + 1_000_000
    start = Start(Positions(), 0, received + newest * 1_000_000)
    with closing(Source(tmp_path, start)) as source:
        read = seqs(source.look() + source.look())
    first = min(newest, 5)  # when what is damaged was received nobody knows
    assert read[: 8 - first] == [(n, n, n == 5) for n in range(first, 8)]
    assert sorted(read) == [(n, n, n == 5) for n in range(8)]


def test_the_watermark_waits_for_the_producer_and_the_span_that_is_furthest_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "_AGAIN_ROWS", 1)  # two blocks of a row at a look
    write(tmp_path / "c-0", 0, 6)
    second = NOON + 1_000_000  # block n of c-0 was received n seconds after
    with closing(Source(tmp_path, Start(Positions(), 0, second + 4_000_000))) as source:
        marks = []
        for _ in range(4):
            found = source.look()
            marks.append((len(found), source.watermark_us))
        assert marks[0] == (4, second + 1_000_000 - 2_000_000)  # two new ones, 0 and 1
        assert [count for count, _ in marks] == [4, 2, 0, 0]
        assert time.time_ns() // 1000 - marks[1][1] < 3_000_000


def test_the_watermark_waits_for_the_older_of_two_producers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backlog of one, of which a bundle takes a part, and another that has little."""
    monkeypatch.setattr(spool, "_BUNDLE_BYTES", 1)  # a block of each at a look
    topic = tmp_path / "topic"
    topic.mkdir()
    write(topic / "c-0", 0, 3)
    write(topic / "c-1", 0, 2)
    second = NOON + 1_000_000
    with closing(Source(topic, Start(Positions()))) as source:
        for look in range(3):
            assert len(source.look()) == (2 if look < 2 else 1)
            assert source.watermark_us == second + (look - 2) * 1_000_000
        assert source.look() == []
        assert time.time_ns() // 1000 - source.watermark_us < 3_000_000


def test_no_more_is_read_than_the_archive_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "_BUNDLE_BYTES", 1)
    monkeypatch.setattr(unarchived, "_LOOK_S", 0.0)
    topic = tmp_path / "topic"
    topic.mkdir()
    write(topic / "c-0", 0, 6)
    two_blocks = 2 * (len(payload(0)) + 100) - 50
    start = Start(Positions.of([("c-0", 0, 0)]), live_from_us=0)
    archive = Warehouse(str(tmp_path / "archive"))
    with closing(Source(topic, start, two_blocks)) as source:
        seen = [[found.seq for found in source.look()] for _ in range(5)]
        assert seen == [[0], [1], [2], [], []]  # block 0 is archived and costs nothing
        held = source.watermark_us
        archive.add(EVENTS, Added((), Positions.of([("c-0", 1, 1)]), {}, 0))
        assert [[found.seq for found in source.look()] for _ in range(2)] == [[3], []]
        assert source.watermark_us > held
        archive.add(EVENTS, Added((), Positions.of([("c-0", 2, 5)]), {}, 0))
        assert [[found.seq for found in source.look()] for _ in range(3)] == [[4], [5], []]


def test_a_reader_that_is_stopped_claims_nothing_more_and_hands_on_the_rest() -> None:
    new, again = Span("c-0", 7, END), Span("c-0", 2, 7)
    reader = OneReader(())
    assert reader.try_claim((new, again))
    assert reader.try_claim((again._replace(first=7),))
    assert reader.try_split(0.5) is None
    assert reader.try_split(0) == ((), (new,))
    assert not reader.try_claim((new._replace(first=8),))
    assert reader.current_restriction() == (new,)

"""Reading the spool: in order, from anywhere, across segments and past damage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from beam_pipelines.connectors.frames import Frame
from beam_pipelines.connectors.spool import ProducerLog, Start
from schemas_avro.segment import frame, segment_name
from tests.streams import NOON, event, frame_of
from transforms.positions import Positions

Open = Callable[[Path], ProducerLog]


@pytest.fixture
def opened() -> Iterator[Open]:
    with ExitStack() as stack:
        yield lambda topic: stack.enter_context(closing(ProducerLog(str(topic / "c-0"))))


def payload(seq: int) -> bytes:
    return frame_of([event(f"e{seq}", NOON + seq * 1_000_000)], "c-0", seq).payload


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


def test_a_start_is_the_earlier_of_not_archived_and_not_final(tmp_path: Path) -> None:
    directory = str(tmp_path / "c-0")
    for first in (0, 4, 8):
        write(tmp_path / "c-0", first, first + 4)
    received = NOON + 1_000_000  # of block 0; block n comes n seconds later
    assert Start(Positions()).of(directory) == 0
    held = Positions.of([("c-0", 0, 9)])
    assert Start(held).of(directory) == 10
    assert Start(held, received + 6_000_000).of(directory) == 6
    assert Start(Positions.of([("c-0", 0, 2)]), received + 6_000_000).of(directory) == 3
    assert Start(held, received + 3_600_000_000).of(directory) == 10
    assert Start(held, 0).of(directory) == 0

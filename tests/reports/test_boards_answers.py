"""Remembered answers: asked once by many, no older than they may be, never after a failure."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from reports.boards.answers import FRESH_S, KEPT_S, Answers, stamp_of


class Asked:
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> bytes:
        self.times += 1
        return str(self.times).encode()


@pytest.fixture
def now() -> list[float]:
    return [100.0]


@pytest.fixture
def stamp() -> list[int]:
    return [1]


@pytest.fixture
def answers(now: list[float], stamp: list[int]) -> Answers:
    return Answers(lambda: stamp[0], clock=lambda: now[0])


def test_a_fresh_answer_is_used_again_whatever_was_written(
    answers: Answers, now: list[float], stamp: list[int]
) -> None:
    asked = Asked()
    assert answers.get("k", asked) == b"1"
    stamp[0], now[0] = 2, now[0] + FRESH_S - 0.1
    assert answers.get("k", asked) == b"1"
    now[0] += 0.2
    assert answers.get("k", asked) == b"2"


def test_an_older_one_is_used_while_nothing_was_written_but_not_for_ever(
    answers: Answers, now: list[float]
) -> None:
    asked = Asked()
    answers.get("k", asked)
    now[0] += KEPT_S - 1
    assert answers.get("k", asked) == b"1"
    now[0] += 2
    assert answers.get("k", asked) == b"2"


def test_what_was_written_while_it_was_asked_makes_it_old(
    answers: Answers, now: list[float], stamp: list[int]
) -> None:
    def asked() -> bytes:
        stamp[0] += 1  # a commit in the middle: was it read or not?
        return b"half"

    answers.get("k", asked)
    now[0] += FRESH_S + 1
    assert answers.get("k", lambda: b"whole") == b"whole"


def test_another_question_is_asked(answers: Answers) -> None:
    assert answers.get(("a", 1), lambda: b"1") == b"1"
    assert answers.get(("a", 2), lambda: b"2") == b"2"


def test_a_failure_is_not_remembered(answers: Answers) -> None:
    with pytest.raises(ValueError, match="no"):
        answers.get("k", lambda: (_ for _ in ()).throw(ValueError("no")))
    assert answers.get("k", lambda: b"1") == b"1"


def test_twenty_at_once_ask_once(answers: Answers) -> None:
    asked = Asked()

    def slow() -> bytes:
        time.sleep(0.2)
        return asked()

    found: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: found.append(answers.get("k", slow))) for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [b"1"] * 20
    assert asked.times == 1


def test_the_oldest_make_room(answers: Answers) -> None:
    for i in range(600):
        answers.get(i, lambda: b"x")
    asked = Asked()
    answers.get(599, asked)
    assert asked.times == 0
    answers.get(0, asked)
    assert asked.times == 1


def test_a_stamp_moves_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "f"
    before = stamp_of(path)
    path.write_text("x")
    assert stamp_of(path) != before == ((0, 0),)

"""Rates and quotas: exact over threads and processes, kept over restarts; too many properties."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from catalog.policy import DEFAULT_POLICY, SourcePolicy
from collector.limits import BURST_S, Limits, refuse_too_many_properties
from collector.problems import Problem
from transforms.candidates import Candidate, Candidates
from transforms.failures import Reason

NOON = 1_800_014_400.0  # 2027-01-15T12:00:00Z
MIDNIGHT = 1_800_057_600.0


class Clock:
    now = NOON

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limits(tmp_path: Path, clock: Clock) -> Iterator[Limits]:
    made = Limits(tmp_path / "limits", clock)
    yield made
    made.close()


def refusal(take: Callable[[], None]) -> Problem:
    with pytest.raises(Problem) as caught:
        take()
    assert caught.value.status == 429
    assert caught.value.retry_after_s is not None
    assert caught.value.retry_after_s >= 1
    return caught.value


def test_without_limits_nothing_is_counted(limits, tmp_path):
    for _ in range(100):
        limits.take("k", DEFAULT_POLICY, 1_000_000)
    assert (tmp_path / "limits").read_bytes().strip(b"\0") == b""


def test_a_bucket_gives_its_burst_and_then_its_rate(limits, clock):
    policy = SourcePolicy(rate_limit_per_s=10)
    for _ in range(int(10 * BURST_S)):
        limits.take("k", policy, 1)
    problem = refusal(lambda: limits.take("k", policy, 1))
    assert problem.code == "rate_limited"
    clock.now += 1.0
    for _ in range(10):
        limits.take("k", policy, 1)
    refusal(lambda: limits.take("k", policy, 1))


def test_who_waits_as_long_as_told_is_let_in(limits, clock):
    rng = random.Random(1)
    policy = SourcePolicy(rate_limit_per_s=7)
    let_in, started = 0, clock.now
    for _ in range(500):
        events = rng.randrange(1, 60)
        try:
            limits.take("k", policy, events)
        except Problem as problem:
            clock.now += problem.retry_after_s
            limits.take("k", policy, events)
        let_in += events
    # Never more than the rate, but for the burst and for one request on credit.
    assert let_in <= 7 * (clock.now - started + BURST_S) + 60
    # And not much less: told times are whole seconds.
    assert let_in >= 7 * (clock.now - started) * 0.7


def test_a_request_larger_than_a_burst_is_let_in_at_rest_and_paid_for_after(limits, clock):
    policy = SourcePolicy(rate_limit_per_s=10)
    limits.take("k", policy, 1_000)
    problem = refusal(lambda: limits.take("k", policy, 1))
    assert problem.retry_after_s == 96  # 100 s worth of events, 5 s of them as a burst
    clock.now += 95
    refusal(lambda: limits.take("k", policy, 2))
    clock.now += 1
    limits.take("k", policy, 2)


def test_a_quota_lasts_until_the_utc_day_ends(limits, clock):
    policy = SourcePolicy(daily_quota=100)
    limits.take("k", policy, 90)
    problem = refusal(lambda: limits.take("k", policy, 11))
    assert problem.code == "quota_exceeded"
    assert problem.retry_after_s == MIDNIGHT - NOON
    assert "90 of 100" in problem.message
    limits.take("k", policy, 10)  # what was refused was refused whole
    clock.now = MIDNIGHT - 0.5
    assert refusal(lambda: limits.take("k", policy, 1)).retry_after_s == 1
    clock.now = MIDNIGHT
    limits.take("k", policy, 100)
    refusal(lambda: limits.take("k", policy, 1))


def test_a_request_refused_by_one_limit_costs_nothing_of_the_other(limits):
    policy = SourcePolicy(rate_limit_per_s=1, daily_quota=6)
    limits.take("k", policy, 5)
    assert refusal(lambda: limits.take("k", policy, 1)).code == "rate_limited"
    without_rate = SourcePolicy(daily_quota=6)
    limits.take("k", without_rate, 1)
    assert refusal(lambda: limits.take("k", policy, 1)).code == "quota_exceeded"


def test_what_was_not_stored_is_given_back(limits):
    policy = SourcePolicy(rate_limit_per_s=1, daily_quota=5)
    for _ in range(20):
        limits.take("k", policy, 5)
        limits.give_back("k", policy, 5)
    limits.take("k", policy, 5)
    refusal(lambda: limits.take("k", policy, 1))


def test_keys_do_not_share(limits):
    policy = SourcePolicy(daily_quota=3)
    for number in range(300):
        limits.take(f"key {number}", policy, 3)
    for number in range(300):
        refusal(lambda number=number: limits.take(f"key {number}", policy, 1))


def test_counters_outlive_the_process_and_a_day_that_is_over_does_not(tmp_path, clock):
    policy = SourcePolicy(daily_quota=10)
    first = Limits(tmp_path / "limits", clock)
    first.take("k", policy, 10)
    first.close()
    again = Limits(tmp_path / "limits", clock)
    refusal(lambda: again.take("k", policy, 1))
    clock.now = MIDNIGHT
    again.take("k", policy, 10)
    again.close()


def test_a_clock_that_is_set_back_locks_nobody_out(limits, clock):
    policy = SourcePolicy(rate_limit_per_s=1)
    limits.take("k", policy, 5)
    clock.now -= 3_600
    limits.take("k", policy, 5)
    refusal(lambda: limits.take("k", policy, 1))


def test_a_clock_that_goes_back_over_midnight_gives_no_second_quota(limits, clock):
    policy = SourcePolicy(daily_quota=10)
    clock.now = MIDNIGHT + 5
    limits.take("k", policy, 10)
    clock.now = MIDNIGHT - 5
    refusal(lambda: limits.take("k", policy, 1))


@pytest.fixture
def many_switches() -> Iterator[None]:
    """Threads change places at every step, so that what is not locked shows."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("many_switches")
def test_threads_together_get_the_quota_and_no_more(limits):
    policy = SourcePolicy(daily_quota=1_000)

    def ask(_: int) -> int:
        try:
            limits.take("k", policy, 3)
        except Problem:
            return 0
        return 3

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(ask, range(2_000))) == 999


WORKER = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from catalog.policy import SourcePolicy
from collector.limits import Limits
from collector.problems import Problem
limits = Limits(Path(sys.argv[1]), lambda: 1_800_014_400.0)
policy = SourcePolicy(rate_limit_per_s=10_000, daily_quota=20_000)
def ask(times):
    taken = 0
    for _ in range(times):
        try:
            limits.take("k", policy, 1)
            taken += 1
        except Problem:
            pass
    return taken
print("ready", flush=True)
for line in sys.stdin:
    with ThreadPoolExecutor(4) as pool:
        print(sum(pool.map(ask, [int(line) // 4] * 4)), flush=True)
"""


def start(path: Path) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", WORKER, str(path)]
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return process


def tell(process: subprocess.Popen[str], asks: int) -> None:
    assert process.stdin
    process.stdin.write(f"{asks}\n")
    process.stdin.flush()


def taken(process: subprocess.Popen[str]) -> int:
    assert process.stdout
    return int(process.stdout.readline())


def test_threads_of_processes_share_their_counters_also_with_those_that_are_killed(tmp_path):
    workers = [start(tmp_path / "limits") for _ in range(2)]
    for worker in workers:
        tell(worker, 9_000)
    assert [taken(worker) for worker in workers] == [9_000] * 2
    for worker in workers:
        worker.send_signal(signal.SIGKILL)
        worker.communicate()
    last = start(tmp_path / "limits")
    tell(last, 4_000)
    assert taken(last) == 2_000  # of a quota of 20,000
    last.communicate()


# -- Properties.


def candidates(*properties: bytes) -> Candidates:
    made = [Candidate(type="track", name="a", properties=text) for text in properties]
    return Candidates.of(made, [b"original %d" % at for at in range(len(made))])


def with_members(count: int) -> bytes:
    return json.dumps({f"p{number}": number for number in range(count)}).encode()


def test_an_event_with_too_many_properties_is_refused_and_the_others_stay():
    found = refuse_too_many_properties(
        candidates(with_members(3), with_members(11), b"{}", with_members(10)), 10
    )
    assert list(found.places) == [0, 2, 3]
    rejection = found.refused[1]
    assert rejection.reason is Reason.TOO_MANY_PROPERTIES
    assert rejection.original == b"original 1"
    assert rejection.message == "11 properties; at most 10 an event"


def test_only_the_top_level_counts_and_length_is_no_reason():
    deep = json.dumps({"list": list(range(5_000)), "in": {str(n): n for n in range(5_000)}})
    given = candidates(deep.encode(), json.dumps({"a": "x" * 9_999}).encode())
    assert refuse_too_many_properties(given, 10) is given


@pytest.mark.parametrize("broken", [b'{"a":' * 5_000, b"[" * 9_999, b'{"a":"\xff"' * 999, b""])
def test_broken_properties_are_left_to_the_judge(broken):
    given = candidates(broken)
    assert refuse_too_many_properties(given, 10) is given


def test_no_column_of_properties_at_all():
    given = Candidates({"type": ["track"]}, 1, lambda: [b"x"])
    assert refuse_too_many_properties(given, 10) is given

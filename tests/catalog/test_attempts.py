"""The bound on tries to sign in, against a plain list of times."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalog.attempts import OF_ACCOUNT, OF_ADDRESS, WINDOW, Attempts
from catalog.models import SignInAttempt
from catalog.store import Catalog

START = datetime(2026, 9, 21)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def attempts(tmp_path: Path, clock: Clock) -> Attempts:
    catalog = Catalog(f"sqlite:///{tmp_path}/catalog.db")
    catalog.migrate()
    return Attempts(catalog, clock)


STEPS = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 1, 7, 30, 60, 400]),  # seconds since the step before
        st.sampled_from(["a@x.org", "b@x.org"]),
        st.sampled_from(["10.0.0.1", "10.0.0.2"]),
        st.sampled_from([False] * 9 + [True]),  # signed in
    ),
    min_size=20,
    max_size=60,
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(STEPS)
def test_it_waits_as_a_loop_over_all_tries_says(
    attempts: Attempts, clock: Clock, steps: list[tuple[int, str, str, bool]]
) -> None:
    with attempts._catalog.session() as session, session.begin():
        session.query(SignInAttempt).delete()
    tries: list[tuple[datetime, str, str]] = []
    for seconds, account, address, success in steps:
        clock.now += timedelta(seconds=seconds)
        recent = [one for one in tries if clock.now - one[0] < WINDOW]
        of_account = [at for at, who, _ in recent if who == account]
        of_address = [at for at, _, where in recent if where == address]
        wait = attempts.begin(account, address)
        free = len(of_account) < OF_ACCOUNT and len(of_address) < OF_ADDRESS
        assert (wait == 0) == free
        if free:
            tries.append((clock.now, account, address))
            if success:
                attempts.succeeded(account)
                tries = [one for one in tries if one[1] != account]
        else:
            later = clock.now + timedelta(seconds=wait)
            assert sum(later - at < WINDOW for at in of_account) < OF_ACCOUNT
            assert sum(later - at < WINDOW for at in of_address) < OF_ADDRESS
            sooner = later - timedelta(seconds=1)
            assert (
                sum(sooner - at < WINDOW for at in of_account) >= OF_ACCOUNT
                or sum(sooner - at < WINDOW for at in of_address) >= OF_ADDRESS
            )


def test_one_network_of_ipv6_is_one_address(attempts: Attempts) -> None:
    for i in range(OF_ADDRESS):
        assert attempts.begin(f"{i}@x.org", f"2001:db8:1:2::{i:x}") == 0
    assert attempts.begin("new@x.org", "2001:db8:1:2:ffff::1") == WINDOW.total_seconds()
    assert attempts.begin("new@x.org", "2001:db8:1:3::1") == 0
    assert attempts.begin("new@x.org", "10.0.0.1") == 0


def test_an_ipv4_address_is_the_same_written_as_ipv6(attempts: Attempts) -> None:
    for i in range(OF_ADDRESS):
        assert attempts.begin(f"{i}@x.org", "10.0.0.1") == 0
    assert attempts.begin("new@x.org", "::ffff:10.0.0.1") > 0


def test_old_tries_are_forgotten(attempts: Attempts, clock: Clock) -> None:
    for _ in range(5):
        attempts.begin("a@x.org", "")
    clock.now += WINDOW
    attempts.begin("b@x.org", "")
    with attempts._catalog.session() as session:
        assert session.query(SignInAttempt).count() == 1

"""Shared by the tests of the supervisor."""

from __future__ import annotations

import socket

import pytest


@pytest.fixture
def free_ports() -> tuple[int, int]:
    """Two TCP ports on which nothing listens."""
    with socket.socket() as one, socket.socket() as other:
        for probe in (one, other):
            probe.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


@pytest.fixture
def free_port(free_ports: tuple[int, int]) -> int:
    """A TCP port on which nothing listens."""
    return free_ports[0]

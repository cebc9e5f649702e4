"""What is taken is said before anything is started."""

from __future__ import annotations

import socket

import pytest

from catalog import settings
from headwater.ground import Occupied, check_bus, check_ports, lock


def ports(**values: object) -> settings.Settings:
    return settings.read({f"HEADWATER_{name.upper()}": str(v) for name, v in values.items()})


@pytest.fixture
def taken():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


@pytest.mark.parametrize("server", ["collector", "reports"])
def test_a_port_in_use_names_the_setting_and_the_remedy(server, taken, free_port):
    values = {"collector_port": free_port, "reports_port": free_port} | {f"{server}_port": taken}
    with pytest.raises(Occupied) as caught:
        check_ports(ports(**values))
    message = str(caught.value)
    assert f"port {taken} on 127.0.0.1 is in use" in message
    assert f"set HEADWATER_{server.upper()}_PORT to another port" in message


def test_one_port_for_both_is_refused(free_port):
    with pytest.raises(Occupied, match="COLLECTOR_PORT and HEADWATER_REPORTS_PORT are both"):
        check_ports(ports(collector_port=free_port, reports_port=free_port))


@pytest.mark.parametrize("host", ["203.0.113.7", "no-such-host.invalid"])
def test_a_host_that_is_not_ours_names_the_setting(host, free_port):
    with pytest.raises(Occupied, match=f"HEADWATER_COLLECTOR_HOST='{host}'"):
        check_ports(ports(collector_host=host, collector_port=free_port))


def test_free_ports_pass_and_stay_free(free_ports):
    for _ in range(2):
        check_ports(ports(collector_port=free_ports[0], reports_port=free_ports[1]))


def test_two_cannot_hold_one_directory(tmp_path):
    directory = tmp_path / "deep" / "data"
    with lock(directory):
        with pytest.raises(Occupied, match=r"another headwater runs on '.*data'"):
            lock(directory)
        lock(tmp_path / "other").close()
    lock(directory).close()


def test_a_directory_that_cannot_be_made_names_the_setting(tmp_path):
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    with pytest.raises(Occupied, match=r"HEADWATER_DATA_DIR='.*' cannot be written"):
        lock(in_the_way / "data")


def test_a_bus_that_the_pipeline_cannot_read_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADWATER_BUS", "pubsub:")
    with pytest.raises(Occupied, match=r"HEADWATER_BUS='pubsub:': ingest: --events=.*PROJECT"):
        check_bus(settings.read({"HEADWATER_DATA_DIR": str(tmp_path), "HEADWATER_BUS": "pubsub:"}))
    check_bus(settings.read({"HEADWATER_DATA_DIR": str(tmp_path)}))

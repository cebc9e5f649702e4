"""No line of the log says who sent what, whatever goes wrong and however much is logged."""

from __future__ import annotations

import io
import json
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from collector import logs
from tests.collector.conftest import serve

log = logging.getLogger("collector.test")
SECRET = "s3cr3t"


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    """Everything that is logged, at the lowest level."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    written = io.StringIO()
    logs.configure(written, level=1)
    yield written
    logging.captureWarnings(False)
    root.handlers[:], root.level = before, level


def lines(out: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_line_is_json_with_time_level_logger_and_fields(out):
    log.warning("blocks wait: %d", 3, extra={"count": 3, "seconds": 0.5})
    (line,) = lines(out)
    assert str(line.pop("timestamp")).endswith("Z")
    assert line == {
        "event": "blocks wait: 3",
        "level": "warning",
        "logger": "collector.test",
        "count": 3,
        "seconds": 0.5,
    }


def test_only_fields_of_the_table_are_kept(out):
    log.info("x", extra={"user_id": SECRET, "ip": "192.0.2.1", "body": SECRET, "project": "shop"})
    (line,) = lines(out)
    assert line.keys() == {"event", "level", "logger", "timestamp", "project"}


def test_write_keys_are_cut_wherever_they_stand(out):
    key = "hw_AbCdEfGhIjKlMnOpQrStUvWx"
    log.info("key %s and again %s.", key, key, extra={"key": key, "reason": f"/v1/{key}/settings"})
    (line,) = lines(out)
    assert line["event"] == "key hw_AbC… and again hw_AbC…."
    assert line["key"] == logs.mask(key) == "hw_AbC…"
    assert line["reason"] == "/v1/hw_AbC…/settings"


def test_exceptions_are_kinds_and_places_with_their_causes(out):
    try:
        try:
            raise KeyError(SECRET)
        except KeyError as error:
            raise ValueError(f"no {SECRET}") from error
    except ValueError:
        log.exception("it failed")
    (line,) = lines(out)
    assert SECRET not in out.getvalue()
    shown = line["exception"]
    assert isinstance(shown, list)
    assert [text for text in shown if not text.startswith(" ")] == ["KeyError", "ValueError"]
    assert "test_logs.py:" in shown[1]
    assert "test_exceptions_are_kinds_and_places_with_their_causes" in shown[1]


def test_text_of_libraries_is_left_out_but_not_that_there_was_some(out):
    logging.getLogger("sqlalchemy.engine").error("INSERT %s", SECRET)
    logging.getLogger("collectors").error(SECRET)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)  # the test runner has a way of its own to show warnings
        logging.captureWarnings(True)
        warnings.warn(SECRET, UserWarning, stacklevel=1)
    assert SECRET not in out.getvalue()
    found = lines(out)
    assert [line["logger"] for line in found] == ["sqlalchemy.engine", "collectors", "py.warnings"]
    assert str(found[0]["place"]).startswith("test_logs:")


def test_what_nobody_catches_is_a_line_without_text(out, monkeypatch, capfd):
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    logs.catch_uncaught()

    def fail() -> None:
        raise RuntimeError(SECRET)

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    (line,) = lines(out)
    assert line["event"] == "uncaught"
    assert str(line["exception"]).count("RuntimeError") == 1
    assert SECRET not in out.getvalue() + "".join(capfd.readouterr())


class Broken:
    """A bus that quotes what it was given."""

    lanes = 1

    def publish(self, rows: pl.DataFrame, dead: pl.DataFrame) -> None:
        raise RuntimeError(f"cannot take {rows.to_dicts()} {dead.to_dicts()} {SECRET}")

    def healthy(self) -> bool:
        raise RuntimeError(SECRET)

    def close(self) -> None:
        pass


BODIES = [
    {"userId": SECRET, "event": SECRET, "properties": {SECRET: SECRET}, "context": {"ip": SECRET}},
    {"userId": SECRET, "event": 5, "messageId": SECRET},
    {"batch": [{"type": "track", "userId": SECRET, "event": SECRET, "timestamp": SECRET}]},
    [SECRET],
    SECRET,
]


def test_requests_full_of_secrets_leave_none_in_the_log_also_on_a_500(
    out, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    served = serve(Broken(), tmp_path)
    client = served.client
    headers = {
        "Authorization": f"Bearer {SECRET}",
        "Cookie": f"a={SECRET}",
        "User-Agent": SECRET,
        "X-Forwarded-For": SECRET,
        "Origin": f"https://{SECRET}",
        "Referer": f"https://{SECRET}",
        "X-Retry-Count": SECRET,
        "Content-Encoding": SECRET,
        f"X-{SECRET}": SECRET,
    }
    statuses = set()
    for key in ({"X-Write-Key": "hw_test"}, {}):
        given = {n: v for n, v in headers.items() if not (key and n == "Authorization")} | key
        for path in ("/v1/track", "/v1/batch", "/v1/events", f"/v1/{SECRET}", "/health/bus"):
            for body in BODIES:
                data = json.dumps(body).encode()
                for one in (data, data[:-2], b"\xff" + data):
                    made = client.post(f"{path}?q={SECRET}", data=one, headers=given)
                    statuses.add(made.status_code)
        statuses.add(client.get(f"/health/bus?{SECRET}", headers=given).status_code)
        client.get(f"/v1/projects/{SECRET}/settings", headers=given)
    served.close()
    assert {400, 401, 404, 500} <= statuses
    assert any(line["level"] == "error" for line in lines(out))
    assert SECRET not in out.getvalue() + "".join(capfd.readouterr())

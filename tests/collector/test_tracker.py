"""tracker.js as it is served: small, checkable by hash, cached as long as it may be."""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
import zlib
from collections.abc import Mapping

import pytest
from flask import Flask
from flask.testing import FlaskClient

from collector import tracker
from tests.system import ROOT

SOURCE = ROOT / "collector/static/tracker.js"
GUIDE = ROOT / "docs/clients.md"


@pytest.fixture
def client() -> FlaskClient:
    app = Flask("tracker", static_folder=None)
    app.register_blueprint(tracker.bp)
    return app.test_client()


def facts(client: FlaskClient) -> Mapping[str, str]:
    found: Mapping[str, str] = client.get("/tracker.json").json
    return found


def test_it_fits_in_three_kilobytes(client):
    body = client.get("/tracker.js", headers={"Accept-Encoding": "gzip"}).data
    assert len(body) <= 3 * 1024
    # compressed for real: zlib, told to expect a gzip header, reads back the plain script
    plain = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(body)
    assert plain == client.get("/tracker.js").data
    assert b"consent" in plain


def test_what_is_served_is_the_source_without_its_comments(client):
    plain, source = client.get("/tracker.js").data.decode(), SOURCE.read_text()
    without = re.sub(r"/\* .*?\*/", "", source, flags=re.DOTALL)
    without = re.sub(r"(^|\s)// .*$", "", without, flags=re.MULTILINE)
    assert without.count("\n") > 200
    assert re.sub(r"\s+", "", plain) == re.sub(r"\s+", "", without)
    assert len(plain) < len(source) / 1.5


def test_the_integrity_is_the_hash_of_what_is_served(client):
    told = facts(client)
    path = "/" + told["url"].partition("://")[2].partition("/")[2]
    for zipped in ("gzip", "identity"):
        answer = client.get(path, headers={"Accept-Encoding": zipped})
        body = gzip.decompress(answer.data) if zipped == "gzip" else answer.data
        digest = hashlib.new("sha384", body).digest()
        assert told["integrity"] == "sha384-" + base64.b64encode(digest).decode()


def test_the_facts_are_true(client):
    told = facts(client)
    assert told["bytes"] == len(client.get("/tracker.js").data)
    zipped = client.get("/tracker.js", headers={"Accept-Encoding": "gzip"})
    assert told["gzip_bytes"] == len(zipped.data)
    assert f"version: '{told['version']}'" in SOURCE.read_text()
    assert told["url"].startswith("http://localhost/tracker.")
    assert told["url"] in told["snippet"]
    assert f'integrity="{told["integrity"]}"' in told["snippet"]
    direct = client.get("/tracker.json", base_url="https://c.example:8443").json["url"]
    assert direct == told["url"].replace("http://localhost/", "https://c.example:8443/")
    behind = client.get("/tracker.json", headers={"X-Forwarded-Proto": "https"}).json["url"]
    assert behind == told["url"].replace("http:", "https:")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_it_is_cached_for_an_hour_by_everyone(client, method):
    answer = client.open("/tracker.js", method=method)
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "public, max-age=3600"
    assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert answer.content_length == len(client.get("/tracker.js").data)
    assert (answer.data == b"") == (method == "HEAD")


def test_who_has_it_already_gets_304(client):
    first = client.get("/tracker.js", headers={"Accept-Encoding": "gzip"})
    asked = {"If-None-Match": first.headers["ETag"]}
    again = client.get("/tracker.js", headers=asked)
    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    assert again.headers["Cache-Control"] == "public, max-age=3600"
    other = client.get("/tracker.js", headers={"If-None-Match": 'W/"other"'})
    assert other.status_code == 200


def test_under_its_hash_it_never_changes(client):
    told = facts(client)
    answer = client.get("/" + told["url"].rpartition("/")[2])
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert answer.data == client.get("/tracker.js").data
    assert client.get("/tracker.0123456789abcdef.js").status_code == 404


@pytest.mark.parametrize(
    ("accepted", "zipped"),
    [("gzip", True), ("br, gzip;q=0.5", True), ("gzip;q=0", False), ("", False), ("br", False)],
)
def test_it_is_compressed_where_that_is_accepted(client, accepted, zipped):
    answer = client.get("/tracker.js", headers={"Accept-Encoding": accepted})
    assert (answer.headers.get("Content-Encoding") == "gzip") is zipped
    assert (answer.data[:2] == b"\x1f\x8b") is zipped


def test_an_address_handed_out_by_an_earlier_release_still_answers(tmp_path):
    old = b"(()=>{window.headwater={version:'0.9.0'}})();"
    (tmp_path / "0.9.0.js").write_bytes(old)
    served = tracker.by_digest(tmp_path)
    assert served[hashlib.sha384(old).hexdigest()[:16]].plain == old
    kept = tracker.keep(tmp_path)
    assert kept.read_bytes() == tracker.current().plain
    assert set(served) == {hashlib.sha384(p.read_bytes()).hexdigest()[:16] for p in (
        tmp_path / "0.9.0.js", kept)}  # fmt: skip


def test_a_script_without_a_version_is_none():
    with pytest.raises(ValueError, match="no version"):
        tracker.script(b"(()=>{})();")


def test_every_option_and_call_is_documented():
    source, guide = SOURCE.read_text(), GUIDE.read_text()
    options = {a or b for a, b in re.findall(r"\boptions\.(\w+)|\bis\('(\w+)'", source)}
    assert set(re.findall(r"^\| `(\w+)` \| .* \| .* \|$", guide, re.MULTILINE)) == options
    calls = re.findall(r"^      (\w+)[:,]", source.partition("calls = {")[2], re.MULTILINE)
    assert len(calls) == 9
    assert [name for name in calls if f"headwater.{name}(" not in guide] == []

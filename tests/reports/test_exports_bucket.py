"""Scheduled exports into a bucket, of an emulator of Cloud Storage in a thread."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from gcp_storage_emulator.server import create_server
from google.cloud import storage  # type: ignore[attr-defined,import-untyped,unused-ignore]

from reports.exports.asked import Asked, ExportError
from reports.exports.making import said_of
from reports.exports.targets import target
from reports.exports.work import made
from tests.reports import exports_world, world
from tests.system import free_port

pytestmark = pytest.mark.filterwarnings("default")  # of the emulator's own


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[storage.Bucket]:
    port = free_port()
    server = create_server("localhost", port, in_memory=True, default_bucket="ours")
    server.start()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://localhost:{port}")
    yield storage.Client().bucket("ours")
    server.stop()


def test_an_export_goes_into_a_bucket_with_its_manifest_last(
    bucket: storage.Bucket, tmp_path: Path
) -> None:
    exports_world.fill(tmp_path)
    settings = world.settings(tmp_path, export_to="gs://ours/exports")
    app = exports_world.app(tmp_path)
    times = []

    def make(draft: Path) -> None:
        times.append(draft)
        made("demo", asked, settings, app, draft)

    asked = Asked(table="events", format="jsonl")
    says = said_of(asked, "demo")
    place = target(settings, "demo", "gs://ours/exports/daily")
    below = "exports/daily/demo/events-2026-09-22"
    assert place.put("events-2026-09-22", make, says) == f"gs://ours/{below}"
    found = {blob.name: blob for blob in bucket.list_blobs()}
    assert set(found) == {f"{below}/{n}" for n in ("SHA256SUMS", "events.jsonl", "manifest.json")}
    manifest = json.loads(found[f"{below}/manifest.json"].download_as_bytes())
    assert len(found[f"{below}/events.jsonl"].download_as_bytes()) == manifest["bytes"]
    assert max(found.values(), key=lambda blob: blob.time_created).name.endswith("manifest.json")
    # There already: it is not made again. Without its manifest it is not there.
    place.put("events-2026-09-22", make, says)
    assert len(times) == 1
    for other in (said_of(asked, "other"), {**says, "what": {"table": "daily"}}):
        with pytest.raises(ExportError, match="is there already and is another export"):
            place.put("events-2026-09-22", make, other)
    assert len(times) == 1
    bucket.blob(f"{below}/manifest.json").delete()
    place.put("events-2026-09-22", make, says)
    assert len(times) == 2
    assert list(times[0].parent.iterdir()) == []  # nothing stays on the server

"""The page, the JSON and the metrics of a pipeline that runs, over HTTP."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.system import System, free_port, wait_for

pytestmark = pytest.mark.journey


def test_counters_of_a_running_pipeline_are_seen_over_http(tmp_path: Path) -> None:
    port = free_port()
    with System(tmp_path / "data", pipeline_port=port) as system:
        system.run("catalog", "add-project", "shop")
        key = system.key("shop")
        system.start_collector()
        system.start_ingest()
        batch = [{"type": "track", "event": "Seen", "userId": "u", "messageId": f"m{n}"}
                 for n in (1, 2, 3, 3)]  # fmt: skip
        status, _ = System.post(f"{system.collector}/v1/batch", {"batch": batch, "writeKey": key})
        assert status == 200
        address = f"http://127.0.0.1:{port}"

        def counted() -> bool:
            try:
                said = httpx.get(f"{address}/health").json()
            except httpx.TransportError:
                return False
            found = said["counters"]
            return bool(found["events_measured"] == 3 and found["events_archived"] == 4)

        wait_for(counted, seconds=60, what="3 events measured, 4 archived")
        health = httpx.get(f"{address}/health")
        assert health.status_code == 200
        assert health.json()["counters"]["events_repeated"] == 1
        text = httpx.get(f"{address}/metrics").text
        samples = {s.name: s.value for f in text_string_to_metric_families(text) for s in f.samples}
        assert samples["headwater_pipeline_events_measured_total"] == 3
        page = httpx.get(address).text
        assert "RUNNING" in page
        assert "events repeated" in page

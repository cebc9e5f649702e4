"""The health page of a whole system: green only with all its parts there, and soon not any more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.system import System, free_port, wait_for

pytestmark = pytest.mark.journey


def test_green_with_all_parts_and_not_without_any_of_them(tmp_path: Path) -> None:
    with System(tmp_path / "data", pipeline_port=free_port()) as system:
        system.run("catalog", "add-project", "shop")
        key = system.key("shop")
        system.start_collector()
        system.start_reports()
        system.start_ingest()
        system.start("schedule", "beam_pipelines.run", "schedule")
        address = f"{system.reports}/p/shop/api/health"

        def parts() -> dict[str, Any]:
            return {check["name"]: check for check in system.get(address)["checks"]}

        events = [{"name": "view", "user_id": f"u{n}"} for n in range(50)]
        bearer = {"authorization": f"Bearer {key}"}
        assert system.post(f"{system.collector}/v1/events", {"events": events}, bearer)[0] == 200

        def green() -> bool:
            found = system.get(address)
            well = {c["name"]: c["state"] for c in found["checks"] if c["state"] != "ok"}
            if well.pop("disk", None):  # of this machine, which need not be well
                return not well
            assert found["state"] == "ok", well
            return True

        wait_for(green, seconds=180, what="every part well")
        found = parts()
        assert found["collector"]["figures"]["accepted"] == 50
        assert found["letters"]["figures"] == {"received": 50, "refused": 0}
        assert found["exact"]["said"] == "All that is archived is counted."

        def noted() -> list[dict[str, Any]] | None:
            runs: list[dict[str, Any]] = system.get(address)["runs"]
            return runs if {"rollup", "reconcile"} <= {run["job"] for run in runs} else None

        runs = wait_for(noted, seconds=60, what="the runs that the schedule notes") or []
        assert {run["outcome"] for run in runs} == {"ok"}
        assert any("ledger:" in run["message"] for run in runs)

        system.kill("ingest")
        assert parts()["pipeline"]["state"] == "down"
        system.kill("schedule")
        system.kill("collector")
        assert parts()["collector"]["state"] == "down"
        assert system.get(address)["state"] == "down"

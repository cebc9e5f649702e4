"""What leaves the house has nothing of suppressed people, or says that it has."""

from __future__ import annotations

from catalog import policies
from tests.reports import exports_world
from tests.reports.exports_world import catalogue, download, export, lines_of


def test_suppressed_people_are_left_out_and_counted(tmp_path):
    rows = exports_world.fill(tmp_path)
    policies.suppress(catalogue(tmp_path), "demo", ["u1"])
    client = exports_world.app(tmp_path).test_client()
    job = export(client, table="events", format="jsonl")
    found = lines_of(download(client, job))
    assert {row["user_id"] for row in found} == {"u0", "u2", "u3"}
    gone = sum(row["user_id"] == "u1" for row in rows)
    assert job["manifest"]["left_out"] == {"duplicates": 6, "suppressed": gone}


def test_queries_do_not_see_suppressed_people_either(tmp_path):
    rows = exports_world.fill(tmp_path)
    policies.suppress(catalogue(tmp_path), "demo", ["u1", "u2", "nobody"])
    policies.suppress(catalogue(tmp_path), "other", ["u0"])
    client = exports_world.app(tmp_path).test_client()
    gone = sum(row["user_id"] in ("u1", "u2") for row in rows)
    kept = len(rows) - gone
    for sql, column, expected in (
        ("SELECT DISTINCT user_id AS x FROM events", "x", {"u0", "u3"}),
        ("SELECT COUNT(*) AS x FROM events", "x", {kept}),
        ("SELECT COUNT(*) AS x FROM events AS a JOIN (SELECT * FROM events) AS b USING (event_id)",
         "x", {kept}),
        ("SELECT person AS x FROM people", "x", {"u0", "u3"}),
    ):  # fmt: skip
        job = export(client, sql=sql, format="jsonl")
        assert job["state"] == "done", job["message"]
        assert {row[column] for row in lines_of(download(client, job))} == expected
        assert job["manifest"]["left_out"] == {"suppressed": gone}
        assert job["manifest"]["notes"][0].startswith("Events of suppressed people are left out")
    shown = client.post("/p/demo/api/sql", json={"sql": "SELECT COUNT(*) AS n FROM events"})
    assert shown.get_json()["rows"] == [[len(rows)]]
    within = "SELECT event_id FROM events WHERE event_time < '2026-09-22' AND user_id = 'u1'"
    job = export(client, sql=within, format="jsonl")
    assert (job["state"], job["rows"]) == ("done", 0)


def test_a_query_says_what_is_in_it_of_suppressed_people(tmp_path):
    exports_world.fill(tmp_path)
    client = exports_world.app(tmp_path).test_client()
    sql = "SELECT user_id FROM sessions"
    job = export(client, sql=sql, format="jsonl")
    assert (job["manifest"]["left_out"], job["manifest"]["notes"]) == ({}, [])
    policies.suppress(catalogue(tmp_path), "demo", ["u1"])
    job = export(client, sql=sql, format="jsonl")
    said = "Rows of sessions are as they were; suppressed people are in."
    assert (job["manifest"]["left_out"], job["manifest"]["notes"]) == ({}, [said])
    job = export(client, sql="SELECT day FROM daily", format="jsonl")
    assert (job["manifest"]["left_out"], job["manifest"]["notes"]) == ({}, [])

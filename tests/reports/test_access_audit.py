"""The audit log: what is in it, what never is, and who may read it."""

from __future__ import annotations

from pathlib import Path

import pytest

from reports.access.needs import needs
from reports.access.record import record
from tests.reports.access_world import PASSWORD, Place, bearer, email, place


@pytest.fixture
def here(tmp_path: Path) -> Place:
    return place(tmp_path)


def log(here: Place, **asked: str) -> list[tuple[str, str, str, str, str]]:
    """Actor, action, project, target, outcome; the oldest first."""
    return [
        (e.actor, e.action, e.project, e.target, e.outcome)
        for e in reversed(here.access.audit.find(**asked, limit=500))  # type: ignore[arg-type]
    ]


def test_signing_in_and_what_follows_is_written_down(here: Place) -> None:
    client = here.nobody()
    client.post("/login", data={"email": email("lyn"), "password": "wrong"})
    client.post("/login", data={"email": "who@example.org", "password": "wrong"})
    client.post("/login", data={"email": email("lyn"), "password": PASSWORD})
    lyn = here.browser("lyn")
    made = lyn.post(
        "/api/account/tokens", {"name": "ci", "project": "demo", "scopes": ["sql"], "days": 2}
    ).get_json()
    lyn.send("DELETE", f"/api/account/tokens/{made['id']}")
    lyn.post("/logout")
    assert log(here) == [
        ("nobody", "sign-in", "", "lyn@example.org", "refused"),
        ("nobody", "sign-in", "", "no such user", "refused"),
        ("lyn@example.org", "sign-in", "", "password", "ok"),
        ("lyn@example.org", "token.make", "demo", "1 'ci': sql", "ok"),
        ("lyn@example.org", "token.revoke", "demo", "1 'ci'", "ok"),
        ("lyn@example.org", "sign-out", "", "", "ok"),
    ]
    assert {e.address for e in here.access.audit.find()} == {"127.0.0.1"}


def test_what_people_do_to_people_is_written_down(here: Place) -> None:
    root = here.browser("root")
    made = root.post("/api/people", {"email": "New@example.org"}).get_json()
    path = f"/api/people/{made['id']}"
    root.send("PUT", "/p/demo/api/people", {"email": "new@example.org", "role": "analyst"})
    root.send("PUT", path, {"is_admin": True, "disabled": True})
    root.send("PUT", path, {"disabled": False})
    root.post(f"{path}/link")
    root.send("DELETE", path)
    assert [(a, p, t) for _, a, p, t, _ in log(here, actor="root")] == [
        ("user.add", "", "new@example.org"),
        ("role.set", "demo", "new@example.org: analyst"),
        ("user.admin", "", "new@example.org: True"),
        ("user.disabled", "", "new@example.org: True"),
        ("user.disabled", "", "new@example.org: False"),
        ("password.link", "", "new@example.org"),
        ("user.remove", "", "new@example.org"),
    ]


def test_sql_is_written_down_without_its_values(here: Place) -> None:
    lyn, secret = here.browser("lyn"), here.token("lyn", "sql")
    sql = {"sql": "SELECT 'a value of theirs' AS x"}
    assert lyn.post("/p/demo/api/sql", sql).status_code == 200
    answer = here.nobody().post("/p/demo/api/sql?q=value", json=sql, headers=bearer(secret))
    assert answer.status_code == 200
    found = [entry for entry in here.access.audit.find() if entry.project == "demo"]
    assert sorted(entry.actor for entry in found) == [
        "lyn@example.org",
        "lyn@example.org (token 'of a test')",
    ]
    assert "value of theirs" not in str(found)
    assert "q=value" not in str(found)


def test_refusals_are_written_down_but_not_each_of_a_thousand(here: Place) -> None:
    vic = here.browser("vic")
    for _ in range(20):
        assert vic.post("/p/demo/api/sql", {"sql": "SELECT 1"}).status_code == 403
        assert vic.get("/p/other/daily?first=secret").status_code == 404
        assert here.nobody().get("/p/demo/api/live", headers=bearer("hw_t_no")).status_code == 401
    assert log(here) == [
        ("vic@example.org", "access.refused", "demo", "POST /p/demo/api/sql",
         "viewer, needs analyst"),
        ("vic@example.org", "access.refused", "other", "GET /p/other/daily", "not their project"),
        ("nobody", "token.refused", "demo", "", "unknown, run out or revoked"),
    ]  # fmt: skip
    here.clock.forward(61)
    vic.post("/p/demo/api/sql", {"sql": "SELECT 1"})
    assert len(log(here)) == 4


def test_what_a_handler_records_itself_is_not_written_twice(here: Place) -> None:
    @needs("analyst", scope="export")
    def handler(project: str) -> str:
        record("export.made", "orders.csv")
        return "done"

    @needs("analyst", scope="export")
    def silent(project: str) -> str:
        return "done"

    here.app.add_url_rule("/p/<project>/told", "told", handler, methods=["POST"])
    here.app.add_url_rule("/p/<project>/silent", "silent", silent, methods=["POST"])
    lyn = here.browser("lyn")
    lyn.post("/p/demo/told")
    lyn.post("/p/demo/silent")
    assert log(here) == [
        ("lyn@example.org", "export.made", "demo", "orders.csv", "ok"),
        ("lyn@example.org", "silent", "demo", "/p/demo/silent", "ok"),
    ]


def test_what_cannot_be_written_down_is_not_answered(here: Place) -> None:
    lyn = here.browser("lyn")
    with here.catalog.session() as session, session.begin():
        session.connection().exec_driver_sql("DROP TABLE audit")
        session.connection().exec_driver_sql("CREATE TABLE audit (id INTEGER)")
    assert lyn.post("/p/demo/api/sql", {"sql": "SELECT 1"}).status_code == 500


def test_the_page_filters_and_reads_on(here: Place) -> None:
    root, audit = here.browser("root"), here.access.audit
    for i in range(150):
        project = "demo" if i % 2 else "other"
        audit.add(f"made.{i}", f"<b>{i}</b>", actor=f"a{i}%@example.org", project=project)
    page = root.get("/audit").text
    assert "made.149" in page
    assert "made.49<" not in page
    assert "<b>" not in page
    assert "before=51" in page
    assert "made.49<" in root.get("/audit?before=51").text
    assert root.get("/audit?before=51").text.count("<code>made.") == 50
    assert root.get("/audit?actor=a1%25").text.count("<code>made.") == 1
    assert root.get("/audit?action=made.10").text.count("<code>made.") == 11
    assert root.get("/audit?project=other&action=made.10").text.count("<code>made.") == 6
    assert "Nothing was written down that fits" in root.get("/audit?last=2026-09-20").text
    assert root.get("/audit?first=2026-09-21&last=2026-09-21").text.count("<code>made.") == 100
    assert root.get("/audit?first=yesterday").status_code == 400
    assert root.get("/audit?before=x").status_code == 200


def test_an_admin_of_a_project_reads_what_is_of_it(here: Place) -> None:
    here.access.audit.add("made.mine", actor="a", project="demo")
    here.access.audit.add("made.theirs", actor="a", project="other")
    adi = here.browser("adi")
    for path in ("/p/demo/audit", "/p/demo/audit?project=other"):
        page = adi.get(path).text
        assert "made.mine" in page
        assert "made.theirs" not in page
    assert adi.get("/p/other/audit").status_code == 404
    assert adi.get("/audit").status_code == 403
    assert here.browser("lyn").get("/p/demo/audit").status_code == 403

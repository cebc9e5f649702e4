"""Every route of the app, whoever made it: has a mark, and is refused below it."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.datastructures import Headers
from werkzeug.routing import Rule

from reports.access.needs import ROLES, SAFE, needed, needs, needs_browser, scope_of
from reports.access.origin import PublicUrl, host_is_ours, host_name, inside, is_here
from reports.access.parts import caller
from reports.app import create_app
from tests.reports import world
from tests.reports.access_world import Place, bearer, place

THROUGH = "through the guard"
# What needs nobody known. A new line here is a decision: it is open to the whole network.
PUBLIC = {
    *("/health", "/login", "/login/oidc", "/login/oidc/callback", "/set-password"),
    *("/api/set-password", "/api", "/api/openapi.json", "/charts/<name>.js", "/charts/themes.json"),
    *("/share/<token>", "/share/<token>/panels/<int:number>"),  # the token is the key
}
WHO = {"viewer": "vic", "analyst": "lyn", "admin": "adi"}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The real app, whose handlers only say that they were reached."""
    made = place(tmp_path_factory.mktemp("guarded"))
    for endpoint, view in made.app.view_functions.items():
        made.app.view_functions[endpoint] = _stub(view)
    return made


def _stub(view: Any) -> Any:
    @functools.wraps(view)
    def stub(**_: Any) -> str:
        return THROUGH

    return stub


def routes(app: Flask) -> Iterator[tuple[Rule, str]]:
    for rule in app.url_map.iter_rules():
        if rule.endpoint != "static":
            yield from ((rule, method) for method in (rule.methods or set()) - {"HEAD", "OPTIONS"})


def address(rule: Rule, project: str = "demo") -> str:
    words = dict.fromkeys(rule.arguments, "1") | {"project": project}
    _, path = rule.build({k: v for k, v in words.items() if k in rule.arguments}) or ("", "")
    return path


def outcome(answer: Any) -> str:
    return "through" if answer.text == THROUGH else str(answer.status_code)


def test_every_route_has_a_mark_and_what_is_of_a_project_says_so(guarded: Place) -> None:
    views = guarded.app.view_functions
    unmarked = {r.rule for r, _ in routes(guarded.app) if not hasattr(views[r.endpoint], "needs")}
    assert unmarked == set()
    for rule, _ in routes(guarded.app):
        assert rule.rule.startswith("/p/") == ("project" in rule.arguments), rule
        if rule.rule.startswith("/p/"):
            assert rule.rule.startswith("/p/<project>/"), rule


def test_what_is_public_is_known(guarded: Place) -> None:
    views = guarded.app.view_functions
    public = {r.rule for r, _ in routes(guarded.app) if needed(views[r.endpoint]) == "public"}
    assert public == PUBLIC


def test_what_people_sent_is_for_analysts(guarded: Place) -> None:
    views = guarded.app.view_functions
    letters = {
        r.rule
        for r, _ in routes(guarded.app)
        if {"dead-letters", "replays"} & set(r.rule.split("/"))
    }
    assert len(letters) == 7
    assert {needed(views[r.endpoint]) for r, _ in routes(guarded.app) if r.rule in letters} == {
        "analyst"
    }


@pytest.mark.parametrize("role", ["nobody", "viewer", "analyst", "admin", "root"])
def test_every_route_is_refused_below_its_mark_and_open_at_it(guarded: Place, role: str) -> None:
    browser = None if role == "nobody" else guarded.browser(WHO.get(role, "root"))
    wrong = []
    for rule, method in routes(guarded.app):
        least = needed(guarded.app.view_functions[rule.endpoint])
        of_everything = least == "admin" and "project" not in rule.arguments
        path = address(rule)
        answer = (
            guarded.nobody().open(path, method=method)
            if browser is None
            else browser.send(method, path)
        )
        if least == "public" or role == "root":
            expected = {"through"}
        elif role == "nobody":
            expected = {"401"} if "/api/" in path or method not in SAFE else {"302"}
        elif of_everything or ROLES.index(role) < ROLES.index(least):
            expected = {"403"}
        else:
            expected = {"through"}
        if outcome(answer) not in expected:
            wrong.append((role, method, rule.rule, least, outcome(answer)))
    assert wrong == []


@pytest.mark.parametrize("name", ["vic", "lyn", "adi", "nob"])
def test_somebody_elses_project_is_as_one_that_is_not_there(guarded: Place, name: str) -> None:
    browser = guarded.browser(name)
    for rule, method in routes(guarded.app):
        if "project" in rule.arguments:
            foreign = browser.send(method, address(rule, "other"))
            missing = browser.send(method, address(rule, "never"))
            assert foreign.status_code == missing.status_code == 404, (method, rule)
            assert foreign.text.replace("other", "X") == missing.text.replace("never", "X")


def test_tokens_reach_their_project_and_scope_only(guarded: Place) -> None:
    views = guarded.app.view_functions
    for scope in ("read", "sql", "export", "write", "admin"):
        mine, roots = guarded.token("adi", scope), guarded.token("root", scope)
        for rule, method in routes(guarded.app):
            view, path = views[rule.endpoint], address(rule)
            least = needed(view)
            if least == "public":
                continue
            found = [
                outcome(guarded.nobody().open(path, method=method, headers=bearer(secret)))
                for secret in (mine, roots)
            ]
            fits = scope_of(view, rule.rule, method) == scope and not needs_browser(view)
            of_everything = least == "admin" and "project" not in rule.arguments
            expected = "through" if fits and not of_everything else "403"
            assert found == [expected, expected], (scope, method, rule)
            if "project" in rule.arguments:
                headers = bearer(roots)
                foreign = address(rule, "other")
                assert guarded.nobody().open(foreign, method=method, headers=headers).status == (
                    "404 NOT FOUND"
                )


def test_a_token_does_not_reach_beyond_its_users_role(guarded: Place) -> None:
    secret = guarded.token("vic", "read", "sql", "export", "write", "admin")
    views = guarded.app.view_functions
    for rule, method in routes(guarded.app):
        least = needed(views[rule.endpoint])
        if least in {"analyst", "admin"}:
            answer = guarded.nobody().open(address(rule), method=method, headers=bearer(secret))
            assert answer.status_code == 403, (method, rule)


def test_a_handler_without_a_mark_is_for_admins_of_everything(tmp_path: Path) -> None:
    made = place(tmp_path)
    made.app.add_url_rule("/forgotten", "forgotten", lambda: THROUGH)
    made.app.add_url_rule("/p/<project>/forgotten", "of_project", lambda project: THROUGH)
    assert made.browser("adi").get("/forgotten").status_code == 403
    assert made.browser("lyn").get("/p/demo/forgotten").status_code == 403
    assert made.browser("root").get("/forgotten").text == THROUGH


def test_scopes() -> None:
    @needs("analyst")
    def analyst() -> None: ...

    @needs("viewer")
    def viewer() -> None: ...

    @needs("analyst", scope="export")
    def marked() -> None: ...

    for view, rule, method, scope in (
        (viewer, "/p/<project>/api/insights/<kind>", "POST", "read"),
        (analyst, "/p/<project>/api/sql", "POST", "sql"),
        (analyst, "/p/<project>/api/sql/jobs/<id>", "GET", "sql"),
        (analyst, "/p/<project>/api/exports", "POST", "export"),
        (analyst, "/p/<project>/api/dashboards", "POST", "write"),
        (analyst, "/p/<project>/api/dashboards", "GET", "read"),
        (marked, "/p/<project>/api/dashboards", "POST", "export"),
        (None, "/p/<project>/anything", "GET", "admin"),
    ):
        assert scope_of(view, rule, method) == scope


def test_handlers_find_who_asks(tmp_path: Path) -> None:
    made = place(tmp_path)
    seen: list[tuple[str, str, str, bool]] = []

    @needs("viewer")
    def who(project: str = "") -> str:
        found = caller()
        seen.append((found.name, found.email, found.role, found.is_admin))
        return ",".join(made.access.projects())

    made.app.add_url_rule("/p/<project>/who", "who", who)
    made.app.add_url_rule("/who", "who_at_all", who)
    assert made.browser("lyn").get("/p/demo/who").text == "demo"
    assert made.browser("root").get("/p/other/who").text == "demo,other"
    assert made.browser("adi").get("/who").text == "demo"
    assert made.browser("nob").get("/who").text == ""
    secret = made.token("root", "read")
    assert made.nobody().get("/p/demo/who", headers=bearer(secret)).text == "demo"
    assert seen == [
        ("lyn", "lyn@example.org", "analyst", False),
        ("root", "root@example.org", "admin", True),
        ("adi", "adi@example.org", "analyst", False),  # of a project is not of everything
        ("nob", "nob@example.org", "viewer", False),
        ("root", "root@example.org", "admin", False),
    ]


# -- Until there is a user.


FORWARDED = [
    {"X-Forwarded-For": "1.2.3.4"},
    {"X-Forwarded-For": "127.0.0.1"},
    {"Forwarded": "for=127.0.0.1"},
    {"X-Real-IP": "127.0.0.1"},
    {"X-Forwarded-Host": "localhost"},
    {"Via": "1.1 proxy"},
]


def test_without_users_this_machine_is_let_in_and_told_how_to_make_one(tmp_path: Path) -> None:
    app = world.app(tmp_path)
    for host in ("localhost", "127.0.0.1:8081", "[::1]:8081"):
        page = app.test_client().get("/p/demo/daily", base_url=f"http://{host}")
        assert page.status_code == 200
        assert "python -m catalog add-user you@example.org --admin" in page.text
    with app.test_client() as client:
        client.get("/p/demo/daily")
        assert (caller().name, caller().role, caller().is_admin) == ("local", "admin", True)
    assert app.test_client().get("/login").headers["Location"] == "/"


@pytest.mark.parametrize("headers", FORWARDED)
def test_without_users_nothing_that_came_through_a_proxy_is_let_in(
    tmp_path: Path, headers: dict[str, str]
) -> None:
    for hops in (0, 1):
        app = world.app(tmp_path, trusted_proxies=hops)
        for path in ("/p/demo/", "/", "/login", "/people", "/p/demo/api/live", "/nowhere"):
            answer = app.test_client().get(path, headers=headers)
            assert answer.status_code == 403, path
            assert "no users yet" in answer.text


@pytest.mark.parametrize("remote", ["10.0.0.7", "::2", "8.8.8.8", "", "nonsense"])
def test_without_users_other_machines_are_refused(tmp_path: Path, remote: str) -> None:
    client = world.app(tmp_path).test_client()
    for path in ("/p/demo/", "/people"):
        answer = client.get(path, environ_overrides={"REMOTE_ADDR": remote})
        assert answer.status_code == 403
        assert "no users yet" in answer.text
    assert client.get("/health", environ_overrides={"REMOTE_ADDR": remote}).status_code == 200


def test_without_users_an_address_of_this_machine_is_not_its_name(tmp_path: Path) -> None:
    client = world.app(tmp_path).test_client()
    assert client.get("/p/demo/", base_url="http://10.0.0.7:8081").status_code == 403


def test_the_first_user_ends_it_in_every_process_at_once(tmp_path: Path) -> None:
    one, two = world.app(tmp_path), world.app(tmp_path)
    assert one.test_client().get("/p/demo/").status_code == 200
    two.extensions["access"].users.add("ann@example.org", is_admin=True)
    for app in (one, two):
        answer = app.test_client().get("/p/demo/daily?first=2026-01-01")
        assert answer.status_code == 302
        assert answer.headers["Location"] == (
            "/login?next=%2Fp%2Fdemo%2Fdaily%3Ffirst%3D2026-01-01"
        )
        found = app.test_client().get("/p/demo/api/live")
        assert (found.status_code, found.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert "Bearer hw_t_" in found.get_json()["message"]
        assert app.test_client().get("/nowhere").status_code == 302
        with app.test_client().get("/static/site.css") as style:
            assert style.status_code == 200
        assert app.test_client().get("/health").status_code == 200


def test_a_catalogue_that_is_not_made_yet_has_no_users(tmp_path: Path) -> None:
    app = create_app(world.settings(tmp_path / "none"), dict, lambda: world.NOW)
    assert app.test_client().get("/").status_code == 200
    assert not (tmp_path / "none").exists()


# -- Which host, which machine, where to.


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "localhost.", "", "a b"),
        *("127.0.0.1@evil.example", "evil.example:8081", "[::1].evil.example", "stats.example.org"),
        *("localhost:port", "localhost:80:80", "127.0.0.1\tx", "0x7f.1", "2130706433"),
    ],
)
def test_names_that_are_not_ours_are_refused(tmp_path: Path, host: str) -> None:
    for app in (world.app(tmp_path), place(tmp_path / "users").app):
        answer = app.test_client().get("/p/demo/api/live", headers={"Host": host})
        assert answer.status_code in {400, 421}, host


def test_the_public_name_is_ours(tmp_path: Path) -> None:
    made = place(tmp_path, public_url="https://Stats.example.org:8443")
    for host, status in (
        ("stats.example.org:8443", 302),
        ("STATS.EXAMPLE.ORG", 302),
        ("10.0.0.7:8081", 302),
        ("localhost:8081", 302),
        ("other.example.org", 421),
    ):
        answer = made.nobody().get("/", headers={"Host": host})
        assert answer.status_code == status, host


def test_hosts() -> None:
    assert host_name("[::1]:80") == "::1"
    assert host_name("user@host") is None
    public = PublicUrl.read("")
    assert host_is_ours("127.0.0.1:1", public)
    assert not host_is_ours("", public)
    assert is_here("::ffff:127.0.0.1", "localhost", Headers())
    assert not is_here("::ffff:10.0.0.1", "localhost", Headers())
    assert not is_here("127.0.0.1", "10.0.0.1", Headers())


@pytest.mark.parametrize(
    "text",
    [
        *("https://evil.example", "//evil.example", "/\\evil.example", "\\\\evil.example"),
        *("/\t/evil.example", "/\n/evil.example", "javascript:alert(1)", "", "p/demo", " /p/demo"),
        *("/p/demo\r\nSet-Cookie: a=b", "/p/\\..\\x", "///evil.example", "/" + "a" * 3000),
    ],
)
def test_only_our_own_pages_are_led_to(text: str) -> None:
    assert inside(text) == "/"


def test_our_own_pages_are_led_to() -> None:
    for text in ("/", "/p/demo/daily?first=2026-01-01&last=2026-01-02", "/p/a//b"):
        assert inside(text) == text

"""Users, passwords, roles and links, on the real catalogue."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from catalog import passwords
from catalog.models import User
from catalog.store import Catalog, CatalogError
from catalog.users import Users, checked_email

PHRASE = "correct horse battery staple"
ANN, BOB = "ann@example.org", "bob@example.org"


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    made = Catalog(f"sqlite:///{tmp_path}/catalog.db")
    made.migrate()
    for project in ("demo", "other"):
        made.add_project(project)
    return made


@pytest.fixture
def users(catalog: Catalog) -> Users:
    return Users(catalog)


def test_the_first_user_is_an_admin(users: Users) -> None:
    assert not users.exist()
    with pytest.raises(CatalogError, match="first user must be an admin"):
        users.add(ANN, password=PHRASE)
    assert not users.exist()
    ann = users.add(" Ann@Example.org ", password=PHRASE, is_admin=True)
    assert (ann.email, ann.name, ann.is_admin, ann.has_password) == (ANN, "ann", True, True)
    assert users.exist()
    bob = users.add(BOB, name="Bob")
    assert (bob.is_admin, bob.has_password, dict(bob.roles)) == (False, False, {})
    assert users.all() == [ann, bob] == [users.get(ANN), users.by_id(bob.id)]
    with pytest.raises(CatalogError, match="is a user already"):
        users.add("BOB@example.org")


@pytest.mark.parametrize(
    "text", ["", "ann", "ann@", "@example.org", "a b@example.org", "a@b@c", "a\n@b.c", "x" * 300]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(CatalogError, match="no e-mail address"):
        checked_email(text)


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("eleven char", "12 to 1,024"),
        ("", "12 to 1,024"),
        ("x" * 1025, "12 to 1,024"),
        ("abababababab", "five different"),
        (ANN, "must not be the e-mail"),
        (ANN.upper(), "must not be the e-mail"),
    ],
)
def test_a_password_that_is_easily_guessed_is_refused(
    users: Users, password: str, why: str
) -> None:
    with pytest.raises(CatalogError, match=why):
        users.add(ANN, password=password, is_admin=True)
    users.add(ANN, is_admin=True)
    with pytest.raises(CatalogError, match=why):
        users.set_password(ANN, password)


def test_a_password_proves_who_it_is(users: Users) -> None:
    users.add(ANN, password=PHRASE, is_admin=True)
    users.add(BOB)
    found = users.with_password("ANN@example.org", PHRASE)
    assert found == users.get(ANN)
    for email, password in ((ANN, PHRASE + "x"), (ANN, ""), (BOB, ""), ("who@x.org", PHRASE)):
        assert users.with_password(email, password) is None
    users.set_password(ANN, "another long phrase")
    assert users.with_password(ANN, PHRASE) is None
    assert users.with_password(ANN, "another long phrase") is not None


def test_the_hash_is_argon2id_with_salt_and_the_same_for_the_same_letters() -> None:
    one, two = passwords.hashed("café au lait, please"), passwords.hashed("café au lait, please")
    assert one != two
    assert one.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert passwords.verified(one, "cafe\u0301 au lait, please")
    assert not passwords.verified(one, "cafe au lait, please")
    assert not passwords.verified("nonsense", "x")
    assert not passwords.verified(None, "x")


def test_a_weaker_hash_is_renewed_when_its_password_is_given(
    users: Users, catalog: Catalog
) -> None:
    users.add(ANN, is_admin=True)
    weak = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(PHRASE.encode())
    with catalog.session() as session, session.begin():
        session.query(User).update({"password_hash": weak})
    assert users.with_password(ANN, "wrong password") is None
    assert users.with_password(ANN, PHRASE) is not None
    with catalog.session() as session:
        renewed = session.query(User).one().password_hash
    assert renewed is not None
    assert "m=65536" in renewed
    assert users.with_password(ANN, PHRASE) is not None


def test_roles(users: Users) -> None:
    users.add(ANN, is_admin=True)
    users.add(BOB)
    users.set_role(BOB, "other", "viewer")
    users.set_role(BOB, "demo", "viewer")
    users.set_role(BOB, "demo", "admin")
    assert list(users.get(BOB).roles.items()) == [("demo", "admin"), ("other", "viewer")]
    users.set_role(BOB, "demo", None)
    users.set_role(BOB, "demo", None)
    assert users.get(BOB).roles == {"other": "viewer"}
    for email, project, why in ((BOB, "never", "no project"), ("who@x.org", "demo", "no user")):
        with pytest.raises(CatalogError, match=why):
            users.set_role(email, project, "viewer")
    with pytest.raises(CatalogError, match="use one of viewer, analyst, admin"):
        users.set_role(BOB, "demo", "owner")  # type: ignore[arg-type]


def test_there_is_always_an_admin(users: Users) -> None:
    users.add(ANN, is_admin=True)
    ends: list[Callable[[], None]] = [
        lambda: users.set_admin(ANN, False),
        lambda: users.set_disabled(ANN, True),
        lambda: users.remove(ANN),
    ]
    for end in ends:
        with pytest.raises(CatalogError, match="last admin"):
            end()
    users.add(BOB, is_admin=True)
    users.set_disabled(BOB, True)
    with pytest.raises(CatalogError, match="last admin"):
        users.remove(ANN)  # who is disabled could let nobody in
    users.set_disabled(BOB, False)
    users.remove(ANN)
    assert [one.email for one in users.all()] == [BOB]


def test_two_admins_that_go_at_once_do_not_both(users: Users) -> None:
    for email in (ANN, BOB):
        users.add(email, is_admin=True)
    refused: list[str] = []

    def go(email: str) -> None:
        try:
            users.set_admin(email, False)
        except CatalogError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=go, args=(email,)) for email in (ANN, BOB)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 1
    assert sum(one.is_admin for one in users.all()) == 1


def test_a_link_is_used_once_even_at_the_same_moment(users: Users) -> None:
    users.add(ANN, is_admin=True)
    secret, found = users.make_link(ANN), []

    def use(i: int) -> None:
        try:
            users.use_link(secret, f"a long phrase number {i}")
            found.append(i)
        except CatalogError:
            pass

    threads = [threading.Thread(target=use, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 1
    assert users.with_password(ANN, f"a long phrase number {found[0]}") is not None


def test_a_link_runs_out(catalog: Catalog) -> None:
    now = [datetime(2026, 9, 21)]
    users = Users(catalog, lambda: now[0])
    users.add(ANN, is_admin=True)
    secret = users.make_link(ANN)
    now[0] += timedelta(hours=72)
    with pytest.raises(CatalogError, match="too old"):
        users.use_link(secret, PHRASE)
    for wrong in ("", "x", secret[:-1]):
        with pytest.raises(CatalogError, match="ask an admin"):
            users.use_link(wrong, PHRASE)


# -- By a provider.


ISSUER = "https://idp.example"


def test_a_provider_proves_who_it_is(users: Users) -> None:
    with pytest.raises(CatalogError, match="first user"):
        users.with_oidc(ISSUER, "1", ANN, domains=["example.org"])
    users.add(ANN, is_admin=True)
    bound = users.with_oidc(ISSUER, "1", ANN)
    assert (bound.id, bound.is_admin, bound.subject) == (users.get(ANN).id, True, "1")
    moved = users.with_oidc(ISSUER, "1", "new-name@example.org")
    assert moved.email == ANN  # the account counts, not what it is called today
    with pytest.raises(CatalogError, match="another account"):
        users.with_oidc(ISSUER, "2", ANN)  # the address was given to somebody else
    with pytest.raises(CatalogError, match="another account"):
        users.with_oidc("https://other.example", "1", ANN)


def test_who_is_of_a_domain_gets_an_account(users: Users) -> None:
    users.add(ANN, is_admin=True)
    for email in ("x@elsewhere.org", "x@sub.example.org", "x@notexample.org"):
        with pytest.raises(CatalogError, match="has no account here"):
            users.with_oidc(ISSUER, "9", email, domains=["example.org"], role="viewer")
    made = users.with_oidc(ISSUER, "3", BOB, name="Bob", domains=["Example.org"], role="viewer")
    assert (made.name, made.is_admin, made.has_password) == ("Bob", False, False)
    assert made.roles == {"demo": "viewer", "other": "viewer"}
    users.set_role(BOB, "demo", None)
    again = users.with_oidc(ISSUER, "3", BOB, domains=["example.org"], role="viewer")
    assert again.roles == {"other": "viewer"}  # only the first time
    users.set_disabled(BOB, True)
    with pytest.raises(CatalogError, match="disabled"):
        users.with_oidc(ISSUER, "3", BOB, domains=["example.org"])

"""Who asks: a person in a browser, a program with a token, this machine, or nobody known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from catalog.tokens import Token
from catalog.users import Person
from reports.access.needs import ROLES, Role


@dataclass(frozen=True, slots=True)
class Caller:
    """What handlers find at `flask.g.user`.

    role:     in the project of the address; where it has none, the best of all their roles
    is_admin: of everything; with a token, of nothing but what its project and scopes allow
    roles:    by project, those that the caller may see at all; of an admin none is listed
    token:    name of the token that was sent, None for a browser
    """

    id: int
    name: str
    email: str
    role: Role = "public"
    is_admin: bool = False
    roles: Mapping[str, str] = field(default_factory=dict)
    token: str | None = None
    scopes: frozenset[str] = frozenset()

    @property
    def actor(self) -> str:
        """How the audit log calls them."""
        return self.email if self.token is None else f"{self.email} (token {self.token!r})"

    def role_in(self, project: str | None) -> Role | None:
        """Their role in a project, None where it is not there for them."""
        if self.is_admin:
            return "admin"
        if project is not None:
            return _role(self.roles[project]) if project in self.roles else None
        # Without a project, an admin is one of everything; of a project it is not enough.
        best = max((rank(_role(role)) for role in self.roles.values()), default=0)
        return ROLES[min(max(best, rank("viewer")), rank("analyst"))]

    def may(self, role: Role, project: str) -> bool:
        """Whether they have this role in a project, or one that may more."""
        mine = self.role_in(project)
        return mine is not None and rank(mine) >= rank(role)


NOBODY = Caller(0, "", "nobody")
# Whoever sits at this machine while there are no users: nobody could have let them in.
LOCAL = Caller(0, "local", "local", is_admin=True)


def of_person(person: Person) -> Caller:
    """A person in a browser."""
    return Caller(
        person.id, person.name, person.email, is_admin=person.is_admin, roles=person.roles
    )


def of_token(token: Token, person: Person) -> Caller:
    """A program: its user's role, in the token's project only, and never admin of everything."""
    role = "admin" if person.is_admin else person.roles.get(token.project)
    return Caller(
        person.id,
        person.name,
        person.email,
        roles={token.project: role} if role else {},
        token=token.name,
        scopes=frozenset(token.scopes),
    )


def rank(role: Role) -> int:
    """Higher may do more."""
    return ROLES.index(role)


def _role(text: str) -> Role:
    """As the catalogue keeps it; what is not known there is worth nothing."""
    found: Role = next((role for role in ROLES if role == text), "public")
    return found

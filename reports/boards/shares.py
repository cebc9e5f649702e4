"""Links that show one board to whoever has them, and nothing else; until they are taken back."""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from catalog.documents import Document, Documents
from catalog.store import CatalogError

KIND = "board_share"
MOST_DAYS = 3660


@dataclass(frozen=True)
class Share:
    """A link that is there. id: names it to those who manage it, and opens nothing."""

    id: str
    project: str
    board: str
    author: str
    created_at: datetime
    expires_at: datetime | None

    @property
    def is_over(self) -> bool:
        """It opens nothing any more."""
        return self.expires_at is not None and self.expires_at <= datetime.now(UTC)


class Shares:
    """The links of all projects. Kept is a hash of each link's secret, never the secret."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    def make(self, project: str, board: str, *, days: int | None, author: str) -> tuple[str, Share]:
        """A new link's token, which can be read only now. days: it ends by itself after these.

        Links of the project that are over go.
        """
        for one in map(_share, self._documents.all(project, KIND)):
            if one.is_over:
                with suppress(CatalogError):  # somebody else takes it away
                    self.revoke(project, one.id)
        token = secrets.token_urlsafe(32)
        ends = None if days is None else (datetime.now(UTC) + timedelta(days)).isoformat()
        body = {"board": board, "expires_at": ends}
        return token, _share(self._documents.put(project, KIND, _hash(token), body, author=author))

    def of(self, project: str, board: str) -> list[Share]:
        """The links of a board, oldest first."""
        found = map(_share, self._documents.all(project, KIND))
        return sorted((s for s in found if s.board == board), key=lambda share: share.created_at)

    def opened(self, token: str) -> Share | None:
        """What a token opens; None for one that is unknown, taken back or over."""
        found = map(_share, self._documents.named_anywhere(KIND, _hash(token)))
        return next((share for share in found if not share.is_over), None)

    def revoke(self, project: str, share: str) -> None:
        """Take it back. Raises CatalogError where there is none."""
        self._documents.remove(project, KIND, share)

    def forget(self, project: str, board: str) -> None:
        """Take back all links of a board."""
        for share in self.of(project, board):
            self.revoke(project, share.id)


def _hash(token: str) -> str:
    return sha256(token.encode()).hexdigest()


def _share(document: Document) -> Share:
    body: dict[str, Any] = document.body
    ends = body.get("expires_at")
    return Share(
        id=document.id,
        project=document.project,
        board=body["board"],
        author=document.author,
        created_at=document.created_at,
        expires_at=datetime.fromisoformat(ends) if ends else None,
    )

"""Which values of a number's dimensions stand for themselves: the first ones, up to a cap.

Kept, so that a run that takes over from another puts the same events under the same name: what is
not among them is counted as `(other)`, then and now.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from catalog.models import DimensionValue
from catalog.store import Catalog

_TRIES = 5


class DimensionValues:
    """Of all projects. A value is all dimensions of a number, as the JSON text that keys them."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def admit(self, project: str, statistic: str, values: Iterable[str], cap: int) -> set[str]:
        """Those that stand for themselves: the known ones, and new ones while there is room.

        Of several new ones the first in their own order, so that the same events admit the same.
        Raises SQLAlchemyError where the catalogue cannot be written.
        """
        asked = sorted(set(values))
        for _ in range(_TRIES - 1):
            try:
                return self._admit(project, statistic, asked, cap)
            except IntegrityError:  # another worker admitted one of them just now
                continue
        return self._admit(project, statistic, asked, cap)

    def _admit(self, project: str, statistic: str, asked: list[str], cap: int) -> set[str]:
        own = (DimensionValue.project == project, DimensionValue.statistic == statistic)
        with self._catalog.session() as session, session.begin():
            known = set(session.scalars(select(DimensionValue.value).where(*own)))
            room = max(0, cap - len(known))
            new = [value for value in asked if value not in known][:room]
            session.add_all(
                DimensionValue(project=project, statistic=statistic, value=v) for v in new
            )
        return known | set(new)

    def count(self, project: str, statistic: str) -> int:
        """How many there are."""
        query = select(func.count()).where(
            DimensionValue.project == project, DimensionValue.statistic == statistic
        )
        with self._catalog.session() as session:
            return session.scalar(query) or 0

"""Restrictions without an end, for splittable functions: numbers from a first one on."""

from __future__ import annotations

from typing import Any

from apache_beam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from apache_beam.transforms.core import RestrictionProvider


class EndlessTracker(OffsetRestrictionTracker):
    """Numbers that have no end."""

    def is_bounded(self) -> bool:
        return False


class Endless(RestrictionProvider):
    """Numbers from a first one on; a subclass says which, in `initial_restriction`."""

    tracker = EndlessTracker

    def create_tracker(self, restriction: OffsetRange) -> EndlessTracker:
        return self.tracker(restriction)

    def restriction_size(self, element: Any, restriction: OffsetRange) -> int:
        return 1

    def truncate(self, element: Any, restriction: OffsetRange) -> None:
        return None  # a drain ends the reading

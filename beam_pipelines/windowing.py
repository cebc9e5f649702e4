"""When live numbers are emitted."""

from __future__ import annotations

from dataclasses import dataclass

import apache_beam as beam
from apache_beam.transforms.trigger import (
    AccumulationMode,
    AfterCount,
    AfterProcessingTime,
    AfterWatermark,
    Repeatedly,
)
from apache_beam.transforms.window import FixedWindows, GlobalWindows
from apache_beam.utils.timestamp import Duration

# A collector that stands still after it has stamped an event keeps it back this long at most
# before Beam would drop it from its live minute. (The archive has no such limit.)
STALL_S = 600


@dataclass(frozen=True)
class LivePolicy:
    """Minutes of event time, seen at once and corrected as long as events still come.

    size_s:    length of a window
    early_s:   time between two panes of a window that is still open
    horizon_s: how much later than event_time an event may be received and still count
    """

    size_s: int = 60
    early_s: int = 1
    horizon_s: int = 600

    def __post_init__(self) -> None:
        if self.size_s <= 0 or self.early_s <= 0 or self.horizon_s < self.size_s:
            raise ValueError(f"{self}: sizes must be positive and the horizon at least one window")

    def apply(self) -> beam.WindowInto:
        """First a pane a second, then one when the minute is over, then one per late arrival.

        Panes accumulate: each replaces the one before, so a writer upserts and never adds.
        """
        return beam.WindowInto(
            FixedWindows(self.size_s),
            trigger=AfterWatermark(
                early=Repeatedly(AfterProcessingTime(self.early_s)), late=AfterCount(1)
            ),
            accumulation_mode=AccumulationMode.ACCUMULATING,
            allowed_lateness=Duration(seconds=self.horizon_s + STALL_S),
        )


def gather(every_s: int | None) -> beam.WindowInto:
    """Whatever came within `every_s`, once; 0: each thing as it comes; None: all, at the end.

    For writers that want few large pieces. Bounded input takes None: the pure-Python runner has
    no clock there.
    """
    if every_s is None:
        return beam.WindowInto(GlobalWindows())
    return beam.WindowInto(
        GlobalWindows(),
        trigger=Repeatedly(AfterProcessingTime(every_s) if every_s else AfterCount(1)),
        accumulation_mode=AccumulationMode.DISCARDING,
    )

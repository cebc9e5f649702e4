"""What people define in the catalogue while a pipeline runs: read anew every few seconds.

A side input that changes slowly, without the side input: every worker asks the catalogue itself,
because not every runner can refresh a side input of a stream, and a definition that comes some
seconds late on one worker only begins to count some seconds later.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from catalog.dimension_values import DimensionValues
from catalog.metrics import MetricStore
from catalog.store import Catalog
from transforms.caps import CAP
from transforms.own_metrics import MetricDefinition

log = logging.getLogger(__name__)
Definitions = Mapping[str, Sequence[MetricDefinition]]
_ADMITTED: dict[tuple[str, str, str], frozenset[str]] = {}
_KNOWN: dict[str, tuple[float, Definitions]] = {}
_LOCK = threading.Lock()


@cache
def _opened(url: str) -> Catalog:
    """One for all threads of a worker, with one pool of connections."""
    return Catalog(url)


@dataclass(frozen=True)
class OwnMetrics:
    """Call it for the definitions by project, at most `every_s` old.

    catalog: SQLAlchemy URL; "": there are none. One copy serves all threads of a worker; while the
    catalogue cannot be read the copy in hand stays in use.
    """

    catalog: str = ""
    every_s: float = 5.0

    def __call__(self) -> Definitions:
        if not self.catalog:
            return {}
        with _LOCK:
            read_at, known = _KNOWN.get(self.catalog, (float("-inf"), {}))
            if time.monotonic() - read_at < self.every_s:
                return known
            try:
                known = MetricStore(_opened(self.catalog)).all()
            except Exception as error:  # numbers that are there go before one that may be new
                log.warning("definitions of metrics not read anew: %s", type(error).__name__)
            _KNOWN[self.catalog] = (time.monotonic(), known)
        return known


@dataclass(frozen=True)
class Admitted:
    """Call it for the dimension values, of those asked, that stand for themselves.

    catalog: SQLAlchemy URL; "": all of them do

    Each worker remembers them; only a new value asks the catalogue, and none once the cap is
    reached. An error there goes on to the runner: guessing would put the same events under two
    names in two runs.
    """

    catalog: str = ""
    cap: int = CAP

    def __call__(self, project: str, statistic: str, values: Iterable[str]) -> Container[str]:
        wanted = set(values)
        if not self.catalog:
            return wanted
        key = self.catalog, project, statistic
        with _LOCK:
            known = _ADMITTED.get(key, frozenset())
            if len(known) < self.cap and not wanted <= known:
                registry = DimensionValues(_opened(self.catalog))
                known = frozenset(registry.admit(project, statistic, wanted, self.cap))
                _ADMITTED[key] = known
        return known


NO_OWN, ALL = OwnMetrics(), Admitted()

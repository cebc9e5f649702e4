"""Which files a warehouse table consists of now, read from the Iceberg catalogue."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError

from schemas_avro.tables import CATALOG_FILE, NAMESPACE, RECEIVED_UNTIL, RETIRED, Table
from transforms.retired import Retired


@dataclass(frozen=True)
class Files:
    """One snapshot of a table. Empty where the table is not there yet.

    received_until: latest received_time in it, us; None where it does not say
    retired:        what retention took out of it so far
    """

    paths: tuple[str, ...] = ()
    rows: int = 0
    committed_at: int | None = None
    received_until: int | None = None
    retired: Retired = field(default_factory=Retired)


class WarehouseFiles:
    """Looks tables up. A snapshot's list of files is read once and then remembered."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self._known: dict[str, tuple[int, Files]] = {}

    def of(self, spec: Table) -> Files:
        """The newest snapshot."""
        if not os.path.exists(f"{self.directory}/{CATALOG_FILE}"):
            return Files()
        catalog = SqlCatalog(
            NAMESPACE,
            uri=f"sqlite:///{self.directory}/{CATALOG_FILE}",
            warehouse=f"file://{self.directory}",
        )
        try:
            table = catalog.load_table(spec.identifier)
        except (NoSuchTableError, NoSuchNamespaceError):
            return Files()
        finally:
            catalog.close()
        snapshot = table.current_snapshot()
        if snapshot is None:
            return Files()
        known = self._known.get(spec.name)
        if known is None or known[0] != snapshot.snapshot_id:
            summary = snapshot.summary.additional_properties if snapshot.summary else {}
            until = summary.get(RECEIVED_UNTIL)
            paths = [t.file.file_path.removeprefix("file://") for t in table.scan().plan_files()]
            files = Files(
                paths=tuple(sorted(paths)),
                rows=int(summary.get("total-records", 0)),
                committed_at=snapshot.timestamp_ms * 1000,
                received_until=int(until) if until else None,
                retired=Retired.from_json(summary.get(RETIRED, "{}")),
            )
            known = self._known[spec.name] = (snapshot.snapshot_id, files)
        return known[1]

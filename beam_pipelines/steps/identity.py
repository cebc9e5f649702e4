"""Archive files -> files of the identity tables: edges with evidence, and the person of each id."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass

import apache_beam as beam
import pyarrow.parquet as pq
from apache_beam.pvalue import PCollection, TaggedOutput

from beam_pipelines.connectors.exact_tables import write_rows
from beam_pipelines.connectors.warehouse import Warehouse
from beam_pipelines.counters import count
from beam_pipelines.steps.columns import pack, unpack
from beam_pipelines.steps.counted import File, Piece, read_piece
from beam_pipelines.work import tell_done
from schemas_avro.tables import IDENTITIES, IDENTITY_EDGES
from transforms.identity import LINKING, NEEDS, Node, edges_of, identities, judged, merged


@dataclass
class IdentityFiles(beam.PTransform):
    """Files of the archive -> paths of Parquet files: `edges` and `identities`. Bounded.

    Memory holds the different pairs of ids of one project. In any order of files the same bytes.

    max_links:  see transforms.identity.judged
    taken_back: ids that join nobody
    """

    max_links: int
    taken_back: Set[Node]
    warehouse: str
    work: str

    EDGES, IDENTITIES = "edges", "identities"

    def expand(self, files: PCollection[File]) -> dict[str, PCollection[str]]:
        written = (
            files
            | "Pieces" >> beam.FlatMap(_linking_pieces)
            | "Spread" >> beam.Reshuffle()
            | "Edges" >> beam.ParDo(_Edges(self.work))
            | "ByProject" >> beam.GroupByKey()
            | "Write"
            >> beam.ParDo(_Write(self.max_links, self.taken_back, self.warehouse)).with_outputs(
                self.IDENTITIES, main=self.EDGES
            )
        )
        return {name: written[name] for name in (self.EDGES, self.IDENTITIES)}


def _linking_pieces(file: File) -> Iterator[Piece]:
    """Row groups that may hold events of the types; files are sorted by type."""
    with pq.ParquetFile(file.path) as opened:
        column = opened.schema_arrow.names.index("type")
        for group in range(opened.num_row_groups):
            there = opened.metadata.row_group(group)
            known = there.column(column).statistics
            if known is None or known.min is None or known.min <= max(LINKING):
                yield Piece(file, group, there.num_rows)


class _Edges(beam.DoFn):
    """Piece -> (project, packed edges)."""

    def __init__(self, work: str) -> None:
        self._work = work

    def process(self, piece: Piece) -> Iterator[tuple[str, bytes]]:
        found = edges_of(read_piece(piece, NEEDS))
        for (project,), part in found.partition_by("project", as_dict=True).items():
            yield project, pack(part)
        tell_done(self._work, piece.rows)


class _Write(beam.DoFn):
    """All edges of a project -> paths of its files, which no table has yet."""

    def __init__(self, max_links: int, taken_back: Set[Node], warehouse: str) -> None:
        self._max_links, self._taken_back = max_links, taken_back
        self._directory = warehouse

    def process(self, element: tuple[str, Iterable[bytes]]) -> Iterator[str | TaggedOutput]:
        warehouse = Warehouse(self._directory)
        edges = judged(merged(map(unpack, element[1])), self._max_links, self._taken_back)
        yield from write_rows(warehouse, IDENTITY_EDGES, edges)
        people = identities(edges)
        count("identities_computed", people.height)
        for path in write_rows(warehouse, IDENTITIES, people):
            yield TaggedOutput(IdentityFiles.IDENTITIES, path)

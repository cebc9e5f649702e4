"""What archive files tell of repeats: which of them hold none, and which hold nothing else.

Compaction writes the rows of a day that do not count apart, as table `repeats` has them. Whoever
counts events then reads the one kind of file and not the other, without comparing rows. Which of
two copies counts can change later, when an import brings an older one: so the file has a mark of
what `repeats` said of its rows, and who reads it compares that with what it says now.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

import polars as pl

from transforms.positions import Positions

ONCE, COPIES = "once", "copies"
AROUND_DAYS = 1  # a day of UTC lies on so many more days of a project, on either side
KNOWN = {"project": pl.String(), "producer": pl.String(), "seq": pl.Int64(), "row": pl.Int32()}


def suffix(kind: str) -> str:
    """What the name of a file that holds only ONCE or only COPIES ends with, before `.parquet`."""
    return f"-{kind}"


def kind_of(path: str) -> str | None:
    """ONCE or COPIES by the file's name; None where it may hold both."""
    kind = path.removesuffix(".parquet").rpartition("-")[2]
    return kind if kind in (ONCE, COPIES) else None


@dataclass(frozen=True)
class Mark:
    """What `repeats` said of one file's rows when it was written.

    blocks: those of the rows
    states: of each project with copies in these blocks, here or in other files, a digest of which
            rows they are. A new copy comes in a new block: what lies here already stays true
    """

    blocks: Positions
    states: Mapping[str, str]

    @classmethod
    def of(cls, blocks: Positions, known: pl.DataFrame) -> Mark:
        """By the rows of `repeats` of the days around the file's, of all projects, as in KNOWN."""
        return cls(blocks, _states(blocks, known))

    def is_true(self, known: pl.DataFrame) -> bool:
        """Does `repeats` say the same now? known: as in `of`."""
        return _states(self.blocks, known) == self.states

    def is_true_of(self, project: str, known: pl.DataFrame) -> bool:
        """The same for the rows of one project; `known` has its rows only."""
        return _states(self.blocks, known).get(project) == self.states.get(project)

    def to_json(self) -> str:
        """As the file's metadata has it."""
        return json.dumps({"blocks": self.blocks.to_json(), "states": dict(self.states)})

    @classmethod
    def from_json(cls, text: str | bytes) -> Mark:
        """Inverse of to_json."""
        said = json.loads(text)
        return cls(Positions.from_json(said["blocks"]), said["states"])


def _states(blocks: Positions, known: pl.DataFrame) -> dict[str, str]:
    there = known.select("producer", "seq").unique()
    held = there.filter([blocks.holds(producer, seq) for producer, seq in there.iter_rows()])
    rows = known.join(held, on=["producer", "seq"], how="semi").select(*KNOWN).sort(*KNOWN)
    return {
        project: sha256(part.write_csv().encode()).hexdigest()[:32]
        for (project,), part in rows.partition_by("project", as_dict=True).items()
    }

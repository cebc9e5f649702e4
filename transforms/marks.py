"""What a file of events says of itself: that none of its rows is a copy, or that all of them are.

Compaction parts the rows of a day by table `repeats`. Which of two copies counts can change later,
when an import brings an older one. So the file says too by which rows of `repeats` it was parted,
and who reads it compares them with the table as it is now.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b

import polars as pl

from transforms.positions import Positions

KNOWN = {"project": pl.String(), "producer": pl.String(), "seq": pl.Int64(), "row": pl.Int32()}
# A day in a project's zone lies on up to three of UTC, so the copies of a day of UTC on these.
DAYS_AROUND = range(-1, 2)


@dataclass(frozen=True)
class Mark:
    """Of one file of `events`, which never changes.

    copies: are all rows copies, or is none?
    blocks: those of the rows
    states: of each project that has copies in these blocks a digest of which rows they are. New
            copies come in new blocks: they change nothing here
    """

    copies: bool
    blocks: Positions
    states: Mapping[str, str]

    @classmethod
    def of(cls, copies: bool, blocks: Positions, known: pl.DataFrame) -> Mark:
        """Of a file that was parted by `known`: rows of `repeats` around its day, as in KNOWN."""
        return cls(copies, blocks, _states(blocks, known))

    def is_true(self, known: pl.DataFrame, project: str | None = None) -> bool:
        """Is it so by `repeats` as it is now? known: as in `of`. project: for the rows of this one.

        Without one `known` has the rows of all projects.
        """
        now = _states(self.blocks, known)
        if project is None:
            return now == self.states
        return now.get(project) == self.states.get(project)

    def to_json(self) -> str:
        """As stored in the file's metadata."""
        blocks = json.loads(self.blocks.to_json())
        return json.dumps({"copies": self.copies, "blocks": blocks, "states": dict(self.states)})

    @classmethod
    def from_json(cls, text: str | bytes) -> Mark:
        """Inverse of to_json."""
        said = json.loads(text)
        return cls(said["copies"], Positions.from_json(json.dumps(said["blocks"])), said["states"])


def _states(blocks: Positions, known: pl.DataFrame) -> dict[str, str]:
    there = known.select("producer", "seq").unique()
    held = there.filter([blocks.holds(producer, seq) for producer, seq in there.iter_rows()])
    rows = known.join(held, on=["producer", "seq"], how="semi").select(*KNOWN).sort(*KNOWN)
    return {
        project: blake2b(part.write_csv().encode(), digest_size=16).hexdigest()
        for (project,), part in rows.partition_by("project", as_dict=True).items()
    }

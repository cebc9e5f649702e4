"""The contract: one `.avsc` per record on a wire or in a table, and what is derived from it."""

from schemas_avro.record import Field, Record, load, names

__all__ = ["Field", "Record", "load", "names"]

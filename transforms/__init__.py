"""The meaning of every number: pure functions on column batches. No Beam, Flask, SQL or I/O."""

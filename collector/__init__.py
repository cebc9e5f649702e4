"""The front door: HTTP in, durable Avro blocks out. 200 means on disk."""

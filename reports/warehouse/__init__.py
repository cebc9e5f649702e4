"""Exact tables and raw events: DuckDB over the Iceberg files."""

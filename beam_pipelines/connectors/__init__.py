"""Sources and sinks, chosen by URI: `spool:`, `sqlite:`, `iceberg:`."""

"""Live numbers: a small port and one module per store."""

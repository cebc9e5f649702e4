"""Wiring: sources, windows and sinks around `transforms`. One code base, streaming and batch."""

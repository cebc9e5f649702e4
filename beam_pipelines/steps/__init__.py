"""Beam twins of `transforms`: keys, windows and calls here, arithmetic there."""

"""Where accepted events are handed over: one port, one module per bus."""

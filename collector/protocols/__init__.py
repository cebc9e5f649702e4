"""One module per client protocol: its messages in, candidates out."""

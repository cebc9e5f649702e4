"""The whole system on one machine: starts the other packages' processes and keeps them up."""

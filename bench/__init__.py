"""Measured claims: Stagekeeper beside its peers, same machine, same data, one run. `make bench` runs it."""

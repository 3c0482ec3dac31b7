"""Measure the oracle beside its peers: graphs with a known derivative, the parts of one table, and its writer."""

"""Paired measurements of the engine and of checking. `python -m benchmarks run --quick`."""

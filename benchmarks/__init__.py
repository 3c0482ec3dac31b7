"""Paired measurements of the engine, of checking, of programs and of start-up: ``python -m benchmarks run --quick``."""

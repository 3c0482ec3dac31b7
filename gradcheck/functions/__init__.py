"""Judging one function from one call: at the input it was given, then at drawn variations of it."""

"""Judging one observed Function: at the input it was first given, then at drawn variations of it."""

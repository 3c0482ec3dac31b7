"""Numerical derivatives with an error estimate, and what a comparison with them establishes. Knows no engine."""

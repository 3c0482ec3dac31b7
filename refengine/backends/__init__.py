"""Array backends: the namespace that rules are written against, and what speaks it."""

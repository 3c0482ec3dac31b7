"""The declared ops, one file a topic."""

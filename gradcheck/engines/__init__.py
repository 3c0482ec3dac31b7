"""Adapters of autograd engines: one file each, the protocol they obey and their registry."""

"""What runs under ``--gradcheck``: checks of what users call, the property suite as pytest items, the summary."""

"""What runs under ``--gradcheck``: the property suite as pytest items, the replay of cases, the summary."""

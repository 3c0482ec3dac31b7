"""What a user's tests call while they run: noticed, copied, and left as it was. Knows no pytest and no verdict."""

"""What a person reads: results of single checks and of runs."""

"""Functions with a mistake planted in each, and their right twins."""

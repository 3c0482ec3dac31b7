"""What a diagnosis rests on: measured slopes, the patterns that they may show, and probes beside the point."""

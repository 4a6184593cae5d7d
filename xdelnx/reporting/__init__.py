"""A page about a fit: what was asked and found, what looks off, and how to repeat it."""

"""Compiled loops over samples and genes, and the backend that hands them out by name."""

"""Comparisons with other packages and with the truth: what is claimed, and the scripts that show it."""

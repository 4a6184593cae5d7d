"""Counts in and results out: Zarr stores, AnnData files and tables."""

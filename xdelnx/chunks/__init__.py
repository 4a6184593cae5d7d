"""Blocks of genes as Dask tasks: the passes over the counts. The only room that knows Dask and devices."""

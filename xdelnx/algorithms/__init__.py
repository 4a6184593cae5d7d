"""The method on arrays, one module for each of its steps: no labels, chunks or devices."""

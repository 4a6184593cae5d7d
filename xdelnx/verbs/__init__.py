"""What people ask of a Dataset: fit, test, pseudobulk, and the rest of the public functions."""

"""The kernels on a card: CUDA C that is translated from the Numba kernels, and what launches it."""

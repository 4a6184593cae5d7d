"""The counts of a few genes, with every sum over samples that the algorithms ask for.

The algorithms see genes, kinds and parameters only; what a sum over samples costs, and on
which device it runs, is decided here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from xdelnx.backend import Backend

Array = Any  # an array of the backend's namespace


@dataclass(frozen=True)
class Observations:
    """Counts of some genes and the samples' scale, ordered by kind.

    Parameters
    ----------
    backend
        Namespace and kernels.
    y
        (gene, sample) counts, float64.
    scale
        (1 or gene, sample): exponential of the offset, that is, the size factor.
    starts
        (kind + 1,): where each kind begins.
    """

    backend: Backend
    y: Array
    scale: Array
    starts: Array

    def _sums(self, name: str, *arguments: Array) -> Any:
        return self.backend.kernel(name)(*arguments)

    def totals(self) -> Array:
        """Sum of the counts by kind: (gene, kind)."""
        return self._sums("kind_totals", self.y, self.starts)

    def scale_totals(self) -> Array:
        """Sum of the scale by kind: (1 or gene, kind)."""
        return self._sums("kind_totals", self.scale, self.starts)

    def start(self, rate: Array, theta: Array) -> Any:
        """Weights and weighted responses of a least-squares step from the data: (gene, kind) each."""
        return self._sums("start_sums", self.y, self.scale, self.starts, rate, theta)

    def newton(self, m: Array, theta: Array, rows: Array) -> Any:
        """Score and observed information by kind: (active, kind) each."""
        return self._sums("newton_sums", self.y, self.scale, self.starts, m, theta, rows)

    def fisher(self, m: Array, theta: Array, rows: Array) -> Array:
        """Return the expected information by kind: (active, kind)."""
        return self._sums("fisher_sums", self.scale, self.starts, m, theta, rows)

    def deviance(self, m: Array, theta: Array, rows: Array) -> Array:
        """Deviance: (active,)."""
        return self._sums("deviance_sums", self.y, self.scale, self.starts, m, theta, rows)

    def dispersion_counts(self, theta: Array, rows: Array) -> Array:
        """Derivatives in theta of the terms without the mean: (active, 2)."""
        return self._sums("dispersion_count_sums", self.y, theta, rows)

    def dispersion_means(self, m: Array, theta: Array, rows: Array) -> Any:
        """Derivatives in theta of the terms with the mean, (active, 2), and w, w^2, w^3 by kind."""
        return self._sums("dispersion_mean_sums", self.y, self.scale, self.starts, m, theta, rows)

"""The counts of a few genes at the nodes that stand for the samples along a covariate."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from xdelnx.algorithms.covariate import CovariateNodes
from xdelnx.algorithms.observations import DenseObservations, mean_and_variance
from xdelnx.kernels.backend import Backend

Array = Any


@dataclass(frozen=True)
class NodeObservations:
    """What of the counts falls to each node, and the counts where no mean is asked for.

    The sums of `xdelnx.algorithms.observations.Observations`; the kinds are those of the nodes.

    Parameters
    ----------
    backend
        Namespace and kernels.
    places
        The nodes.
    nodes
        The count of each node, by its weight: every term with a mean is linear in the count, so that the weighted
        nodes are summed over like samples.
    values, ends
        Non-zero counts, flat, and where each gene's begin.
    n_samples
        Number of samples.
    """

    backend: Backend
    places: CovariateNodes
    nodes: DenseObservations
    values: Array
    ends: Array
    n_samples: int

    @property
    def total_weight(self) -> Any:
        """Number of samples."""
        return self.n_samples

    def average(self, by_sample: Array) -> Array:
        """Mean of numbers by sample."""
        return self.backend.xp.mean(by_sample[None, :], axis=1)

    def moments(self) -> tuple[Array, Array]:
        """Mean and sample variance."""
        total = self.backend.xp.sum(self.nodes.totals(), axis=1)
        return mean_and_variance(self.backend, self.values, self.ends, total / self.n_samples, self.n_samples)

    def totals(self) -> Array:
        """Sum of the counts by kind."""
        return self.nodes.totals()

    def scale_totals(self) -> Array:
        """Sum of the scale by kind."""
        return self.nodes.scale_totals()

    def weight_totals(self) -> Array:
        """How many samples each kind stands for: a weight, which may be negative."""
        return self.nodes.weight_totals()

    def first_step(self, rate: Array, theta: Array) -> tuple[Array, Array]:
        """Weights and weighted responses of a first least-squares step, those of a stratum at all its kinds."""
        xp, pooled = self.backend.xp, self.backend.kernel("kind_totals")
        strata, kinds = self.backend.xp.asarray(self.places.strata), self.weight_totals()
        sums = [pooled(values, strata) for values in (self.totals(), self.scale_totals(), kinds)]
        weight, response = self.backend.kernel("start_of_kinds")(*sums, rate, theta)
        sizes = strata[1:] - strata[:-1]
        share = kinds / xp.repeat(sums[2], sizes, axis=1)
        return xp.repeat(weight, sizes, axis=1) * share, xp.repeat(response, sizes, axis=1) * share

    def newton(self, m: Array, theta: Array, rows: Array) -> Any:
        """Score and observed information."""
        return self.nodes.newton(m, theta, rows)

    def fisher(self, m: Array, theta: Array, rows: Array) -> Array:
        """Return the expected information."""
        return self.nodes.fisher(m, theta, rows)

    def deviance(self, m: Array, theta: Array, rows: Array) -> Array:
        """Deviance."""
        nodes, log_scale = self.nodes, self.backend.xp.log(self.nodes.scale[0, :])
        of_mean = self.backend.kernel("node_deviance_sums")(
            nodes.y, nodes.scale[0, :], log_scale, nodes.weights[0, :], nodes.starts, m, theta, rows
        )
        return of_mean + self.backend.kernel("count_deviance_sums")(*self._tails, theta, rows)

    @cached_property
    def _tails(self) -> Any:
        return self.backend.kernel("count_tails")(self.values, self.ends)

    def dispersion_counts(self, theta: Array, rows: Array) -> Array:
        """Terms without the mean."""
        return self.backend.kernel("dispersion_count_sums")(*self._tails, theta, rows)

    def dispersion_means(self, m: Array, theta: Array, rows: Array) -> Any:
        """Terms with the mean."""
        return self.nodes.dispersion_means(m, theta, rows)

    def lacks_counts(self, m: Array, below: float) -> Array:
        """Whether a sample that stands for itself has an expected count below this; `follow` sees to the others."""
        alone = self.backend.xp.asarray(self.places.single.nonzero()[0])
        expected = self.backend.xp.take(m * self.scale_totals(), alone, axis=1)
        return self.backend.xp.any(expected < below, axis=1)

    def follow(self, model: Any, found: Any) -> Array:
        """Whether a fit came to its end where the nodes follow it: (gene,)."""
        return found.converged & self.places.follow(self.backend.xp, model.log_mean(found.b))

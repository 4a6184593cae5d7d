"""The counts of a few genes at the nodes that stand for the samples of a kind, or for those along a covariate.

Every term with a mean is linear in the count, so that the weighted nodes are summed over like samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from xdelnx.algorithms.covariate import CovariateNodes
from xdelnx.algorithms.observations import DenseObservations, first_step, lacks_counts
from xdelnx.kernels.backend import Backend
from xdelnx.kernels.dense import SMALLEST_MEAN

Array = Any

FOLLOWED_ABOVE = 1.1 * SMALLEST_MEAN  # expected count in a sample; pieces reach no further beyond their nodes


@dataclass(frozen=True)
class NodeObservations:
    """What of the counts falls to each node, and the terms of the counts where no mean is asked for.

    The sums of `xdelnx.algorithms.observations.Observations` that do not depend on what the kinds are.

    Parameters
    ----------
    backend
        Namespace and kernels.
    nodes
        The count of each node, by its weight.
    mean_and_variance
        (gene,) each, of the counts.
    tails
        The counts without their samples (`xdelnx.kernels.dense.count_tails`).
    n_samples
        Number of samples.
    """

    backend: Backend
    nodes: DenseObservations
    mean_and_variance: tuple[Array, Array]
    tails: tuple[Array, Array, Array]
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
        return self.mean_and_variance

    def totals(self) -> Array:
        """Sum of the counts by kind."""
        return self.nodes.totals()

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
        return of_mean + self.backend.kernel("count_deviance_sums")(*self.tails, theta, rows)

    def dispersion_counts(self, theta: Array, rows: Array) -> Array:
        """Terms without the mean."""
        return self.backend.kernel("dispersion_count_sums")(*self.tails, theta, rows)

    def dispersion_means(self, m: Array, theta: Array, rows: Array) -> Any:
        """Terms with the mean."""
        return self.nodes.dispersion_means(m, theta, rows)


@dataclass(frozen=True)
class FactorObservations(NodeObservations):
    """Counts on the nodes that stand for the samples of each kind.

    Parameters
    ----------
    kind_scale, kind_sizes, kind_least
        (1, kind): sum of the scale over the samples of a kind, how many they are, and the smallest scale.
    """

    kind_scale: Array
    kind_sizes: Array
    kind_least: Array

    def scale_totals(self) -> Array:
        """Sum of the scale by kind."""
        return self.kind_scale

    def weight_totals(self) -> Array:
        """How many samples each kind has."""
        return self.kind_sizes

    def first_step(self, rate: Array, theta: Array) -> tuple[Array, Array]:
        """Weights and responses of a first step."""
        return first_step(self, rate, theta)

    def lacks_counts(self, m: Array, below: float) -> Array:
        """Whether a kind's expected count is below this."""
        return lacks_counts(self, m, below)

    def follow(self, model: Any, found: Any) -> Array:
        """Whether sums are smooth where there are counts: no mean is below `SMALLEST_MEAN`, a kink."""
        smooth = (model.mean(found.b) * self.kind_least > FOLLOWED_ABOVE) | (self.totals() == 0.0)
        return self.backend.xp.all(smooth, axis=1)


@dataclass(frozen=True)
class CovariateObservations(NodeObservations):
    """Counts on the nodes that stand for the samples along a covariate; the kinds are those of the nodes.

    Parameters
    ----------
    places
        The nodes.
    """

    places: CovariateNodes

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

    def lacks_counts(self, m: Array, below: float) -> Array:
        """Whether a sample that stands for itself has an expected count below this; `follow` sees to the others."""
        alone = self.backend.xp.asarray(self.places.single.nonzero()[0])
        expected = self.backend.xp.take(m * self.scale_totals(), alone, axis=1)
        return self.backend.xp.any(expected < below, axis=1)

    def follow(self, model: Any, found: Any) -> Array:
        """Whether a fit came to its end where the nodes follow it: (gene,)."""
        return found.converged & self.places.follow(self.backend.xp, model.log_mean(found.b))

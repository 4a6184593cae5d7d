"""The counts of a few genes, with every sum over samples that the algorithms ask for.

The algorithms see genes, kinds and parameters only; what a sum over samples costs, and on
which device it runs, is decided here. `DenseObservations` visits every entry;
`NonZeroObservations` sums zeros through a few weighted samples (`xdelnx.algorithms.zeros`) and visits the
non-zero counts only; those of `xdelnx.algorithms.node_observations` sum counts through these, too. They agree
to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from xdelnx.kernels.backend import Backend

Array = Any  # an array of the backend's namespace


class Observations(Protocol):
    """Sums over samples, by gene. ``m`` is the mean at scale 1, (active, kind); ``rows`` the active genes."""

    @property
    def backend(self) -> Backend:
        """Namespace and kernels."""

    @property
    def n_samples(self) -> int:
        """Number of samples."""

    @property
    def total_weight(self) -> Any:
        """Sum of the samples' weights, their number where they have none: a number or (1 or gene,)."""

    def average(self, by_sample: Array) -> Array:
        """Weighted mean of numbers (sample,) by kind: (1 or gene,)."""

    def moments(self) -> tuple[Array, Array]:
        """Mean and sample variance of the counts: (gene,) each."""

    def totals(self) -> Array:
        """Sum of the counts by kind: (gene, kind)."""

    def scale_totals(self) -> Array:
        """Sum of the scale by kind: (1 or gene, kind)."""

    def weight_totals(self) -> Array:
        """How many samples each kind has: (1 or gene, kind)."""

    def first_step(self, rate: Array, theta: Array) -> tuple[Array, Array]:
        """Weights and weighted responses of a first least-squares step, from the overall rate: (gene, kind) each."""

    def newton(self, m: Array, theta: Array, rows: Array) -> Any:
        """Score and observed information by kind: (active, kind) each."""

    def fisher(self, m: Array, theta: Array, rows: Array) -> Array:
        """Return the expected information by kind: (active, kind)."""

    def deviance(self, m: Array, theta: Array, rows: Array) -> Array:
        """Deviance: (active,)."""

    def dispersion_counts(self, theta: Array, rows: Array) -> Array:
        """Derivatives in theta of the terms without the mean: (active, 2)."""

    def dispersion_means(self, m: Array, theta: Array, rows: Array) -> Any:
        """Derivatives in theta of the terms with the mean, (active, 2), and w, w^2, w^3 by kind."""

    def lacks_counts(self, m: Array, below: float) -> Array:
        """Whether there is a kind whose samples all together have an expected count below this: (gene,)."""

    def follow(self, model: Any, found: Any) -> Array:
        """Whether these sums are what the counts say at the coefficients a model found: (gene,)."""


@dataclass(frozen=True)
class DenseObservations:
    """Every entry of the counts, ordered by kind.

    Parameters
    ----------
    backend
        Namespace and kernels.
    y
        (gene, sample) counts, float64.
    scale
        (1 or gene, sample): exponential of the offset, that is, the size factor.
    weights
        (1 or gene, sample): how often the sample counts.
    starts
        (kind + 1,): where each kind begins, on the host.
    weighted
        Whether the weights are other than 1.
    """

    backend: Backend
    y: Array
    scale: Array
    weights: Array
    starts: Array
    weighted: bool = False

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return self.y.shape[1]

    def _sums(self, name: str, *arguments: Array) -> Any:
        return self.backend.kernel(name)(self.y, self.scale, self.weights, self._starts, *arguments)

    @cached_property
    def _starts(self) -> Array:
        return self.backend.indices(self.starts)

    @property
    def total_weight(self) -> Any:
        """Sum of the samples' weights."""
        return self.backend.xp.sum(self.weights, axis=1) if self.weighted else self.n_samples

    def average(self, by_sample: Array) -> Array:
        """Weighted mean of numbers by sample."""
        return self.backend.xp.sum(by_sample[None, :] * self.weights, axis=1) / self.total_weight

    def moments(self) -> tuple[Array, Array]:
        """Mean and sample variance.

        A weight above 1 repeats the sample, so that the sum of squares is over the weights' sum less 1; weights
        below 1 are relative precisions, and an unbiased variance is over their sum less that of their squares
        divided by it. The larger of the two: they agree on weights of 0 and 1.
        """
        xp = self.backend.xp
        if not self.weighted:
            return xp.mean(self.y, axis=1), xp.var(self.y, axis=1, correction=1)
        total = self.total_weight
        mean = xp.sum(self.y * self.weights, axis=1) / total
        squares = xp.sum(self.weights * (self.y - mean[:, None]) ** 2, axis=1)
        over = xp.sum(self.weights * self.weights, axis=1) / total
        free = total - xp.where(over < 1.0, over, 1.0)
        known = free > 1e-9 * total
        return mean, xp.where(known, squares / xp.where(known, free, 1.0), 0.0)

    def _summed(self, values: Array) -> Array:
        """Weighted sum of (1 or gene, sample) by kind."""
        return self.backend.kernel("kind_totals")(
            values * self.weights if self.weighted else values, self._starts
        )

    def totals(self) -> Array:
        """Sum of the counts by kind."""
        return self._summed(self.y)

    def scale_totals(self) -> Array:
        """Sum of the scale by kind."""
        return self._summed(self.scale)

    def weight_totals(self) -> Array:
        """How many samples each kind has."""
        return self.backend.kernel("kind_totals")(self.weights, self._starts)

    def first_step(self, rate: Array, theta: Array) -> tuple[Array, Array]:
        """Weights and responses of a first step."""
        return first_step(self, rate, theta)

    def newton(self, m: Array, theta: Array, rows: Array) -> Any:
        """Score and observed information."""
        return self._sums("newton_sums", m, theta, rows)

    def fisher(self, m: Array, theta: Array, rows: Array) -> Array:
        """Return the expected information."""
        return self.backend.kernel("fisher_sums")(self.scale, self.weights, self._starts, m, theta, rows)

    def deviance(self, m: Array, theta: Array, rows: Array) -> Array:
        """Deviance."""
        return self._sums("deviance_sums", m, theta, rows)

    @cached_property
    def _tails(self) -> Any:
        if self.weighted:
            return self.backend.kernel("weighted_tails")(self.y, self.weights)
        xp = self.backend.xp
        ends = xp.arange(self.y.shape[0] + 1) * self.y.shape[1]
        return self.backend.kernel("count_tails")(xp.reshape(self.y, (-1,)), ends)

    def dispersion_counts(self, theta: Array, rows: Array) -> Array:
        """Terms without the mean."""
        sums = "weighted_count_sums" if self.weighted else "dispersion_count_sums"
        return self.backend.kernel(sums)(*self._tails, theta, rows)

    def dispersion_means(self, m: Array, theta: Array, rows: Array) -> Any:
        """Terms with the mean."""
        return self._sums("dispersion_mean_sums", m, theta, rows)

    def lacks_counts(self, m: Array, below: float) -> Array:
        """Whether a kind's expected count is below this."""
        return lacks_counts(self, m, below)

    def follow(self, model: Any, found: Any) -> Array:  # noqa: ARG002
        """Always."""
        return self.backend.xp.ones(found.b.shape[0], dtype=self.backend.xp.bool)


@dataclass(frozen=True)
class NonZeroObservations:
    """The non-zero counts of some genes, and weighted samples that stand for the zeros.

    Parameters
    ----------
    backend
        Namespace and kernels.
    zeros
        Counts of zero, one row for all genes, for the weighted samples.
    values, scale
        Non-zero counts and their samples' scale, flat, by gene and kind.
    bounds
        (gene, kind + 1): where each gene's kinds begin.
    kind_scale, kind_sizes
        (1, kind): sum of the scale over all samples of a kind, and how many they are.
    n_samples
        Number of samples.
    """

    backend: Backend
    zeros: DenseObservations
    values: Array
    scale: Array
    bounds: Array
    kind_scale: Array
    kind_sizes: Array
    n_samples: int

    @property
    def total_weight(self) -> Any:
        """Return the number of samples, which have no weights here."""
        return self.n_samples

    def average(self, by_sample: Array) -> Array:
        """Mean of numbers by sample."""
        return self.backend.xp.mean(by_sample[None, :], axis=1)

    def _differences(self, name: str, *arguments: Array) -> Any:
        return self.backend.kernel(name)(self.values, self.scale, self.bounds, *arguments)

    @property
    def _ends(self) -> Array:
        """Where each gene's counts end: (gene + 1,)."""
        return self.backend.xp.concat([self.bounds[:1, 0], self.bounds[:, -1]])

    def moments(self) -> tuple[Array, Array]:
        """Mean and sample variance."""
        mean = self.backend.xp.sum(self.totals(), axis=1) / self.n_samples
        return mean_and_variance(self.backend, self.values, self._ends, mean, self.n_samples)

    def totals(self) -> Array:
        """Sum of the counts by kind."""
        return self.backend.kernel("value_totals")(self.values, self.bounds)

    def scale_totals(self) -> Array:
        """Sum of the scale by kind."""
        return self.kind_scale

    def weight_totals(self) -> Array:
        """How many samples each kind has."""
        return self.kind_sizes

    def first_step(self, rate: Array, theta: Array) -> tuple[Array, Array]:
        """Weights and responses of a first step."""
        return first_step(self, rate, theta)

    def newton(self, m: Array, theta: Array, rows: Array) -> Any:
        """Score and observed information."""
        return _added(
            self.zeros.newton(m, theta, rows), self._differences("newton_differences", m, theta, rows)
        )

    def fisher(self, m: Array, theta: Array, rows: Array) -> Array:
        """Return the expected information."""
        return self.zeros.fisher(m, theta, rows)

    def deviance(self, m: Array, theta: Array, rows: Array) -> Array:
        """Deviance."""
        return self.zeros.deviance(m, theta, rows) + self._differences("deviance_differences", m, theta, rows)

    @cached_property
    def _tails(self) -> Any:
        return self.backend.kernel("count_tails")(self.values, self._ends)

    def dispersion_counts(self, theta: Array, rows: Array) -> Array:
        """Terms without the mean."""
        return self.backend.kernel("dispersion_count_sums")(*self._tails, theta, rows)

    def dispersion_means(self, m: Array, theta: Array, rows: Array) -> Any:
        """Terms with the mean."""
        derivatives, w1, w2, w3 = self.zeros.dispersion_means(m, theta, rows)
        return derivatives + self._differences("dispersion_differences", m, theta, rows), w1, w2, w3

    def lacks_counts(self, m: Array, below: float) -> Array:
        """Whether a kind's expected count is below this."""
        return lacks_counts(self, m, below)

    def follow(self, model: Any, found: Any) -> Array:  # noqa: ARG002
        """Always."""
        return self.backend.xp.ones(found.b.shape[0], dtype=self.backend.xp.bool)


def mean_and_variance(
    backend: Backend, values: Array, ends: Array, mean: Array, n_samples: int
) -> tuple[Array, Array]:
    """Mean and sample variance (gene,) from the mean and the non-zero counts, flat by gene."""
    squares = backend.kernel("squared_deviations")(values, ends, mean, n_samples)
    return mean, squares / (n_samples - 1.0)


def lacks_counts(observations: Observations, m: Array, below: float) -> Array:
    """Whether there is a kind with samples whose expected count is below this: (gene,)."""
    expected = m * observations.scale_totals()
    return observations.backend.xp.any((expected < below) & (observations.weight_totals() > 0.0), axis=1)


def first_step(observations: Observations, rate: Array, theta: Array) -> tuple[Array, Array]:
    """From each kind's rate with a sample of the overall rate added; nothing of a kind of weight 0."""
    xp, sizes = observations.backend.xp, observations.weight_totals()
    sums = observations.totals(), observations.scale_totals(), sizes
    weight, response = observations.backend.kernel("start_of_kinds")(*sums, rate, theta)
    if not xp.all(sizes > 0.0):  # of a kind of weight 0 both are NaN
        weight, response = (xp.where(sizes > 0.0, x, 0.0) for x in (weight, response))
    return weight, response


def _added(first: tuple[Array, Array], second: tuple[Array, Array]) -> tuple[Array, Array]:
    return first[0] + second[0], first[1] + second[1]

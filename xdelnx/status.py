"""How the fit of a gene can end, and what to do about it: failure of one gene is data, not an exception."""

from __future__ import annotations

from enum import IntEnum


class Status(IntEnum):
    """How the fit of a gene ended. Each value has a sentence of advice in `ADVICE`."""

    OK = 0
    ALL_ZERO = 1
    SEPARATED = 2
    COEFFICIENTS_NOT_CONVERGED = 3
    DISPERSION_NOT_CONVERGED = 4
    REDUCED_NOT_CONVERGED = 5
    GROUP_NOT_FITTED = 6
    OUTLIER_COUNT = 7
    NOT_ESTIMABLE = 8
    UNREADABLE = 9


ADVICE: dict[Status, str] = {
    Status.OK: "The fit converged.",
    Status.ALL_ZERO: "Every count of the gene is zero: it has no coefficients and no tests, and took no part in "
    "the trend, the prior or the adjustment of p-values.",
    Status.SEPARATED: "A group of samples has no count: a coefficient is at minus infinity and reported at a "
    "large finite value; log2 fold changes are clipped to +-10, and NaN between two groups without a count. The "
    "likelihood-ratio test is finite and valid.",
    Status.COEFFICIENTS_NOT_CONVERGED: "The coefficients did not converge: look at the gene's counts and at "
    "covariates with extreme values; do not rely on its p-value.",
    Status.DISPERSION_NOT_CONVERGED: "The dispersion did not converge: its value is the best found; the test "
    "uses the trend and is little affected.",
    Status.REDUCED_NOT_CONVERGED: "The fit of the gene without the tested coefficients did not converge: do not "
    "rely on its p-value.",
    Status.GROUP_NOT_FITTED: "The samples of the group, by which the fit was split, could not be fitted: group_note "
    "says why.",
    Status.OUTLIER_COUNT: "The count of one sample, out of line with those of its replicates, moves the coefficients "
    "far (Cook's distance, max_cooks): look at it before relying on the p-value, or fit with cooks='replace'.",
    Status.NOT_ESTIMABLE: "Weights of 0 leave the gene no more samples than there are coefficients, or none that tell "
    "some coefficients apart: it has no coefficients and no tests, and took no part in the trend, the prior or the "
    "adjustment of p-values.",
    Status.UNREADABLE: "A chunk of the store with the gene's counts is damaged or gone (the attribute unreadable says "
    "which), and skip_corrupt=True left the gene out: it has no coefficients and no tests, and took no part in size "
    "factors, trend, prior and the adjustment of p-values. Copy the chunk anew, or convert again, and fit again.",
}

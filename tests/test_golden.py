"""xdelnx against small results of R's packages that are kept with the tests (made by validation/make_golden.R).

The bars are those of `validation/quantities.py`, the same as for the large reference, with the reasons there: R stops
at a relative change of 1e-8 in the deviance (betas to 1e-3, dispersions to 1e-4), its prior search is loose (3 %),
its one dispersion for all is read off a spline through ten points (2e-2).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "validation"))

import likelihood  # noqa: E402
import quantities  # noqa: E402
from reference_cases import cases  # noqa: E402

# Library totals are what R was given; that they mislead here is said, and true.
pytestmark = pytest.mark.filterwarnings("ignore:size_factors='normed_sum' disagree")
GOLDEN = [(case, variant) for case in cases(ROOT / "tests" / "data") for variant in case.variants]
# R interpolates the one dispersion on a grid: 0.5 % off its maximum here, which moves the p-values by as much.
DIFFERENT = {("global_dispersion", "median difference of log10 p")}


def test_every_option_has_a_golden_file():
    made = {variant for _, variant in GOLDEN}
    assert made == set(quantities.VARIANTS)


@pytest.mark.parametrize(("case", "variant"), GOLDEN, ids=[f"{c.name}-{v}" for c, v in GOLDEN])
def test_golden(case, variant):
    for row in quantities.rows(case, variant):
        allowed = {"pass", "R differs"} if (variant, row.quantity) in DIFFERENT else {"pass"}
        assert row.verdict in allowed, row


def test_genes_without_counts_are_nan_and_the_others_as_if_they_were_not_there():
    case, variant = GOLDEN[0]
    both = quantities.Comparison(case, variant)
    assert not both.part.all()  # R never saw these genes
    assert both.fit["pval"].isel(gene=~both.part).isnull().all()
    assert (both.fit["status"].isel(gene=~both.part) == 1).all()


# ---- the referee ---------------------------------------------------------------------------------------------


def test_referee_agrees_with_scipy_distributions():
    rng = np.random.default_rng(0)
    y, mu = rng.poisson(20.0, (6, 3)).astype(float), rng.uniform(5.0, 40.0, (6, 3))
    theta = np.array([1e-3, 0.2, 5.0])
    exact = stats.nbinom.logpmf(y, 1.0 / theta, 1.0 / (1.0 + theta * mu)).sum(axis=0)
    saturated = stats.nbinom.logpmf(y, 1.0 / theta, 1.0 / (1.0 + theta * y)).sum(axis=0)
    # gammaln(1/theta) is of the order 1e4 at theta = 1e-3, where its rounding is 1e-12
    np.testing.assert_allclose(likelihood.deviance(y, mu, theta), 2.0 * (saturated - exact), rtol=1e-9)
    other = stats.nbinom.logpmf(y, 1.0 / theta, 1.0 / (1.0 + theta * 2.0 * mu)).sum(axis=0)
    gain = likelihood.log_likelihood(y, mu, theta) - likelihood.log_likelihood(y, 2.0 * mu, theta)
    np.testing.assert_allclose(gain, exact - other, rtol=1e-9)


@pytest.mark.parametrize(
    ("name", "quantity"),
    [
        ("dispersion", "dispersion"),
        ("dispersion_trend", "trend at untied means"),
        ("prior_df", "prior df"),
        ("size_factor", "size factors"),
        ("standard_error", "standard error against NumPy's"),
    ],
)
def test_a_wrong_result_is_not_passed(monkeypatch, name, quantity):
    """Every result a tenth too large: the table says so (and so can say that the others are right)."""
    case, variant = GOLDEN[0]
    wrong = quantities.Comparison(case, variant).fit.copy(deep=True)
    wrong[name] = wrong[name] * 1.1
    monkeypatch.setattr(quantities.Comparison, "fit", property(lambda _: wrong))
    verdicts = {row.quantity: row.verdict for row in quantities.rows(case, variant)}
    assert verdicts[quantity] != "pass"

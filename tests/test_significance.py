"""Tests and adjustment against scipy.stats."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from xdelnx.algorithms.significance import (
    benjamini_hochberg,
    likelihood_ratio_test,
    log2_fold_change,
    quasi_likelihood_test,
)

DROPS = np.array([0.0, 1e-12, 0.3, 2.0, 17.0, 400.0, 5000.0])


@pytest.mark.parametrize("df1", [1, 2, 5])
@pytest.mark.parametrize("df2", [0.7, 12.3, 29.0, 1e4])
def test_f_test(df1, df2):
    shrunken = np.linspace(0.5, 3.0, DROPS.size)
    statistic, pval = quasi_likelihood_test(DROPS, df1, shrunken, df2)
    np.testing.assert_array_equal(statistic, DROPS / df1 / shrunken)
    # both are incomplete beta functions, good to about 1e-13; far tails cost some digits
    np.testing.assert_allclose(pval, scipy.stats.f.sf(statistic, df1, df2), rtol=1e-10)


@pytest.mark.parametrize("df1", [1, 3])
def test_infinite_denominator_is_chi_squared(df1):
    shrunken = np.full(DROPS.size, 1.3)
    statistic, pval = quasi_likelihood_test(DROPS, df1, shrunken, np.inf)
    np.testing.assert_allclose(pval, scipy.stats.chi2.sf(df1 * statistic, df1), rtol=1e-12)
    _, large = quasi_likelihood_test(DROPS[:5], df1, shrunken[:5], 1e9)
    np.testing.assert_allclose(pval[:5], large, rtol=1e-6)  # the limit, to 1/df2 times the squared statistic


@pytest.mark.parametrize("df1", [1, 2, 7])
def test_likelihood_ratio(df1):
    statistic, pval = likelihood_ratio_test(DROPS, df1)
    np.testing.assert_array_equal(statistic, DROPS)
    np.testing.assert_allclose(pval, scipy.stats.chi2.sf(DROPS, df1), rtol=1e-12)


def test_a_drop_below_zero_is_rounding():
    for statistic, pval in (
        likelihood_ratio_test(np.array([-1e-9]), 1),
        quasi_likelihood_test(np.array([-1e-9]), 1, np.array([1.0]), 10.0),
    ):
        assert statistic == 0.0
        assert pval == 1.0


def test_nan_stays_nan():
    assert np.isnan(likelihood_ratio_test(np.array([np.nan]), 1)).all()
    assert np.isnan(quasi_likelihood_test(np.array([np.nan]), 1, np.array([1.0]), 10.0)).all()


@given(st.lists(st.one_of(st.floats(0.0, 1.0), st.sampled_from([0.0, 0.01, 1.0, np.nan])), max_size=60))
def test_adjustment(pval):
    pval = np.array(pval, dtype=float)
    adjusted = benjamini_hochberg(pval)
    finite = np.isfinite(pval)
    np.testing.assert_array_equal(np.isfinite(adjusted), finite)
    if finite.any():
        expected = scipy.stats.false_discovery_control(pval[finite])
        np.testing.assert_allclose(adjusted[finite], expected, rtol=1e-14)  # the order of a product


def test_each_contrast_is_adjusted_on_its_own():
    pval = np.random.default_rng(0).uniform(size=(3, 50))
    pval[1, ::7] = np.nan
    together = benjamini_hochberg(pval)
    for row, one in zip(pval, together, strict=True):
        np.testing.assert_array_equal(one, benjamini_hochberg(row))


def test_no_contrast_at_all():
    assert benjamini_hochberg(np.empty((0, 5))).shape == (0, 5)


def test_fold_changes_are_base_two_and_clipped():
    coef = np.array([0.0, np.log(2.0), -np.log(8.0), 25.0, -1e8, np.nan])
    np.testing.assert_allclose(log2_fold_change(coef), [0.0, 1.0, -3.0, 10.0, -10.0, np.nan], rtol=1e-15)

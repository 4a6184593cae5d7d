"""The centre of values of which many differ from it, and most of these to one side."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import halfnorm, norm

from xdelnx.algorithms.centring import centre
from xdelnx.algorithms.one_sided import MOST_GENES, components, moved_centre


def drawn(rng, n=2000, share=0.3, effect=0.7):
    """Values whose centre is 0, with their variances; a share of them goes up by half-normal effects."""
    variance = rng.gamma(4.0, 0.005, n)
    up = np.where(rng.random(n) < share, np.abs(rng.normal(0.0, effect, n)), 0.0)
    return up + np.sqrt(variance) * rng.normal(size=n), variance


def with_error(r, scale, error):
    """Density at r of a half-normal effect with a normal error, by quadrature."""
    return quad(
        lambda e: halfnorm.pdf(e, scale=scale) * norm.pdf(r - e, scale=error), 0.0, 30.0, points=[0.0, 2.0]
    )[0]


@pytest.mark.parametrize("r", [-0.7, 0.0, 0.15, 2.0])
def test_densities_are_those_of_a_half_normal_effect_with_a_normal_error(r):
    """To the 1e-8 of the quadrature, as shares of all of them: their common factor has no meaning."""
    scales, error = np.array([0.1, 0.5, 3.0]), 0.2
    found = components(np.array([r]), np.array([error**2]), scales).density[0]
    sides = [with_error(side * r, s, error) for side in (1.0, -1.0) for s in scales]
    expected = np.array([norm.pdf(r, scale=error), *sides])
    np.testing.assert_allclose(found / found.sum(), expected / expected.sum(), rtol=1e-8, atol=1e-12)


def test_slopes_are_the_densities_derivatives_in_the_centre():
    """Central differences with a step of 1e-5 are good to 1e-8; the common factor is taken out by a ratio."""
    x, variance, scales = np.array([-0.4, 0.02, 1.1]), np.array([0.01, 0.04, 0.09]), np.array([0.2, 1.0])

    def shares(at):
        density = components(x - at, variance, scales).density
        return density / density[:, -1:]

    parts = components(x, variance, scales)
    last = parts.slope[:, -1:] / parts.density[:, -1:]
    expected = shares(0.0) * (parts.slope / parts.density - last)
    np.testing.assert_allclose((shares(1e-5) - shares(-1e-5)) / 2e-5, expected, rtol=1e-7, atol=1e-7)


def test_changes_to_one_side_do_not_draw_the_centre():
    """The biweight is off by 0.03 here; over 30 data sets the mean error is known to a fifth of the scatter of one."""
    rng = np.random.default_rng(1)
    found = [moved_centre(*drawn(rng), 0.03) for _ in range(30)]
    at, errors = np.array(found).T
    assert abs(at.mean()) < 4.0 * at.std() / np.sqrt(30.0) + 0.001
    assert at.std() < 0.008
    assert at.std() == pytest.approx(errors.mean(), rel=0.45)  # three standard errors of a deviation of 30


def test_half_of_the_genes_may_go_up():
    x, variance = drawn(np.random.default_rng(2), share=0.5)
    assert abs(centre(x, variance).at) < 0.02  # the mean is off by 0.28


def test_a_mirror_image_has_the_mirrored_centre():
    x, variance = drawn(np.random.default_rng(3), n=500)
    assert centre(-x, variance).at == pytest.approx(-centre(x, variance).at, abs=1e-8)


@pytest.mark.parametrize("effect", ["none", "both sides", "everywhere", "heavy tails"])
def test_nothing_moves_without_a_side(effect):
    """Neither do effects of all genes, of which none says where the centre is."""
    rng = np.random.default_rng(4)
    for _ in range(10):
        x, variance = drawn(rng, share=0.0)
        if effect == "both sides":
            x = x + np.where(rng.random(x.size) < 0.3, rng.normal(0.0, 0.7, x.size), 0.0)
        elif effect == "everywhere":
            x = x + 0.3 * rng.normal(size=x.size)
        elif effect == "heavy tails":
            x = np.sqrt(variance) * rng.standard_t(5, x.size)
        assert moved_centre(x, variance, 0.0) is None


def test_few_genes_do_not_move_it():
    x, variance = drawn(np.random.default_rng(5), n=25)
    assert moved_centre(x, variance, 0.03) is None


def test_far_values_and_tiny_errors_have_densities():
    x, variance = drawn(np.random.default_rng(6), n=400)
    x[:3], variance[3:6] = (60.0, -60.0, 300.0), 1e-12
    parts = components(x, variance, np.geomspace(0.1, 600.0, 6))
    assert np.isfinite(parts.density).all()
    assert (parts.density.sum(axis=1) > 0.0).all()
    assert np.isfinite(parts.slope).all()


def test_of_many_genes_the_surest_tell():
    """Within three of its errors; and the order of the genes does not matter, but for the order of sums."""
    rng = np.random.default_rng(7)
    x, variance = drawn(rng, n=MOST_GENES + 7000)
    at, error = moved_centre(x, variance, 0.03)
    assert abs(at) < 3.0 * error
    order = rng.permutation(x.size)
    assert moved_centre(x[order], variance[order], 0.03)[0] == pytest.approx(at, abs=1e-8)

"""Leverage against statsmodels, and what must hold of it."""

import numpy as np
import pytest
import statsmodels.api as sm

from xdelnx.algorithms.basis import layout_of
from xdelnx.algorithms.compressed import Block
from xdelnx.algorithms.glm import fit_coefficients, start_from_data
from xdelnx.algorithms.influence import leverage
from xdelnx.algorithms.tiles import dense_tiles
from xdelnx.algorithms.zeros import sample_scale

N = 12
THETA = np.array([0.0, 0.05, 0.8])


def designs():
    rng = np.random.default_rng(2)
    one, group = np.ones(N), np.arange(N) % 2.0
    return {
        "groups": np.stack([one, group], 1),
        "covariate": np.stack([one, group, rng.normal(40.0, 9.0, N)], 1),
    }


def fitted(make_problem, design, *, ridge=None):
    rng = np.random.default_rng(5)
    scale = rng.lognormal(0.0, 0.4, N)
    y = rng.negative_binomial(4, 1.0 / (1.0 + scale * np.array([[1.0], [5.0], [50.0]]))).astype(float)
    problem = make_problem(y, design, scale, ridge=ridge)
    start = start_from_data(problem.model, problem.observations, THETA)
    m = problem.model.mean(fit_coefficients(problem.model, problem.observations, THETA, start).b)
    h = np.empty((THETA.size, N))
    h[:, problem.layout.order] = leverage(problem.model, problem.observations, m, THETA)
    return y, scale, h


@pytest.mark.parametrize("name", designs())
def test_against_statsmodels(make_problem, name):
    design = designs()[name]
    y, scale, h = fitted(make_problem, design)
    for g, theta in enumerate(THETA):
        family = sm.families.NegativeBinomial(alpha=theta) if theta else sm.families.Poisson()
        found = sm.GLM(y[g], design, family, offset=np.log(scale)).fit(maxiter=200, tol=1e-14)
        # its fit stops at a change of 1e-14 in the deviance
        np.testing.assert_allclose(h[g], found.get_hat_matrix_diag(observed=False), rtol=1e-6)


@pytest.mark.parametrize("name", designs())
def test_it_adds_up_to_the_coefficients(make_problem, name):
    design = designs()[name]
    _, _, h = fitted(make_problem, design)
    np.testing.assert_allclose(h.sum(1), design.shape[1], rtol=1e-12)
    assert (h > 0.0).all()
    assert (h < 1.0).all()
    _, _, penalised = fitted(make_problem, design, ridge=np.full(design.shape[1], 0.5))
    assert (penalised.sum(1) < design.shape[1]).all()


@pytest.mark.parametrize("sparse", [False, True])
def test_dense_tiles_hold_every_gene_with_a_count(sparse):
    from scipy.sparse import csc_array

    from xdelnx.kernels.backend import CPU

    counts = np.random.default_rng(0).poisson(0.1, (N, 40))
    layout = layout_of(designs()["covariate"])
    scale = sample_scale(np.ones(N), layout.starts)
    block = Block(csc_array(counts) if sparse else counts, scale)
    found = np.zeros(counts.shape)
    for tile in dense_tiles(CPU, layout, block):
        found[np.ix_(layout.order, tile.genes)] = tile.observations.y.T
    np.testing.assert_array_equal(found, counts)

"""A few nodes stand for all samples along a covariate; the fit is the one that visits every sample."""

import dask.array as da
import numpy as np
import pytest
import scipy.sparse

import xdelnx as xd
from xdelnx.algorithms.basis import basis_of, layout_of
from xdelnx.algorithms.covariate import STEEPEST, covariate_nodes
from xdelnx.algorithms.tiles import Tile
from xdelnx.chunks import passes
from xdelnx.kernels.nodes import spread
from xdelnx.scalars.negative_binomial import deviance_of_count, deviance_of_mean, unit_deviance
from xdelnx.steps import tilewise

N = 4_000
CELLS = 2_000  # of whole fits


def samples(spread_of_scale=0.4, seed=0):
    """Design of a factor and a skewed covariate, and scales."""
    rng = np.random.default_rng(seed)
    x = np.exp(0.5 * rng.standard_normal(N))
    design = np.column_stack([np.ones(N), np.arange(N) % 2 == 1, x])
    return design, np.exp(spread_of_scale * rng.standard_normal(N)), rng


def nodes_of(design, scale):
    layout = layout_of(design)
    return layout, covariate_nodes(layout, scale[layout.order])


@pytest.mark.parametrize("spread_of_scale", [0.0, 0.4, 1.2])
@pytest.mark.parametrize("slope", [0.0, 0.3, -1.0, 1.0])
def test_sums_over_nodes_are_sums_over_samples(spread_of_scale, slope):
    """``slope`` as a share of the steepest that is allowed across a box."""
    design, scale, rng = samples(spread_of_scale)
    layout, nodes = nodes_of(design, scale)
    assert nodes.size < 0.6 * N
    counts = rng.poisson(scale * np.exp(0.3 * design[:, 2])).astype(float)
    rows = nodes.rows(layout.design)
    across = np.abs(rows[nodes.boxes[:, 1], 2] - rows[nodes.boxes[:, 0], 2]).max()
    beta = np.array([-1.0, 0.7, slope * STEEPEST / across])
    mu, kind = scale * np.exp(design @ beta), np.repeat(np.arange(len(rows)), np.diff(nodes.samples.starts))
    at = nodes.samples.scale * np.exp(rows @ beta)[kind]
    of_counts = spread(counts, np.arange(N, dtype=np.int32), np.array([0, N]), *nodes.spread_arguments)[0]
    for theta in (1e-3, 0.5, 20.0):
        for function in (
            lambda mean, t=theta: np.log1p(t * mean) / t,
            lambda mean, t=theta: mean / (1 + t * mean),
            lambda mean, t=theta: (mean / (1 + t * mean)) ** 3,
        ):
            for by_sample, by_node in ((np.ones(N), nodes.samples.weights), (counts, of_counts)):
                for x_there, x_here in ((1.0, 1.0), (rows[kind, 2], design[:, 2])):
                    # 2e-12 of the largest term by the nodes, the rest by the order of N terms
                    assert np.sum(by_node * x_there * function(at)) == pytest.approx(
                        np.sum(by_sample * x_here * function(mu)), rel=5e-11
                    )


def test_nodes_do_not_grow_with_samples():
    def size(n):
        x = np.random.default_rng(1).uniform(-1.0, 1.0, n)
        return nodes_of(np.column_stack([np.ones(n), x]), np.exp(np.linspace(-1, 1, n)))[1].size

    assert size(10_000) == size(80_000) == 16 * 16


def test_designs_that_have_no_nodes():
    design, scale, rng = samples()
    two = np.column_stack([design, rng.standard_normal(N)])
    assert nodes_of(two, scale)[1] is None, "two covariates"
    assert nodes_of(np.column_stack([design, design[:, 2] ** 2]), scale)[1] is None, "its square"
    assert nodes_of(design[:, :2], scale)[1] is None, "none at all"
    assert nodes_of(design[:60], scale[:60])[1] is None, "few samples"
    both = np.column_stack([design, design[:, 1] * design[:, 2]])
    assert nodes_of(both, scale)[1] is not None, "an interaction with a factor"


def test_the_basis_at_the_nodes_is_of_the_same_design():
    design, scale, _ = samples()
    layout, nodes = nodes_of(design, scale)
    basis = basis_of(layout)
    there = nodes.basis(basis)
    # both by way of an SVD of some thousand rows
    np.testing.assert_allclose(
        there.rows, nodes.rows(layout.design) @ basis.to_coefficients, rtol=1e-9, atol=1e-12
    )
    np.testing.assert_array_equal(there.rows[:, : basis.groups].sum(axis=1), 1.0)


def test_one_sample_of_a_tiny_scale_stands_for_itself():
    """It would otherwise put genes of few counts below the smallest mean, where the nodes cannot follow."""
    design, scale, _ = samples()
    scale[5] = 1e-3
    _, nodes = nodes_of(design, scale)
    rare = np.log([[3e-5], [1e-5], [1e-7]]) + np.zeros(nodes.single.size)
    np.testing.assert_array_equal(nodes.follow(np, rare), [True, True, False])


@pytest.mark.parametrize("theta", [0.0, 1e-7, 1e-3, 1.0, 50.0])
def test_parts_of_the_deviance(theta):
    for y in (0.5, 1.0, 7.0, 300.0):
        for mu in (1e-4, 0.7, 290.0):
            parts = deviance_of_mean(y, mu, np.log(mu), theta) + deviance_of_count(y, theta)
            # what cancels is of the size of y log(y)
            assert parts == pytest.approx(unit_deviance(y, mu, theta), rel=1e-11, abs=1e-12 * y * 6)
        assert deviance_of_mean(0.0, 0.7, np.log(0.7), theta) == pytest.approx(unit_deviance(0.0, 0.7, theta))


# ---- whole fits ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data():
    """Cells with a covariate, and genes that the nodes cannot follow."""
    data = xd.simulate(CELLS, 40, kind="cells", covariate="age", seed=3)
    rng, counts = np.random.default_rng(3), data["counts"].values.astype(float)
    age = data["age"].values
    counts[:, 0] = rng.poisson(np.exp(1.5 * age))  # steep
    counts[: CELLS // 2, 1] = 0.0  # a condition without a count
    counts[:, 2] = rng.poisson(900.0, CELLS)  # large
    counts[:, 3] = np.where(counts[:, 4] > 0, counts[:, 4] + 0.5, 0.0)  # fractions
    counts[:, 5] = 0.0
    counts[7, 6:8] = 1.0, 2.0
    data["counts"] = ("sample", "gene"), counts
    return data


def both_ways(data, call):
    """With nodes and without; the genes that tiles of nodes had."""
    on_nodes, plain = [], tilewise.tiles

    def watched(*arguments):
        for tile in plain(*arguments):
            on_nodes.append(tile.genes.size if tile.nodes is not None else 0)
            yield Tile(tile.genes, tile.observations, tile.nodes)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tilewise, "tiles", watched)
        here = call(data)
        assert sum(on_nodes) > 0.8 * data.sizes["gene"], "the nodes are used"
        on_nodes.clear()
        patch.setattr(passes, "covariate_nodes", lambda *_: None)
        there = call(data)
        assert sum(on_nodes) == 0
    return here, there


def check(here, there):
    for name in ("mean", "dispersion", "dispersion_trend", "ql_dispersion_shrunken", "deviance"):
        if name in there:
            np.testing.assert_allclose(here[name], there[name], rtol=1e-9, err_msg=name)
    fitted = there["status"] == 0  # a coefficient at minus infinity ends wherever the iteration does
    for name in ("beta", "standard_error"):
        if name in there:
            np.testing.assert_allclose(
                here[name][fitted], there[name][fitted], rtol=1e-9, atol=1e-9, err_msg=name
            )
    # differences of sums of some thousand terms, 1e-13 of them, over quasi-likelihood dispersions down to 0.01
    np.testing.assert_allclose(here["stat"], there["stat"], rtol=1e-9, atol=1e-7)
    np.testing.assert_array_equal(here["status"], there["status"])


@pytest.mark.parametrize(
    ("formula", "how"),
    [
        ("~ condition + age", {}),
        ("~ condition * age", {"contrasts": ["condition[T.B]", "age"]}),
        ("~ age", {"overdispersion": False, "shrinkage": False, "size_factors": None}),
        ("~ condition + age", {"ridge": 0.01}),
        ("~ condition + age", {"offset": np.linspace(-0.5, 0.5, CELLS), "cox_reid": False}),
        ("~ condition + age", {"size_factors": np.append(np.ones(CELLS - 1), 2e-3)}),
    ],
    ids=["additive", "interaction", "Poisson", "ridge", "offset", "a tiny sample"],
)
def test_the_same_fit_with_nodes_and_without(data, formula, how):
    check(*both_ways(data, lambda counts: xd.fit(counts, formula, **how)))


def test_the_same_tests_with_nodes_and_without(data):
    fit = xd.fit(data, "~ condition + age", contrasts=None)
    for how in ({"contrast": "condition[T.B]"}, {"contrast": "age", "lfc_threshold": 0.1}):
        check(*both_ways(data, lambda counts, how=how: xd.test(counts, fit, **how)))


def test_sparse_counts_on_nodes(data):
    dense = xd.fit(data, "~ condition + age")
    blocks = da.from_array(data["counts"].values, chunks=(CELLS, 25)).map_blocks(
        scipy.sparse.csc_array, dtype=float, meta=scipy.sparse.csc_array((0, 0), dtype=float)
    )
    sparse = data.drop_vars("counts").assign(counts=(("sample", "gene"), blocks))
    result = xd.fit(sparse, "~ condition + age")
    np.testing.assert_allclose(result["stat"], dense["stat"], rtol=1e-12, atol=1e-12)


def test_a_fit_that_nodes_cannot_serve_has_none(data):
    """Errors robust to clusters and centred factors need sums by sample: the same fit as ever."""
    clusters = np.array([f"d{i % 20}" for i in range(CELLS)], dtype=object)
    counts = data.isel(gene=slice(2, 36)).assign(donor=("sample", clusters))
    for how in ({"cluster": "donor"}, {"size_factors": "invariant"}):
        with pytest.MonkeyPatch.context() as patch:
            here = xd.fit(counts, "~ condition + age", **how)
            patch.setattr(passes, "covariate_nodes", lambda *_: None)
            there = xd.fit(counts, "~ condition + age", **how)
        np.testing.assert_array_equal(here["stat"], there["stat"])

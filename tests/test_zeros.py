"""Weighted samples stand for all samples, of counts of zero or of all; every path gives the same fit."""

import numpy as np
import pytest

import xdelnx as xd
from xdelnx.algorithms import compressed
from xdelnx.algorithms.basis import layout_of
from xdelnx.algorithms.compressed import Block, compress
from xdelnx.algorithms.zeros import NODES, from_moments, sample_scale, stand_ins
from xdelnx.kernels.backend import CPU
from xdelnx.kernels.nodes import spread_by_piece
from xdelnx.status import Status

# Share of the samples below which a gene's non-zero counts are visited alone, and stand-ins for which counts are put
# on these: every gene dense; every gene by its non-zero counts; every gene on stand-ins, if it can be.
PATHS = {"dense": (0.0, 0.0), "non-zero": (2.0, 0.0), "stand-ins": (0.0, 1.0)}


def fitted_by(path, data, formula, **how):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compressed, "DENSE_BELOW", PATHS[path][0])
        patch.setattr(compressed, "NODES_BELOW", PATHS[path][1])
        return xd.fit(data, formula, **how)


@pytest.mark.parametrize("spread", [0.0, 0.3, 1.0, 2.0])
@pytest.mark.parametrize("log_t", [-20.0, -3.0, 0.0, 2.0, 8.0, 25.0])
def test_sums_over_stand_ins_are_sums_over_samples(spread, log_t):
    rng = np.random.default_rng(0)
    scale = np.exp(spread * rng.standard_normal(20_000))
    starts = np.array([0, 5_000, 5_010, 20_000])
    zeros = stand_ins(scale, starts)
    t = np.exp(log_t)
    counts = np.round(rng.poisson(scale) * rng.uniform(0.5, 1.5, scale.size), 1)  # of any kind of number
    for function in (
        lambda s: np.log1p(t * s) / t,
        lambda s: s / (1 + t * s),
        lambda s: (s / (1 + t * s)) ** 2,
        lambda s: (s / (1 + t * s)) ** 3,
    ):
        for y, at_nodes in ((np.ones(scale.size), zeros.weights), (counts, on_stand_ins(counts, zeros))):
            for k in range(3):
                samples, nodes = slice(*starts[k : k + 2]), slice(*zeros.starts[k : k + 2])
                full = np.sum((y * function(scale))[samples])
                short = np.sum((at_nodes * function(zeros.scale))[nodes])
                # degree 15 on width 1.7: 1e-13 of the largest term; the sums are of 1e4 terms, added in either order
                assert short == pytest.approx(full, rel=2e-11)


def on_stand_ins(counts, zeros):
    """What falls of counts by kind to each stand-in."""
    in_order = counts[zeros.order]
    places = np.flatnonzero(in_order)
    bounds = np.searchsorted(places, zeros.pieces)[None, :]
    at = zeros.pieces, zeros.nodes, zeros.x, from_moments()
    return spread_by_piece(in_order[places], places.astype(np.int32), bounds, *at)[0]


def test_few_samples_stand_for_themselves():
    scale = np.exp(np.linspace(-1, 1, 15))
    zeros = stand_ins(scale, np.array([0, 5, 15]))
    np.testing.assert_array_equal(zeros.scale, scale)
    np.testing.assert_array_equal(zeros.weights, 1.0)


def test_nodes_do_not_grow_with_samples():
    scale = np.exp(np.random.default_rng(1).uniform(-1.4, 1.4, 100_000))
    whole, half = (stand_ins(scale[:n], np.array([0, n])) for n in (scale.size, scale.size // 2))
    assert whole.scale.size == half.scale.size == 2 * NODES  # two pieces, that are 2.8 wide together


def test_places_between_the_nodes():
    """A polynomial of few samples, put on nodes, is what it was."""
    scale = np.exp(np.random.default_rng(2).uniform(0.0, 4.0, 300))
    zeros = stand_ins(scale, np.array([0, 280, 300]))
    assert zeros.kinds.tolist() == [0, 3, 4]  # three pieces and one of samples that stand for themselves
    counts = np.zeros(300)
    counts[[7, 120, 285]] = 3.0, 1.0, 2.0
    at = on_stand_ins(counts, zeros)
    for degree in range(NODES):
        assert at @ np.log(zeros.scale) ** degree == pytest.approx(
            counts @ np.log(scale) ** degree, rel=1e-11
        )
    np.testing.assert_array_equal(zeros.least, [scale[:280].min(), scale[280:].min()])


@pytest.fixture(scope="module")
def data():
    """Cells with genes of few counts, in one condition only, large and of fractions."""
    data = xd.simulate(600, 150, n_batches=3, kind="cells", seed=2)
    counts, rng = data["counts"].values.astype(float), np.random.default_rng(3)
    second = data["condition"].values == "B"
    counts[:, :3] = 0.0
    counts[np.flatnonzero(second)[0], 0] = 1.0
    counts[second, 1] = rng.poisson(0.2, second.sum())
    counts[:, 2] = rng.poisson(900.0, counts.shape[0])
    counts[:, 3] *= rng.uniform(0.5, 1.5, counts.shape[0])
    counts[:, 4] = rng.poisson(30.0 * rng.gamma(0.3, 3.0, counts.shape[0]))
    data["counts"] = ("sample", "gene"), counts
    return data


def test_a_gene_takes_its_path(data):
    """Those on stand-ins have means that are small, and not so small that their smallest is a kink."""
    counts, layout = data["counts"].values, layout_of(np.ones((600, 1)))
    scale = np.ones(600)
    scale[5] = 1e-3
    made = compress(CPU, layout, Block(counts, sample_scale(scale, layout.starts)))
    total = counts.sum(axis=0)
    rare = (total > 0) & (total / 600 * 1e-3 < 4e-6)
    assert made.dense.tolist() == [2]
    assert made.few.genes.tolist() == np.flatnonzero(rare).tolist()
    assert rare[0]
    rest = np.flatnonzero((total > 0) & ~rare & (np.arange(150) != 2))
    assert made.on_nodes.genes.tolist() == rest.tolist()
    np.testing.assert_allclose(made.on_nodes.by_node.sum(axis=1), counts[:, rest].sum(axis=0), rtol=1e-13)
    np.testing.assert_allclose(made.on_nodes.variance, counts[:, rest].var(axis=0, ddof=1), rtol=1e-12)


@pytest.mark.parametrize("path", ["non-zero", "stand-ins"])
@pytest.mark.parametrize(
    ("formula", "how"),
    [
        ("~ condition", {}),
        ("~ batch + condition", {}),
        ("~ condition", {"size_factors": np.append(np.ones(599), 2e-3)}),
        ("~ condition", {"overdispersion": "global", "ridge": 0.01}),
        ("~ condition", {"overdispersion": False, "shrinkage": False}),
    ],
    ids=["one factor", "two", "a tiny sample", "ridge", "Poisson"],
)
def test_every_path_gives_the_same_fit(data, path, formula, how):
    dense, other = (fitted_by(name, data, formula, **how) for name in ("dense", path))
    for name in ("mean", "dispersion", "dispersion_trend", "ql_dispersion_shrunken", "deviance"):
        if name in dense:
            # sums of 600 terms in another order, through a convergence that squares its error
            np.testing.assert_allclose(other[name], dense[name], rtol=1e-9, err_msg=name)
    fitted = dense["status"] == Status.OK  # a coefficient at minus infinity ends wherever the iteration does
    for name in ("beta", "standard_error"):
        np.testing.assert_allclose(
            other[name][fitted], dense[name][fitted], rtol=1e-9, atol=1e-9, err_msg=name
        )
    # a difference of deviances whose terms, of 600 counts of 900, are 1e6 in all: 1e-14 of those
    np.testing.assert_allclose(other["stat"], dense["stat"], rtol=1e-9, atol=1e-8)
    np.testing.assert_array_equal(other["status"], dense["status"])


def test_paths_are_chosen_by_the_genes_own_counts():
    data = xd.simulate(600, 150, kind="cells", seed=2)
    whole = xd.fit(data, "~ condition", size_factors="none", contrasts=None, shrinkage=False)
    some = xd.fit(
        data.isel(gene=slice(20, 60)), "~ condition", size_factors="none", contrasts=None, shrinkage=False
    )
    np.testing.assert_array_equal(some["beta"], whole["beta"][20:60])  # to the last bit


def test_fractional_and_large_counts_by_the_non_zero_path():
    rng = np.random.default_rng(3)
    data = xd.simulate(400, 30, kind="cells", seed=3)
    counts = data["counts"].values.astype(float)
    counts[:, 1] *= 1000.0
    counts[:, 2] *= rng.uniform(0.5, 1.5, counts.shape[0])
    data["counts"] = ("sample", "gene"), counts
    dense, few = (fitted_by(path, data, "~ condition", size_factors="none") for path in ("dense", "non-zero"))
    np.testing.assert_allclose(few["dispersion"], dense["dispersion"], rtol=1e-9)
    np.testing.assert_allclose(few["pval"], dense["pval"], rtol=1e-7)

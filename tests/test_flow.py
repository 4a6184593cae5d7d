"""The fit as a whole: chunks, schedulers, laziness, what is read how often, options, and results read back."""

import multiprocessing
import os
import threading
import weakref
from concurrent.futures import ProcessPoolExecutor

import dask
import dask.array as da
import numpy as np
import pytest
import scipy.stats
import statsmodels.api as sm
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from xdelnx import fit, simulate, test
from xdelnx.chunks import blocks
from xdelnx.chunks.devices import HERE, everywhere
from xdelnx.chunks.schedulers import client_in_force
from xdelnx.kernels.backend import Backend
from xdelnx.scalars.negative_binomial import unit_deviance

FORMULA = "~ batch + age + condition"
# What has no finite value in a separated gene
AT_INFINITY = ("beta", "coef", "standard_error", "lfc_se", "ci_low", "ci_high", "iterations")


@pytest.fixture(scope="module")
def expected(bulk):
    return fit(bulk, FORMULA)


def assert_same(one, other):
    """The same bit by bit."""
    assert set(one.variables) == set(other.variables)
    for name in one.variables:
        first, second = one[name].values, other[name].values
        assert first.dtype == second.dtype, name
        np.testing.assert_array_equal(second, first, err_msg=name)


def assert_close(one, other, **tolerance):
    """Equal to rounding; what is on its way to infinity (separated genes) stops anywhere far out."""
    assert set(one.variables) == set(other.variables)
    separated = xr.DataArray(one["status"].values == 2, dims="gene")
    for name in one.variables:
        first, second = one[name].variable, other[name].variable
        if name in AT_INFINITY:
            first, second = (xr.DataArray(v).where(~separated).variable for v in (first, second))
        if first.dtype.kind in "fiu":
            np.testing.assert_allclose(second.values, first.values, err_msg=name, **tolerance)
        else:
            assert (first.values == second.values).all(), name


# ---- chunks and schedulers -------------------------------------------------------------------------------


@settings(max_examples=12)
@given(st.data())
def test_any_chunks_give_the_same(bulk, expected, data):
    n_samples, n_genes = bulk["counts"].shape
    cuts = data.draw(st.lists(st.integers(1, n_genes - 1), max_size=30, unique=True))
    widths = tuple(int(w) for w in np.diff([0, *sorted(cuts), n_genes]))
    samples = data.draw(st.sampled_from([n_samples, 1, 5]))
    chunked = bulk.assign(counts=bulk["counts"].chunk({"sample": samples, "gene": widths}))
    assert_same(expected, fit(chunked, FORMULA))


@pytest.mark.parametrize("limit", [16, 16 * 37, 16 * 399])
def test_small_blocks_give_the_same(bulk, expected, limit, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_ENTRIES", limit)
    monkeypatch.setattr(blocks, "SMALLEST_BLOCK", 1)
    part = bulk.isel(gene=slice(60)) if limit == 16 else bulk
    assert_same(fit(part, FORMULA) if limit == 16 else expected, fit(part.chunk(gene=50), FORMULA))


@pytest.mark.parametrize("tile", [1, 700])
def test_tiles_give_the_same(bulk, expected, tile, monkeypatch):
    monkeypatch.setattr(Backend, "tile", tile)
    monkeypatch.setattr(Backend, "nonzero_tile", tile)
    assert_same(expected, fit(bulk, FORMULA))


@pytest.mark.parametrize("compute", [True, False])
@pytest.mark.parametrize("scheduler", ["synchronous", "threads", "processes"])
def test_schedulers_give_the_same(bulk, expected, scheduler, compute, request):
    pool = request.getfixturevalue("processes") if scheduler == "processes" else None
    with dask.config.set(scheduler=scheduler, pool=pool):
        result = fit(bulk.chunk(gene=50), FORMULA, compute=compute).compute()
        assert_same(expected, result)
        tested = test(bulk.chunk(gene=50), result, "age", compute=compute).compute()
    assert_same(test(bulk, expected, "age"), tested)


@pytest.fixture(scope="module")
def processes():
    """Two processes for all tests, which take some seconds to import everything."""
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as local,
        distributed.Client(local, set_as_default=False) as client,
    ):
        yield client


@pytest.mark.slow
@pytest.mark.parametrize("compute", [True, False])
def test_two_processes_give_the_same(bulk, expected, cluster, compute):
    with dask.config.set(scheduler=cluster):
        result = fit(bulk.chunk(gene=50), FORMULA, compute=compute)
        tested = test(bulk.chunk(gene=50), result, "age", compute=compute).compute()
        result = result.compute()
    assert_same(expected, result)
    assert_same(test(bulk, expected, "age"), tested)


@pytest.mark.slow
def test_a_client_is_found_however_dask_was_told(cluster):
    """By its shown progress, by what is asked of all workers, and by words on a lost scheduler alike."""
    for place in (cluster, cluster.get):
        with dask.config.set(scheduler=place):
            assert client_in_force() is cluster
            assert len(everywhere(os.getpid)) == 2
    with cluster.as_current():
        assert client_in_force() is cluster
        with dask.config.set(scheduler="distributed"):
            assert client_in_force() is cluster
        with dask.config.set(scheduler="threads"):
            assert client_in_force() is None
            assert everywhere(os.getpid) == {HERE: os.getpid()}


# ---- what is lazy, what is read and what is kept ---------------------------------------------------------


def refuse(*_args, **_kwargs):
    msg = "something was computed"
    raise AssertionError(msg)


@pytest.mark.parametrize("method", ["normed_sum", "ratio", "poscounts", "tmm", "size_factor_true", None])
@pytest.mark.parametrize("overdispersion", [True, "global", 0.1])
def test_compute_false_computes_nothing(bulk, method, overdispersion):
    lazy = bulk.assign(counts=bulk["counts"].chunk(gene=100))  # the samples' columns make the design
    options = {"size_factors": method, "overdispersion": overdispersion}
    with dask.config.set(scheduler=refuse):
        result = fit(lazy, FORMULA, compute=False, **options)
        tested = test(lazy, result, ["age", "condition[T.B]"], compute=False)
        with pytest.raises(AssertionError, match="something was computed"):
            tested["pval"].compute()
    assert_same(fit(bulk, FORMULA, **options), result.compute())


@pytest.mark.parametrize("compute", [True, False])
def test_lazy_metadata_is_read_at_once(bulk, expected, compute):
    """One computation for all columns, of which each is read once; the counts are left alone."""
    columns, rounds = ["condition", "batch", "age", "size_factor_true"], []
    reads = dict.fromkeys(columns, 0)

    def read(values, name):
        reads[name] += 1
        return values

    lazy = bulk.chunk(gene=100)
    for name in columns:
        values = dask.delayed(read)(bulk[name].values, name)
        array = da.from_delayed(values, bulk[name].shape, bulk[name].dtype)
        lazy[name] = bulk[name].copy(data=array)

    def scheduler(graph, keys, **_options):
        rounds.append(len(keys))
        return dask.get(graph, keys)

    with dask.config.set(scheduler=scheduler):
        result = fit(
            lazy, FORMULA, compute=compute, size_factors="size_factor_true", offset="size_factor_true"
        )
    assert reads == dict.fromkeys(columns, 1)
    assert (len(rounds) == 1) == (not compute)
    assert (result["design"] == expected["design"]).all()


@pytest.mark.parametrize("contrasts", ["last", ["age", "condition[T.B]", "batch[T.batch2]"]])
def test_few_tasks(contrasts):
    """A fit on 20,000 genes, in stored chunks of 200: what a scheduler is asked to keep track of."""
    columns = {"condition": ("sample", ["A"] * 8 + ["B"] * 8), "age": ("sample", np.arange(16.0) ** 0.5)}
    columns["batch"] = ("sample", ["batch1", "batch2"] * 8)
    counts = da.ones((16, 20_000), chunks=(16, 200), dtype="int32")
    result = fit(
        xr.Dataset({"counts": (("sample", "gene"), counts), **columns}),
        FORMULA,
        contrasts=contrasts,
        compute=False,
    )
    assert len(dict(result.__dask_graph__())) < 2000


class CountsOnDisk:
    """An array that says how often each of its genes was read."""

    def __init__(self, values):
        self.values, self.shape, self.dtype, self.ndim = values, values.shape, values.dtype, values.ndim
        self.reads = np.zeros(values.shape[1], dtype=int)
        self.lock = threading.Lock()

    def __getitem__(self, index):
        with self.lock:
            self.reads[index[1]] += 1
        return self.values[index]


@pytest.fixture
def on_disk(bulk):
    """Counts that count, and the data that holds them."""
    counts = CountsOnDisk(bulk["counts"].values)
    return counts, bulk.assign(counts=(("sample", "gene"), da.from_array(counts, chunks=(16, 40))))


@pytest.mark.parametrize("compute", [True, False])
@pytest.mark.parametrize(
    ("options", "reads"),
    [
        ({}, 3),  # a look at every count, fit, refit
        ({"contrasts": ["age", "condition[T.B]", "batch[T.batch2]"]}, 3),  # they ride along
        ({"contrasts": None}, 3),
        ({"size_factors": "size_factor_true"}, 3),
        ({"size_factors": "poscounts"}, 4),
        ({"overdispersion": 0.1}, 3),
        ({"overdispersion": "global"}, 5),  # a grid, then between two of its points
    ],
)
def test_how_often_counts_are_read(on_disk, options, reads, compute):
    counts, data = on_disk
    result = fit(data, FORMULA, compute=compute, **options)
    assert compute == bool(counts.reads.any())
    result.compute()
    assert (counts.reads == reads).all()
    test(data, result.compute() if compute else fit(data.compute(), FORMULA), ["age", "condition[T.B]"])
    assert (counts.reads >= reads + 1).all()


def test_a_test_reads_once(on_disk, expected):
    counts, data = on_disk
    test(data, expected, ["age", "condition[T.B]", "age - condition[T.B]"])
    assert (counts.reads == 1).all()


class Alive:
    """Makes blocks of counts and knows how many of them are there at once."""

    def __init__(self, counts):
        self.counts, self.now, self.most, self.lock = counts, 0, 0, threading.Lock()
        self.shape, self.dtype, self.ndim = counts.shape, counts.dtype, counts.ndim

    def block(self, block_info=None):
        (_, (start, stop)) = block_info[None]["array-location"]
        return self[:, start:stop]

    def __getitem__(self, index):
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        block = self.counts[index].copy()
        weakref.finalize(block, self.gone)
        return block

    def gone(self):
        with self.lock:
            self.now -= 1


def as_computed(alive):
    """Blocks that tasks make of nothing."""
    return da.map_blocks(
        alive.block, chunks=(16, (10,) * 40), dtype=np.int32, meta=np.empty((0, 0), np.int32)
    )


def as_stored(alive):
    """Blocks that tasks take of an array, which is in the graph, as those of Zarr that xarray opens."""
    return da.from_array(alive, chunks=(16, 10), meta=np.empty((0, 0), np.int32), inline_array=False)


@pytest.mark.parametrize("source", [as_computed, as_stored])
@pytest.mark.parametrize("compute", [True, False])
@pytest.mark.parametrize("overdispersion", [True, "global"])
@pytest.mark.parametrize(("workers", "bound"), [(1, 3), (2, 8)])
def test_blocks_stream(bulk, workers, bound, overdispersion, compute, source, monkeypatch):
    """Of 40 blocks a pass holds a few: what a worker has at hand and what is about to go.

    Also while the step across genes runs, when all but one of the workers have nothing to do.
    """
    monkeypatch.setattr(blocks, "BLOCK_ENTRIES", 16 * 10)
    alive = Alive(bulk["counts"].values)
    counts = source(alive)
    data = bulk.assign(counts=(("sample", "gene"), counts))
    scheduler = (
        {"scheduler": "synchronous"} if workers == 1 else {"scheduler": "threads", "num_workers": workers}
    )
    with dask.config.set(**scheduler):
        fit(data, FORMULA, overdispersion=overdispersion, compute=compute).compute()
    assert alive.now == 0
    assert alive.most <= bound


# ---- genes without a count, and genes with few -----------------------------------------------------------


def test_genes_without_a_count_change_no_other(bulk):
    some = bulk.isel(gene=bulk["counts"].values.any(0))
    alone = fit(some, FORMULA)
    rng = np.random.default_rng(0)
    added = xr.zeros_like(some.isel(gene=slice(150))).assign_coords(gene=[f"silent{i}" for i in range(150)])
    both = xr.concat(
        [some, added], "gene", data_vars="minimal", coords="minimal", compat="override", join="outer"
    )
    both = both.isel(gene=rng.permutation(both.sizes["gene"]))
    result = fit(both, FORMULA)
    # the genes, and so sums across them, are in another order
    assert_close(alone, result.sel(gene=some["gene"]), rtol=1e-10, atol=1e-12)
    silent = result.sel(gene=added["gene"])
    assert (silent["status"] == 1).all()
    for name in ("beta", "pval", "padj", "stat", "dispersion", "dispersion_trend", "ql_dispersion_shrunken"):
        assert np.isnan(silent[name]).all(), name


def test_every_gene_without_a_count_is_an_error(bulk):
    with pytest.raises(ValueError, match="every count of the 400 genes is zero"):
        fit(xr.zeros_like(bulk[["counts"]]).assign(condition=bulk["condition"]), "~condition")


def test_order_of_genes_with_few_counts():
    """Many genes tie in their mean and even their overdispersion; which stands first must not matter."""
    cells = simulate(40, 1500, kind="cells", seed=2)
    order = np.random.default_rng(0).permutation(1500)
    result, again = fit(cells, "~condition"), fit(cells.isel(gene=order), "~condition")
    assert_close(result.isel(gene=order), again, rtol=1e-8, atol=1e-9)  # sums across genes in another order


# ---- and back --------------------------------------------------------------------------------------------


def test_round_trip_through_zarr(bulk, expected, tmp_path):
    expected.to_zarr(tmp_path / "fit.zarr", consolidated=False)
    with xr.open_zarr(tmp_path / "fit.zarr", consolidated=False) as back:
        assert back.attrs == expected.attrs
        for contrast in ("age", "condition[T.B] - age", None):
            assert_same(test(bulk, expected, contrast), test(bulk, back, contrast))
        lazily = test(bulk.chunk(gene=100), back, "age", compute=False)
        assert_same(test(bulk, expected, "age"), lazily.compute())


def test_test_repeats_what_fit_found(bulk, expected):
    again = test(bulk, expected)
    for name in ("log2fc", "coef", "stat", "pval", "padj"):
        # the reduced fit starts elsewhere; both end at their optimum
        np.testing.assert_allclose(again[name], expected[name], rtol=1e-6, atol=1e-8, err_msg=name)


# ---- against statsmodels, gene by gene -------------------------------------------------------------------


def reference(data, result, gene, theta, columns=slice(None), offset=0.0):
    design = result["design"].values[:, columns]
    family = sm.families.NegativeBinomial(alpha=theta) if theta > 0 else sm.families.Poisson()
    offset = np.log(result["size_factor"].values) + offset
    y = data["counts"].values[:, gene].astype(float)
    return sm.GLM(y, design, family, offset=offset).fit(maxiter=300, tol=1e-14)


GENES = [1, 3, 17, 101, 250]


@pytest.mark.parametrize(("overdispersion", "theta"), [(False, 0.0), (0.3, 0.3), ("array", None)])
def test_likelihood_ratio_test(bulk, overdispersion, theta):
    given_values = np.random.default_rng(0).uniform(0.01, 1.0, 400)
    value = given_values if overdispersion == "array" else overdispersion
    result = fit(bulk, FORMULA, overdispersion=value, shrinkage=False)
    assert "dispersion_trend" not in result
    assert np.isinf(result["df2"])
    for g in (g for g in GENES if result["status"].values[g] == 0):
        at = given_values[g] if theta is None else theta
        assert result["dispersion"].values[g] == at
        full, reduced = reference(bulk, result, g, at), reference(bulk, result, g, at, slice(3))
        drop = reduced.deviance - full.deviance
        # statsmodels' optimum is good to 1e-9 of the deviance; so is the difference of two
        near = {"rel": 1e-6, "abs": 1e-8 * full.deviance + 1e-9}
        assert result["stat"].values[0, g] == pytest.approx(drop, **near)
        assert result["pval"].values[0, g] == pytest.approx(scipy.stats.chi2.sf(drop, 1), rel=1e-4)
        np.testing.assert_allclose(result["beta"].values[g], full.params, atol=1e-6 * full.bse.max() + 1e-7)
        np.testing.assert_allclose(result["standard_error"].values[g], full.bse, rtol=1e-5)


def test_quasi_likelihood_test(bulk, expected):
    for g in (g for g in GENES if expected["status"].values[g] == 0):
        at = expected.isel(gene=g)
        theta, scale = float(at["dispersion_trend"]), float(at["ql_dispersion_shrunken"])
        full, reduced = reference(bulk, expected, g, theta), reference(bulk, expected, g, theta, slice(3))
        statistic = (reduced.deviance - full.deviance) / scale
        assert float(at["deviance"]) == pytest.approx(full.deviance, rel=1e-8)  # as above
        assert float(at["stat"][0]) == pytest.approx(statistic, rel=1e-6, abs=1e-7)
        df2 = float(expected["prior_df"]) + 12
        assert float(expected["df2"]) == pytest.approx(df2)
        assert float(at["pval"][0]) == pytest.approx(scipy.stats.f.sf(statistic, 1, df2), rel=1e-4)
        np.testing.assert_allclose(at["standard_error"], full.bse * np.sqrt(scale), rtol=1e-5)
        assert float(at["log2fc"][0]) == pytest.approx(np.clip(full.params[3] / np.log(2), -10, 10), rel=1e-5)
        # that of the first fit, at its own dispersion, which weighs the samples a little otherwise
        assert float(at["mean"]) == pytest.approx(full.mu.mean(), rel=0.05)


def test_every_coefficient_at_once(bulk, expected):
    """A contrast with as many restrictions as coefficients: the reduced model is the offset alone."""
    everything = test(bulk, expected, reduced="~ 0")
    assert everything["df1"].values.tolist() == [4.0]
    assert np.isnan(everything["log2fc"]).all()
    for g in (g for g in GENES if expected["status"].values[g] == 0):
        theta = float(expected["dispersion_trend"][g])
        y, mu = bulk["counts"].values[:, g], expected["size_factor"].values
        empty = sm.families.NegativeBinomial(alpha=theta).deviance(y, mu)
        drop = empty - float(expected["deviance"][g])
        statistic = drop / 4 / float(expected["ql_dispersion_shrunken"][g])
        assert float(everything["stat"][0, g]) == pytest.approx(statistic, rel=1e-9)  # closed form


# ---- options ---------------------------------------------------------------------------------------------


def test_contrasts_none(bulk, expected):
    result = fit(bulk, FORMULA, contrasts=None)
    assert not {"pval", "padj", "stat", "log2fc", "contrast"} & set(result.variables)
    for name in ("beta", "deviance", "dispersion", "ql_dispersion_shrunken"):
        np.testing.assert_array_equal(result[name], expected[name])
    np.testing.assert_allclose(test(bulk, result)["pval"], expected["pval"], rtol=1e-6)  # another start


def test_several_contrasts_are_each_their_own(bulk, expected):
    several = fit(bulk, FORMULA, contrasts=["age", "condition[T.B]"])
    for name in ("pval", "padj", "stat", "log2fc"):
        one = several[name].sel(contrast="condition[T.B]")
        np.testing.assert_array_equal(one, expected[name][0])


def test_without_shrinkage_each_gene_has_its_own(bulk, expected):
    result = fit(bulk, FORMULA, shrinkage=False)
    np.testing.assert_array_equal(result["dispersion"], expected["dispersion"])
    assert not {"dispersion_trend", "ql_dispersion", "prior_df"} & set(result.variables)
    tested = test(bulk, result, "age")
    assert np.isfinite(tested["pval"].values[0, bulk["counts"].values.any(0)]).all()


@pytest.mark.parametrize("overdispersion", ["global", 0.2, False])
def test_one_overdispersion_is_its_own_trend(bulk, overdispersion):
    result = fit(bulk, FORMULA, overdispersion=overdispersion)
    some = bulk["counts"].values.any(0)
    np.testing.assert_array_equal(result["dispersion_trend"], result["dispersion"])
    assert np.unique(result["dispersion"].values[some]).size == 1
    assert (result["ql_dispersion"].values[some] == 1.0).all()
    assert np.isinf(result["prior_df"])


def test_a_vector_of_overdispersions_gets_a_trend(bulk):
    values = np.random.default_rng(0).uniform(0.1, 0.5, 400)
    result = fit(bulk, FORMULA, overdispersion=values)
    some = bulk["counts"].values.any(0)
    np.testing.assert_array_equal(result["dispersion"].values[some], values[some])
    assert np.unique(result["dispersion_trend"].values[some]).size > 10
    assert np.isfinite(result["prior_df"]) or np.isinf(result["prior_df"])


# ---- offsets ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def offsets(bulk):
    rng = np.random.default_rng(4)
    by_sample = rng.normal(0.0, 0.4, 16)
    return bulk.assign(
        depth=("sample", by_sample),
        length=(("sample", "gene"), by_sample[:, None] + rng.normal(0.0, 0.2, (16, 400))),
    )


@pytest.mark.parametrize("name", ["depth", "length"])
def test_offset_by_name_and_by_array(offsets, name):
    by_name = fit(offsets, FORMULA, offset=name)
    by_array = fit(offsets, FORMULA, offset=offsets[name].values)
    by_label = fit(offsets, FORMULA, offset=offsets[name])
    by_chunks = fit(offsets.chunk(gene=90), FORMULA, offset=name)
    for other in (by_array, by_label, by_chunks):
        np.testing.assert_array_equal(other["pval"], by_name["pval"])
    # a fit remembers its offset: by name, or with it
    expected = test(offsets, by_name, "age")["pval"]
    for other in (by_array, by_label, by_chunks):
        np.testing.assert_array_equal(test(offsets, other, "age")["pval"], expected)
    without = test(offsets, fit(offsets, FORMULA), "age")["pval"]
    assert np.abs(without - expected).max() > 0.01


def test_an_offset_is_a_further_size_factor(offsets):
    factors = offsets["size_factor_true"].values
    together = fit(offsets, FORMULA, size_factors=factors * np.exp(offsets["depth"].values))
    apart = fit(offsets, FORMULA, size_factors=factors, offset="depth")
    for name in ("pval", "dispersion", "deviance"):
        np.testing.assert_allclose(apart[name], together[name], rtol=1e-9, atol=1e-9)  # one more rounding


def test_an_offset_of_each_entry_that_is_the_samples(offsets):
    spread = np.tile(offsets["depth"].values[:, None], (1, 400))
    one, other = (fit(offsets, FORMULA, offset=offset) for offset in (spread, "depth"))
    for name in ("pval", "dispersion", "deviance"):
        # sums across genes, and the mean of the offset for the first guess, in another order
        np.testing.assert_allclose(one[name], other[name], rtol=1e-8, atol=1e-9)


def test_offset_of_each_entry_against_statsmodels(offsets):
    result = fit(offsets, FORMULA, offset="length", overdispersion=0.2, shrinkage=False)
    for g in (g for g in GENES if result["status"].values[g] == 0):
        expected = reference(offsets, result, g, 0.2, offset=offsets["length"].values[:, g])
        np.testing.assert_allclose(
            result["beta"].values[g], expected.params, atol=1e-6 * expected.bse.max() + 1e-7
        )
        assert result["deviance"].values[g] == pytest.approx(expected.deviance, rel=1e-8)


def test_two_groups_without_a_count_have_no_fold_change():
    """Infinity less infinity: the test finds nothing and the fold change is NaN; against counts it is clipped."""
    data = simulate(12, 60, levels=("A", "B", "C"), seed=1)
    counts = data["counts"].values.copy()
    counts[:, 0] = np.where(data["condition"] == "A", 50, 0)
    data["counts"] = ("sample", "gene"), counts
    result = fit(data, "~ condition", contrasts=None)
    difference = test(data, result, "condition[T.C] - condition[T.B]").isel(gene=0, contrast=0)
    assert np.isnan(difference["log2fc"])
    assert np.isnan(difference["coef"])
    assert float(difference["pval"]) == pytest.approx(
        1.0, abs=1e-3
    )  # what the optimiser leaves of no difference
    effect = test(data, result, "condition[T.C]").isel(gene=0, contrast=0)
    assert float(effect["log2fc"]) == -10.0
    assert float(effect["pval"]) < 1e-6


def test_a_test_of_every_coefficient(bulk):
    """Nothing is left to fit: the reduced deviance is that of means equal to the size factors."""
    result = fit(bulk, "~ condition", contrasts=np.eye(2))
    gene = int(np.flatnonzero(result["status"].values == 0)[0])
    theta = float(result["dispersion_trend"][gene])
    counts, factors = bulk["counts"].values[:, gene].astype(float), result["size_factor"].values
    null = sum(unit_deviance(y, s, theta) for y, s in zip(counts, factors, strict=True))
    drop = null - float(result["deviance"][gene])
    expected = drop / 2.0 / float(result["ql_dispersion_shrunken"][gene])
    assert float(result["stat"][0, gene]) == pytest.approx(expected, rel=1e-10)  # a sum of some terms

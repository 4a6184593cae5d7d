"""Same input, same output, bit by bit: however the counts are cut into chunks, and whoever computes."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import dask
import dask.array as da
import numpy as np
import pytest
import scipy.sparse as sp
import xarray as xr

import xdelnx as xd

FORMULA = "~ batch + age + condition"
BULK = xd.simulate(16, 400, n_batches=2, covariate="age", seed=3)
CELLS = xd.simulate(900, 300, kind="cells", covariate="age", seed=4)
CELLS["donor"] = "sample", np.repeat([f"d{i}" for i in range(12)], 75).astype(object)
MODELS = {
    "plain": (BULK, FORMULA, {}),
    "contrasts": (BULK, FORMULA, {"contrasts": ["age", "condition[T.B]", "batch[T.batch2] - age"]}),
    "ratio": (BULK, FORMULA, {"size_factors": "ratio"}),
    "poscounts": (BULK, FORMULA, {"size_factors": "poscounts"}),
    "tmm": (BULK, FORMULA, {"size_factors": "tmm"}),
    "invariant": (BULK, FORMULA, {"size_factors": "invariant"}),
    "global": (BULK, FORMULA, {"overdispersion": "global"}),
    "edger": (BULK, FORMULA, {"method": "edger"}),
    "robust": (BULK, FORMULA, {"robust": True}),
    "flag": (BULK, "~ condition", {"cooks": "flag"}),
    "replace": (BULK, "~ condition", {"cooks": "replace"}),
    "ridge": (BULK, FORMULA, {"ridge": 0.1}),
    "subsample": (BULK, "~ condition", {"subsample": 10}),
    "by": (BULK, "~ condition", {"by": "batch"}),
    "weights": (BULK, FORMULA, {"weights": np.linspace(0.5, 2.0, 16)}),
    "weights of counts": (BULK, FORMULA, {"weights": np.linspace(0.5, 2.0, 6400).reshape(16, 400)}),
    "cells": (CELLS, "~ condition", {}),
    "cells, covariate": (CELLS, "~ age + condition", {}),
    "cells, global": (CELLS, "~ age + condition", {"overdispersion": "global"}),
    "cells, clusters": (CELLS, "~ condition", {"cluster": "donor"}),
}


@pytest.fixture(autouse=True)
def now(monkeypatch):
    """All results are of the same time of day."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")


def results(model, counts=None, **place):
    """A fit, its tests once more, and its fold changes shrunken; of other counts than the model's, if given."""
    data, formula, options = MODELS[model]
    data = data if counts is None else data.assign(counts=(("sample", "gene"), counts))
    with dask.config.set(place):
        fit = xd.fit(data, formula, **options)
        return [fit] if "by" in options else [fit, xd.test(data, fit), xd.shrink_lfc(fit)]


def assert_identical(found, expected):
    """Every number the same (NaN is like NaN), and all that is said of it."""
    for one, other in zip(found, expected, strict=True):
        xr.testing.assert_identical(one, other)


def chunkings(model):
    """The counts of a model in chunks of few genes, of few samples, of both, ragged ones, and sparse ones."""
    values = MODELS[model][0]["counts"].values
    n, g = values.shape
    ragged = tuple(np.diff([0, 1, g // 7, g // 3, g // 3 + 2, g - 1, g]).tolist())
    for chunks in ((5, 37), (n, 7), (n, ragged), (n // 3, g)):
        yield da.from_array(values, chunks)
    yield da.from_array(values, (n, 40)).map_blocks(sp.csc_matrix)


@pytest.mark.parametrize("model", MODELS)
def test_chunks_give_the_same(model):
    """What runs elsewhere gives the same as well: `test_flow` has it for one model, the full form for all."""
    assert_identical(results(model, next(chunkings(model))), results(model))


def test_sums_of_fractions_are_the_same_to_rounding():
    """Offsets by entry, and counts that are no whole numbers, are summed across genes block by block, with rounding."""
    offset = np.linspace(-0.1, 0.1, 6400).reshape(16, 400)
    for data, options in ((BULK, {"offset": offset}), (BULK.assign(counts=BULK["counts"] * 1.1), {})):
        one, other = (xd.fit(part, FORMULA, **options) for part in (data, data.chunk(sample=5)))
        for name in ("log2fc", "pval", "dispersion"):
            np.testing.assert_allclose(one[name], other[name], rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.fixture(scope="module")
def places():
    """Where to compute, as Dask takes it: processes and the workers of a cluster are started once."""
    distributed = pytest.importorskip("distributed")
    with (
        ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool,
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as local,
        distributed.Client(local, set_as_default=False) as client,
    ):
        names = {"scheduler": "synchronous"}, {"scheduler": "threads", "num_workers": 3}
        yield *names, {"scheduler": "processes", "pool": pool}, {"scheduler": client}


@pytest.mark.stress
def test_chunks_and_places_give_the_same_in_full(places):
    compared = 0
    for model in MODELS:
        expected = results(model)
        for counts in chunkings(model):
            for place in places:
                assert_identical(results(model, counts, **place), expected)
                compared += 1
    print(
        f"\n{compared} fits with tests and shrunken fold changes, of {len(MODELS)} models, are the same bit by bit"
    )

"""Generated hostile data: whatever goes in, a clear refusal comes out, or a result whose invariants hold.

A good data set is spoiled in up to three of its parts. A refusal is clear if it is ValueError, TypeError or OSError,
raised by xdelnx itself, in words. An answer is right if every number is finite or belongs to a gene whose status says
why it is not, all are in their ranges, and the same samples and genes in another order, with a gene without a count
added, give the same.
"""

import faulthandler
import traceback
import warnings
from collections import Counter

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import xarray as xr
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

import xdelnx as xd
from xdelnx.schema import LARGEST_LOG2FC, Status

SECONDS = 120  # no example takes longer; a hanging one ends the run, with a traceback
N, G = 10, 9
NO_STATISTICS = (Status.ALL_ZERO, Status.NOT_ESTIMABLE)
# A test of these may be NaN or rest on a fit that did not converge: nothing is compared of them.
UNSURE = (
    *NO_STATISTICS,
    Status.SEPARATED,
    Status.COEFFICIENTS_NOT_CONVERGED,
    Status.DISPERSION_NOT_CONVERGED,
    Status.REDUCED_NOT_CONVERGED,
)


def base():
    rng = np.random.default_rng(7)
    mean = np.geomspace(3.0, 3000.0, G)
    counts = rng.negative_binomial(5.0, 5.0 / (5.0 + mean), (N, G)).astype(float)
    return xr.Dataset(
        {
            "counts": (("sample", "gene"), counts),
            "condition": ("sample", np.repeat(["A", "B"], N // 2).astype(object)),
            "batch": ("sample", np.tile(["x", "y"], N // 2).astype(object)),
            "x": ("sample", rng.normal(size=N)),
            "donor": ("sample", np.repeat(["a", "b", "c", "d", "e"], 2).astype(object)),
        },
        {"sample": [f"s{i}" for i in range(N)], "gene": [f"g{i}" for i in range(G)]},
    )


BASE = base()
COUNTS = BASE["counts"].values


def counts_as(values):
    return lambda ds: ds.assign(counts=(("sample", "gene"), values))


def counts_at(value, sample=slice(0, 1), gene=slice(2, 3)):
    """Some counts replaced."""
    values = COUNTS.copy()
    values[sample, gene] = value
    return counts_as(values)


def column(values, name="condition"):
    array = np.asarray(values) if not isinstance(values, str | list) else None
    if array is None or array.dtype.kind in "OU":
        array = np.empty(N, dtype=object)
        for i in range(N):
            array[i] = values if isinstance(values, str) else values[i]
    return lambda ds: ds.assign({name: ("sample", array)})


def named(dim, names):
    return lambda ds: ds.assign_coords({dim: names})


def typed(dtype):
    return lambda ds: ds.assign(counts=ds["counts"].astype(dtype))


SPOILED_COUNTS = {
    **{
        f"one {v:g}": counts_at(v)
        for v in (1e9, 2.0**31, 2.0**53, 2.0**54, 2.0**63, 1e18, 1e100, 1e300, 5e-324, 1e-300, 0.5)
    },
    **{f"one {v}": counts_at(v) for v in (np.nan, np.inf, -np.inf, -1.0, -5e-324)},
    **{f"gene {v:g}": counts_at(v, slice(None)) for v in (0.0, 1.0, 7.0, 1e9, 2.0**53, 1e15, 1e300, 5e-324)},
    **{f"sample {v:g}": counts_at(v, slice(0, 1), slice(None)) for v in (0.0, 1e9, 1e15, 1e-300)},
    "one group only": counts_at(0.0, slice(0, N // 2), slice(0, 4)),
    "one count": counts_at(0.0, slice(1, None), slice(2, 3)),
    "all zero": counts_as(0.0 * COUNTS),
    "all one": counts_as(1.0 + 0.0 * COUNTS),
    "all ties": counts_as(np.where(COUNTS > 50, 100.0, 10.0)),
    "all huge": counts_as(COUNTS * 1e9),
    "all tiny": counts_as(COUNTS * 1e-200),
    "one gene drags": counts_at(1e7, slice(0, 3), slice(8, 9)),
    "no genes": lambda ds: ds.isel(gene=[]),
    "no samples": lambda ds: ds.isel(sample=[]),
    "one gene": lambda ds: ds.isel(gene=[0]),
    "one sample": lambda ds: ds.isel(sample=[0]),
    "three samples": lambda ds: ds.isel(sample=[0, 1, 9]),
    "only zeros and one": lambda ds: ds.assign(counts=(ds["counts"] * 0).where(ds["gene"] != "g3", 1.0)),
    **{
        f"as {t}": typed(t)
        for t in ("i1", "u1", "i2", "i4", "u4", "i8", "u8", ">i4", "f2", "f4", "g", "?", "c16")
    },
    **{f"as {t}": typed(t) for t in (object, str, "M8[ns]", "m8[s]", "S5")},
    "huge integers": counts_as(COUNTS.astype("i8") * 2**45),
    "huge unsigned": counts_as(np.full((N, G), 2**64 - 1, dtype="u8")),
    "lowest integer": counts_as(np.where(COUNTS > 50, np.iinfo("i8").min, 3)),
    "in chunks": lambda ds: ds.assign(counts=ds["counts"].chunk(sample=3, gene=2)),
    "in ragged chunks": lambda ds: ds.assign(counts=ds["counts"].chunk(sample=(1, 9), gene=(1, 7, 1))),
    "sparse": counts_as(da.from_array(COUNTS, chunks=(N, 4)).map_blocks(sp.csc_matrix)),
    "transposed": lambda ds: ds.assign(counts=ds["counts"].transpose("gene", "sample")),
    "not contiguous": lambda ds: ds.assign(counts=ds["counts"].isel(sample=slice(None, None, -1))),
    "read only": counts_as(np.broadcast_to(COUNTS[:1], (N, G))),
}
SPOILED_LABELS = {
    **{
        f"{d} {w}": named(d, f(n))
        for d, n in (("sample", N), ("gene", G))
        for w, f in {
            "repeated": lambda n: ["a"] * n,
            "empty": lambda n: ["", *(f"n{i}" for i in range(n - 1))],
            "unicode": lambda n: [f"\u00fc\u4e2d\U0001f9ec{i}\u202e\n" for i in range(n)],
            "slashes": lambda n: [f"../{i}/a\\b" for i in range(n)],
            "long": lambda n: [f"{i}" * 5000 for i in range(n)],
            "numbers": lambda n: np.arange(n)[::-1],
            "fractions": lambda n: np.arange(n) / 7,
            "NaN": lambda n: [np.nan] * n,
            "None": lambda n: np.array([None, *(f"n{i}" for i in range(n - 1))], dtype=object),
            "dates": lambda n: pd.date_range("2020", periods=n),
            "mixed": lambda n: np.array([1, "1", *range(2, n)], dtype=object),
            "surrogate": lambda n: ["\ud800", *(f"n{i}" for i in range(n - 1))],
            "booleans": lambda n: np.arange(n) > 0,
            "statistics": lambda n: ["pval", "counts", "sample", "gene", *(f"n{i}" for i in range(n - 4))],
        }.items()
    },
    "no labels": lambda ds: ds.drop_vars(["sample", "gene"]),
    "pairs": lambda ds: ds.drop_vars("gene").assign_coords(
        xr.Coordinates.from_pandas_multiindex(pd.MultiIndex.from_product([range(3), list("abc")]), "gene")
    ),
    "other dims": lambda ds: ds.rename(gene="feature"),
    "a dim more": lambda ds: ds.expand_dims("layer"),
}
SPOILED_COLUMNS = {
    "constant": column("A"),
    "one sample groups": column([f"l{i}" for i in range(N)]),
    "one alone": column(["A", *"BBBBBBBBB"]),
    "three levels": column([*"AAABBBBCCC"]),
    "missing": column([None, *"AAAABBBBB"]),
    "NaN": column([np.nan, *"AAAABBBBB"]),
    "mixed": column([1, "A", *"AAABBBBB"]),
    "numbers": column(np.repeat([0, 1], N // 2)),
    "booleans": column(np.repeat([False, True], N // 2)),
    "unicode": column(["\u00e4\n", "\U0001f9ec'\"`"] * (N // 2)),
    "empty level": column(["", "B"] * (N // 2)),
    "spaces": column([" ", "  "] * (N // 2)),
    "quotes": column(["'; drop", 'T.B"]'] * (N // 2)),
    "long levels": column(["A" * 5000, "B" * 5000] * (N // 2)),
    "bytes": column([b"A", b"B"] * (N // 2)),
    "dates": column(pd.date_range("2020", periods=N).to_numpy()),
    "durations": column(np.arange(N).astype("m8[s]")),
    "complex": column(np.arange(N) * 1j),
    "objects": column([object()] * N),
    "lists": column([[1], [2]] * (N // 2)),
    "x constant": column(np.full(N, 3.0), "x"),
    "x zero": column(np.zeros(N), "x"),
    "x as the batch": column(np.tile([0.0, 1.0], N // 2), "x"),
    "x as the condition": column(np.repeat([0.0, 1.0], N // 2), "x"),
    "x near the condition": column(np.repeat([0.0, 1.0], N // 2) + 1e-7 * np.arange(N), "x"),
    "x nearer the condition": column(np.repeat([0.0, 1.0], N // 2) + 1e-11 * np.arange(N) ** 2, "x"),
    "x seconds": column(1.7e9 + 86400.0 * np.arange(N) ** 1.1, "x"),
    "x nanoseconds": column(1_700_000_000_000_000_000 + 10**13 * np.arange(N) ** 2, "x"),
    **{f"x {v:g}": column(v * np.linspace(-1.0, 1.5, N), "x") for v in (1e-300, 1e-12, 1e12, 1e150, 1e300)},
    "x far out": column([0.0] * (N - 1) + [1e9], "x"),
    **{f"x one {v}": column([v] + [1.0, 2.0, 3.0] * 3, "x") for v in (np.nan, np.inf, 1e308, 5e-324)},
    "x huge integers": column(np.arange(N, dtype="u8") + 2**63, "x"),
    "x bigger integers": column([10**30 + i for i in range(N)], "x"),
    "x gone": lambda ds: ds.drop_vars("x"),
    "x along genes": lambda ds: ds.assign(x=("gene", np.arange(float(ds.sizes["gene"])))),
}
DESIGNS = [
    "~ condition",
    "~ condition",
    "~ condition + x",
    "~ x",
    "~ 0 + condition",
    "~ 1",
    "~ condition * x",
    "~ batch + condition",
    "~ condition + batch + x",
    "~ bs(x, df=3)",
    "~ poly(x, 2) + condition",
    "~ C(x)",
    "~ log(x)",
    "~ exp(x)",
    "~ I(x ** 10)",
    "~ condition:batch",
    "~ 0 + x",
    "~ donor",
    "~ nothing",
    "",
    "~",
    "condition",
    None,
    3,
    ["x"],
    {"a": 1},
    np.nan,
    np.ones((N, 1)),
    np.ones((N, 2)),
    np.eye(N),
    np.eye(N)[:, :3],
    np.zeros((N, 1)),
    np.full((N, 1), np.nan),
    np.column_stack([np.ones(N), 1e200 * np.arange(N)]),
    np.column_stack([np.ones(N), np.ones(N) + 1e-9 * np.arange(N)]),
    np.ones((N, 0)),
    np.ones((0, 0)),
    np.ones(N),
    np.ones((N, 1, 1)),
    np.array([["a"]] * N),
    np.ones((N, 1), dtype=bool),
    pd.DataFrame({"a": np.ones(N), "b": np.arange(N)}),
    pd.DataFrame({"a": list("xy") * 5}),
]
HUGE = [0.0, -1.0, 1e-300, 5e-324, 1e-8, 1e8, 1e300, np.inf, np.nan]
ARRAYS = [
    *(np.full(N, v) for v in HUGE),
    *(np.r_[v, np.ones(N - 1)] for v in HUGE),
    np.ones(3),
    np.ones((N, G)),
]
SOME = [
    *ARRAYS,
    *(np.full((N, G), v) for v in HUGE),
    np.ones((G, N)),
    "x",
    "condition",
    "nothing",
    3,
    1j,
    "",
    b"x",
    {},
]
OPTIONS = {
    "size_factors": ["normed_sum", "ratio", "poscounts", "tmm", "invariant", None, "none", *SOME],
    "offset": SOME,
    "weights": [*SOME, np.r_[np.zeros(4), np.ones(6)], np.r_[0.0, np.ones(9)], np.geomspace(1e-8, 1e8, N)],
    "overdispersion": [
        True,
        "global",
        False,
        None,
        *HUGE,
        *(np.full(G, v) for v in HUGE),
        np.ones(3),
        "x",
        1j,
        {},
    ],
    "shrinkage": [False, 1, "no", None],
    "cox_reid": [False, 0, "no"],
    "method": ["edger", "deseq", None, 3],
    "robust": [True, 1, "yes"],
    "cooks": ["flag", "replace", True, "drop"],
    "ridge": [*HUGE, [1.0, 1.0], [1.0], np.eye(2), {"x": 1.0}, {"condition[T.B]": 1e9}, "x", True, [[]]],
    "ridge_target": [[1.0, 1.0], 1e300, "x"],
    "subsample": [1, 0, -1, 5, 9, 10, 11, 2**63, 1.5, "x", True],
    "adjust": ["by", "holm", "storey", "x", None, 3],
    "cluster": ["donor", "condition", "batch", ["donor", "batch"], "nothing", 3, []],
    "by": ["batch", "donor", "condition", "nothing", 3, ["batch"]],
    "contrasts": [
        None,
        "last",
        "condition",
        [],
        "x",
        "nothing",
        [1, 0],
        [0, 0],
        [1e300, 1],
        [np.nan, 1],
        3,
        "pairwise(condition)",
        {"a": "condition"},
        np.eye(2),
        "1",
        "-" * 3000 + "x",
        "cond(condition='B') - cond(condition='A')",
        "1e308 * x",
    ],
    "reference": [{"condition": "B"}, {"condition": 3}, {"x": 1}, {}, "A", {"nothing": "A"}],
    "counts": ["nothing", "x", "", None, 3],
    "device": ["cpu", "gpu", None, "cuda:99"],
    "compute": [False],
}
PARTS = [
    ("values", st.sampled_from(sorted(SPOILED_COUNTS))),
    ("labels", st.sampled_from(sorted(SPOILED_LABELS))),
]
PARTS += [("columns", st.sampled_from(sorted(SPOILED_COLUMNS)))] * 2
PARTS += [(name, st.sampled_from(range(len(values)))) for name, values in sorted(OPTIONS.items())]
SPOILERS = {**SPOILED_COUNTS, **SPOILED_LABELS, **SPOILED_COLUMNS}
CASES = st.tuples(
    st.sampled_from(range(12)) | st.sampled_from(range(len(DESIGNS))),  # the first are good ones
    st.lists(
        st.sampled_from(range(len(PARTS))).flatmap(lambda i: st.tuples(st.just(i), PARTS[i][1])), max_size=3
    ),
)


def build(case):
    """The spoiled data, design and options of a case."""
    warnings.simplefilter("ignore")  # of NumPy, about the spoiling; `examine` calls this where it is restored
    design, spoiled = case
    ds, options = BASE.copy(deep=True), {}
    for part, what in spoiled:
        name = PARTS[part][0]
        if name in OPTIONS:
            options[name] = OPTIONS[name][what]
        else:
            try:
                ds = SPOILERS[what](ds)
            except (ValueError, TypeError, KeyError):  # two spoilers of one part can exclude each other
                continue
    return ds, DESIGNS[design], options


# ---------------------------------------------------------------- what an answer is held to


def check_refusal(error):
    assert isinstance(error, ValueError | TypeError | OSError), repr(error)
    last = traceback.extract_tb(error.__traceback__)[-1].filename
    words = str(error)
    assert "/xdelnx/" in last or "unexpected keyword" in words, f"raised in {last}: {words}"
    assert 15 < len(words) < 20_000
    assert not any(noise in words for noise in ("Traceback", " at 0x", "site-packages")), words


def check_answer(result, n_genes, adjust):
    """Everything in range, and NaN only where the status says why."""
    assert result.sizes["gene"] == n_genes
    status = result["status"].values
    assert np.isin(status, [int(s) for s in Status]).all()
    there = ~np.isin(status, NO_STATISTICS)
    for name in ("beta", "deviance", "mean", "dispersion", "standard_error"):
        values = result[name].transpose("gene", ...).values[there]
        allowed = np.isfinite(values) if name != "standard_error" else ~np.isnan(values)
        assert allowed.all() or status[there][~allowed.reshape(len(values), -1).all(1)].all(), name
        assert name == "beta" or (values[np.isfinite(values)] >= -1e-9).all(), name
    if "size_factor" in result:
        assert (result["size_factor"].values > 0).all()
    if "pval" in result:
        check_tests(result, status, adjust)


def check_tests(result, status, adjust):
    pval, padj, lfc, stat = (
        result[name].transpose("contrast", "gene").values for name in ("pval", "padj", "log2fc", "stat")
    )
    assert ((pval >= 0) & (pval <= 1) | np.isnan(pval)).all()
    if adjust != "storey":  # whose estimate of the true nulls may be few
        assert (padj[np.isfinite(pval)] >= pval[np.isfinite(pval)] * (1 - 1e-12)).all()
    assert (padj[np.isfinite(padj)] <= 1).all()
    assert (np.isfinite(padj) == np.isfinite(pval)).all()
    assert (np.abs(lfc[np.isfinite(lfc)]) <= LARGEST_LOG2FC).all()
    assert not np.isinf(lfc).any()
    one = ~np.isnan(lfc).all(axis=1)
    unexplained = (np.isnan(pval) | np.isnan(stat)).any(axis=0) & (status == Status.OK)
    assert not unexplained.any(), "NaN statistics of genes whose status is ok"
    assert not (np.isnan(lfc[one]).any(axis=0) & (status == Status.OK)).any()
    assert (stat[np.isfinite(stat)] >= -1e-6 * (1 + np.abs(stat[np.isfinite(stat)]))).all()


def same(first, second, genes):
    """Statistics of genes that are sure, in two results: rounding moves an optimum by its tolerance squared."""
    first, second = (r.sel(gene=genes) for r in (first, second))
    assert (first["status"].values == second["status"].values).all()
    sure = ~np.isin(first["status"].values, UNSURE)
    for name in ("pval", "log2fc", "deviance", "dispersion"):
        if name in first:
            a, b = (r[name].transpose("gene", ...).values[sure] for r in (first, second))
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-6, err_msg=name)


FIGURES, SEEN = Counter(), set()


def examine(case):
    """One case: refused in words, or answered within bounds and alike in another order."""
    SEEN.add(repr(case))
    with warnings.catch_warnings():
        ds, design, options = build(case)
    faulthandler.dump_traceback_later(SECONDS, exit=True)
    before = ds["counts"].copy(deep=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", xd.XdelnxWarning)
            try:
                result = xd.fit(ds, design, **options).compute()
            except Exception as error:  # noqa: BLE001 -- whatever it is, it is looked at
                check_refusal(error)
                FIGURES["refused"] += 1
                return
            FIGURES["answered"] += 1
            if isinstance(before.data, np.ndarray):
                xr.testing.assert_identical(ds["counts"], before)
            if "by" in options:
                return
            check_answer(result, ds.sizes["gene"], options.get("adjust"))
            check_others(ds, design, options, result)
    finally:
        faulthandler.cancel_dump_traceback_later()


def check_others(ds, design, options, result):
    """In another order, and with a gene without a count more, where nothing of the case depends on positions."""
    arrays = any(isinstance(v, np.ndarray | list) and np.ndim(v) for v in options.values())
    if arrays or not isinstance(design, str) or "subsample" in options or "sample" not in ds.coords:
        return
    reverse = ds.isel(gene=slice(None, None, -1), sample=slice(None, None, -1))
    if options.get("size_factors") != "invariant":  # which chooses among genes by rank
        same(result, xd.fit(reverse, design, **options).compute(), result["gene"].values)
    FIGURES["compared"] += 1
    if ds["counts"].dtype.kind == "f" and isinstance(ds["gene"].values[0], str):
        zero = (ds["counts"].isel(gene=[0]) * 0).assign_coords(gene=np.array(["without"], dtype=object))
        more = ds.drop_dims("gene").assign(counts=xr.concat([ds["counts"], zero], "gene"))
        same(result, xd.fit(more, design, **options).compute(), result["gene"].values)


def spoil(function, n, number):
    decorate = settings(max_examples=n, suppress_health_check=list(HealthCheck), print_blob=True)
    return seed(number)(decorate(given(CASES)(function)))


def test_hostile_data():
    spoil(examine, 100, 1)()


@pytest.mark.stress
def test_hostile_data_in_full():
    FIGURES.clear()
    SEEN.clear()
    spoil(examine, 2500, 2)()
    print(f"\n{len(SEEN)} different hostile data sets, none answered wrongly: {dict(FIGURES)}")
    assert len(SEEN) >= 2000

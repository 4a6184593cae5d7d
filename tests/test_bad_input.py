"""Whatever cannot be fitted is refused with words that say what is wrong, what was received and what to do.

One table: what the user does, the class of the error, and words that its message must have. Every entry
also checks that the data is as it was and that no file was written.
"""

import os
import pickle
import warnings
from pathlib import Path

import anndata as ad
import dask
import dask.array as da
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import sparse
import xarray as xr

import xdelnx as xd
from xdelnx.storage.conversion import convert
from xdelnx.storage.io import open_counts, write_store

N, G = 8, 30


def make():
    rng = np.random.default_rng(0)
    ds = xr.Dataset(
        {"counts": (("sample", "gene"), rng.poisson(20.0, (N, G)).astype(float))},
        {"sample": [f"s{i}" for i in range(N)], "gene": [f"g{i}" for i in range(G)]},
    )
    ds["condition"] = ("sample", np.repeat(["A", "B"], N // 2).astype(object))
    ds["batch"] = ("sample", np.tile(["x", "y"], N // 2).astype(object))
    ds["age"] = ("sample", rng.normal(50.0, 10.0, N))
    ds["length"] = ("gene", np.full(G, 1000.0))
    return ds


DS = make()
SAMPLES, GENES = list(DS["sample"].values), list(DS["gene"].values)


@pytest.fixture(scope="module")
def fitted():
    return xd.fit(DS, "~ condition")


def with_counts(value, sample=2, gene=(3, 7)):
    """The data with some counts replaced."""
    ds = DS.copy(deep=True)
    ds["counts"].values[sample, list(gene)] = value
    return ds


def chunked(ds):
    return ds.assign(counts=ds["counts"].chunk(sample=3, gene=7))


def counts_as(array):
    return DS.assign(counts=(("sample", "gene"), array))


class Duck:
    """An array that is neither NumPy's nor Dask's, one that no part of the package can read."""

    shape, ndim, dtype = (N, G), 2, np.dtype(float)

    def __array_function__(self, function, types, args, kwargs):
        return NotImplemented

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        return NotImplemented

    def transpose(self, *axes):
        return self


def fit(design="~ condition", ds=DS, **options):
    return lambda: xd.fit(ds, design, **options)


def filtering(**options):
    return lambda: xd.filter_by_expression(DS, **options)


def ranks(by, **options):
    return lambda: xd.rank_genes(DS, by, **options)


def pseudobulk(by, ds=DS):
    return lambda: xd.pseudobulk(ds, by)


def fit_data(ds):
    return lambda: xd.fit(ds, "~ condition")


NEGATIVE = "negative counts: 2, in 2 genes (g3, g7); pass raw counts"
MISSING = "NaN or infinite counts: 2, in 2 genes (g3, g7); fill them in, or leave those genes or samples out"
NO_COLUMNS = (
    "'condition', which is not a column of the samples; there are none: add them as variables along 'sample'"
)
SWAPPED = "names 'condition', which lies along 'gene' and not along 'sample'; are the names of 'sample' and"
COEFFICIENTS = "'condition[T.C]' is not a coefficient of the design; did you mean 'condition[T.B]'?"
DONORS = DS.assign(donor=("sample", np.repeat(["a", "b", "c", "d"], 2).astype(object)))
ALONE = DONORS.assign(donor=DONORS["donor"].where(DS["condition"] == "A", "c"))
LOST = DS.drop_vars(["sample", "gene"])

# what the user does: (call, class of the error, words of its message)
TABLE = {
    # ---- counts that are none
    "negative": (fit_data(with_counts(-3.0)), ValueError, NEGATIVE),
    "NaN": (fit_data(with_counts(np.nan)), ValueError, MISSING),
    "infinite": (fit_data(with_counts([np.inf, -np.inf])), ValueError, MISSING),
    "negative, integers": (
        fit_data(counts_as(with_counts(-3)["counts"].values.astype(int))),
        ValueError,
        NEGATIVE,
    ),
    "negative, in chunks": (fit_data(chunked(with_counts(-3.0))), ValueError, NEGATIVE),
    "NaN, in chunks": (fit_data(chunked(with_counts(np.nan))), ValueError, MISSING),
    "all zero": (
        fit_data(DS.assign(counts=0 * DS["counts"])),
        ValueError,
        "every count of the 30 genes is zero",
    ),
    "beyond what digits tell": (
        fit_data(with_counts(2.0**53)),
        ValueError,
        "the largest count is 9.01e+15, and counts go up to 1e+12, beyond which the digits of a number do not tell",
    ),
    "names that are one as text": (
        fit_data(DS.assign_coords(gene=np.array([1, "1", *GENES[2:]], dtype=object))),
        ValueError,
        "duplicate gene names: 1; give each gene a name of its own",
    ),
    "a covariate beyond its square": (
        fit("~ age", DS.assign(age=1e200 * DS["age"])),
        ValueError,
        "columns of the design are too large or too small to compute with: age (",
    ),
    "a contrast beyond its square": (
        fit(contrasts="1e308 * condition[T.B]"),
        ValueError,
        "the weights of the contrast are of the order 1e+308; give some of the order 1",
    ),
    "negative, size factors": (lambda: xd.size_factors(with_counts(-3.0)), ValueError, NEGATIVE),
    # ---- counts of another type
    "text": (
        fit_data(counts_as(DS["counts"].values.astype(str))),
        TypeError,
        "'counts' holds text or mixed objects",
    ),
    "objects": (fit_data(counts_as(DS["counts"].values.astype(object))), TypeError, ".astype('int32')"),
    "booleans": (fit_data(counts_as(DS["counts"].values > 20)), TypeError, "'counts' holds True and False"),
    "complex": (fit_data(counts_as(DS["counts"].values + 1j)), TypeError, "'counts' holds complex numbers"),
    "dates": (fit_data(counts_as(DS["counts"].values.astype("M8[ns]"))), TypeError, "'counts' holds dates"),
    "another library": (fit_data(counts_as(Duck())), TypeError, "make it NumPy with ds['counts'].as_numpy()"),
    # ---- data of another type
    "a path": (
        fit_data("counts.zarr"),
        FileNotFoundError,
        "there is nothing at c",
    ),
    "a Path": (fit_data(Path("counts.zarr")), FileNotFoundError, "there is nothing at counts.zarr"),
    "a path of nothing": (fit_data("cells.h5ad"), FileNotFoundError, "there is nothing at cells.h5ad"),
    "a matrix": (
        fit_data(DS["counts"].values),
        TypeError,
        "received ndarray; make a Dataset of a matrix y with",
    ),
    "a sparse matrix": (
        fit_data(sp.csr_matrix(DS["counts"].values)),
        TypeError,
        "received csr_matrix; make a Dataset",
    ),
    "a table": (fit_data(DS["counts"].to_pandas()), TypeError, "received DataFrame; make a Dataset"),
    "nothing": (fit_data(None), TypeError, "received NoneType"),
    # ---- dimensions and names
    "misnamed dimensions": (
        fit_data(DS.rename(sample="cell", gene="feature")),
        ValueError,
        "has ('cell', 'feature'); say what they are by sample='cell', gene='feature' (--sample cell --gene feature), "
        "or rename them, e.g. .rename({'cell': 'sample', 'feature': 'gene'})",
    ),
    "one misnamed": (fit_data(DS.rename(gene="feature")), ValueError, ".rename({'feature': 'gene'})"),
    "a dimension lost": (
        fit_data(DS.isel(gene=3)),
        ValueError,
        "gene is missing; select with a list, as .isel(gene=",
    ),
    "a dimension more": (
        fit_data(DS.expand_dims(layer=2)),
        ValueError,
        "select one entry of layer, or sum over it",
    ),
    "names along another dimension": (
        fit_data(DS.assign_coords(sample=pd.Index(SAMPLES, name="cell"))),
        ValueError,
        "the coordinate 'sample' lies along 'cell' and not along 'sample', as of a pandas Index whose own name is "
        "'cell'; assign its values: data.assign_coords(sample=('sample', names.values))",
    ),
    "swapped names": (fit_data(DS.rename(sample="gene", gene="sample")), ValueError, SWAPPED),
    "no metadata": (fit_data(DS["counts"]), ValueError, NO_COLUMNS),
    "no labels": (fit_data(LOST["counts"]), ValueError, NO_COLUMNS),
    "duplicate genes": (
        fit_data(DS.assign_coords(gene=["TBCE", "TBCE", *GENES[2:]])),
        ValueError,
        "duplicate gene names: TBCE; give each gene a name of its own (in AnnData: adata.var_names_make_unique())",
    ),
    "duplicate samples": (
        fit_data(DS.assign_coords(sample=["a"] * N)),
        ValueError,
        "duplicate sample names: a; give",
    ),
    "another variable": (
        fit_data(DS.rename(counts="Counts")),
        ValueError,
        "did you mean 'Counts'? variables: Counts",
    ),
    "no such variable": (
        fit(counts="umi"),
        ValueError,
        "no variable 'umi' in the data; variables: counts, condition",
    ),
    "not counts": (fit(counts="age"), ValueError, "'age' needs the dimensions 'sample' and 'gene'"),
    "no name": (
        fit(counts=None),
        TypeError,
        "counts is the name of the variable that holds them, received None",
    ),
    "a layer": (
        lambda: xd.fit(anndata_of(DS), "~ condition", counts="raw"),
        ValueError,
        "the AnnData has no layer 'raw'; it has none",
    ),
    # ---- sizes
    "no genes": (
        fit_data(DS.isel(gene=[])),
        ValueError,
        "there are no genes: the dimension 'gene' has length 0",
    ),
    "no samples": (fit_data(DS.isel(sample=[])), ValueError, "there are no samples"),
    "one sample": (
        fit_data(DS.isel(sample=[0])),
        ValueError,
        "there is one sample: a fit needs at least two",
    ),
    "two samples": (fit_data(DS.isel(sample=[0, 4])), ValueError, "leaves no residual degrees of freedom"),
    "a sample each": (
        fit("~ age", ds=DS.isel(sample=[0, 4])),
        ValueError,
        "at least 2 coefficients from 2 samples",
    ),
    # ---- designs
    "absent column": (
        fit("~ conditions"),
        ValueError,
        "did you mean 'condition'? columns of the samples: condition, ",
    ),
    "column elsewhere": (
        fit("~ length"),
        ValueError,
        "'length', which lies along 'gene' and not along 'sample'",
    ),
    "names of the samples": (
        fit("~ sample"),
        ValueError,
        "names 'sample', which holds the names of the samples; name a column",
    ),
    "single value": (
        fit("~ run", ds=DS.assign(run=3)),
        ValueError,
        "names 'run', which is a single value, not along 'sample'",
    ),
    "a response": (
        fit("counts ~ condition"),
        ValueError,
        "has 'counts' on its left side. The counts are the response already: write '~ condition'",
    ),
    "absent level": (
        fit_data(DS.isel(sample=slice(4))),
        ValueError,
        "nothing to compare: every sample has condition",
    ),
    "NA of a factor": (
        fit_data(DS.assign(condition=DS["condition"].where(DS["sample"] != "s3"))),
        ValueError,
        "column 'condition' is missing (NA) in 1 of 8 samples: s3. Samples are never dropped silently",
    ),
    "NA of a number": (
        fit("~ age", ds=DS.assign(age=DS["age"].where(DS["sample"] != "s3"))),
        ValueError,
        "column 'age' is missing (NA) in 1 of 8 samples: s3",
    ),
    "confounded": (
        fit("~ condition + lane", ds=DS.assign(lane=DS["condition"])),
        ValueError,
        "lane[T.B] = condition[T.B]",
    ),
    "no tilde": (fit("condition"), ValueError, "it has no '~'. Write '~ condition'"),
    "a list": (fit(["condition"]), TypeError, "a design is a formula such as '~ condition', a DataFrame"),
    "another matrix": (fit(np.ones((5, 1))), ValueError, "has 5 rows for 8 samples"),
    "unknown level": (
        fit(reference={"condition": "C"}),
        ValueError,
        "'condition' has no level 'C'; levels of 'condition' with samples: A, B",
    ),
    "unknown factor": (fit(reference={"cond": "A"}), ValueError, "did you mean 'condition'?"),
    "unused factor": (fit(reference={"batch": "x"}), ValueError, "'batch' is not used by the formula"),
    "a level alone": (fit(reference="A"), TypeError, "reference is a mapping of column to level"),
    "unknown coefficient": (fit(contrasts="condition[T.C]"), ValueError, COEFFICIENTS),
    # ---- size factors
    "factors of zero": (
        fit(size_factors=[0.0, *np.ones(N - 1)]),
        ValueError,
        "size_factors must be positive and finite; received s0 (0)",
    ),
    "factors NaN": (fit(size_factors=[*np.ones(N - 1), np.nan]), ValueError, "finite; received s7 (nan)"),
    "negative factors": (fit(size_factors=-np.ones(N)), ValueError, "received s0 (-1), s1 (-1)"),
    "factors, length": (
        fit(size_factors=np.ones(7)),
        ValueError,
        "size_factors needs a number for each of the 8 samples; received an array of shape (7,)",
    ),
    "one factor": (fit(size_factors=1.0), ValueError, "each of the 8 samples; received one value"),
    "no such cluster": (
        fit(ds=DONORS, cluster="donors"),
        ValueError,
        "cluster='donors' is not a column of the samples; did you mean 'donor'?",
    ),
    "cluster an array": (
        fit(cluster=np.arange(N)),
        TypeError,
        "cluster is the name of a column of the samples or a list of such names; received array(",
    ),
    "cluster missing": (
        fit(ds=DONORS.assign(donor=DONORS["donor"].where(DS["sample"] != "s3")), cluster="donor"),
        ValueError,
        "s3",
    ),
    "two clusters": (
        fit(cluster="batch"),
        ValueError,
        "cluster='batch' has 2 clusters (x, y); a variance between clusters needs at least 3, and some ten",
    ),
    "a cluster a sample": (
        fit(cluster="age"),
        ValueError,
        "cluster='age' has a cluster for every sample, so that none shares anything; leave it out, and the disp",
    ),
    "one cluster in a level": (
        fit(ds=ALONE, cluster="donor"),
        ValueError,
        "'condition[T.B]' rests on the donor 'c' alone, so that nothing tells its effect from what that donor is",
    ),
    "one cluster in a level, later": (
        lambda: xd.test(
            ALONE, xd.fit(ALONE, "~ condition", cluster="donor", contrasts=None), "condition[T.B]"
        ),
        ValueError,
        "each level that is compared needs at least two clusters",
    ),
    "cluster and ridge": (
        fit(ds=DONORS, cluster="donor", ridge=0.1),
        ValueError,
        "cluster= needs coefficients without a penalty, at which scores add up to 0; leave out ridge or cluster",
    ),
    "cluster and cooks": (
        fit(ds=DONORS, cluster="donor", cooks="flag"),
        ValueError,
        "cooks= looks for outliers among independent samples, which those of a cluster are not; leave out one",
    ),
    "invariant, no intercept": (
        fit("~ 0 + age", size_factors="invariant"),
        ValueError,
        "size_factors='invariant' needs a design with an intercept, against which samples are compared; the coeff",
    ),
    "invariant, ridge": (
        fit(size_factors="invariant", ridge=0.5),
        ValueError,
        "needs coefficients without a penalty, and ridge draws them to 0; leave out one",
    ),
    "invariant, few genes": (
        fit(ds=DS.isel(gene=slice(0, 15)), size_factors="invariant"),
        ValueError,
        "compares the samples by at least 20 genes that have counts enough, and there are fewer; use 'normed_sum'",
    ),
    "invariant without a design": (
        lambda: xd.size_factors(DS, method="invariant"),
        ValueError,
        "method='invariant' needs to know which samples are compared: pass design='~ condition', as to fit",
    ),
    "design without invariant": (
        lambda: xd.size_factors(DS, method="tmm", design="~ condition"),
        ValueError,
        "method='tmm' does not look at the design; leave it out, or choose method='invariant'",
    ),
    "invariant for ranks": (
        ranks("condition", size_factors="invariant"),
        ValueError,
        "size_factors='invariant' depends on a design: compute them with xdelnx.size_factors(data, method='inv",
    ),
    "unknown method": (
        fit(size_factors="normed_sums"),
        ValueError,
        "did you mean 'normed_sum'? choose one of: normed_",
    ),
    "factors of text": (
        fit(size_factors="condition"),
        TypeError,
        "size_factors='condition': that variable does not",
    ),
    "factors of genes": (
        fit(size_factors="length"),
        ValueError,
        "one number for each sample has the dimension 'sampl",
    ),
    "factors of some": (
        fit(size_factors={"s0": 1.0}),
        ValueError,
        "size_factors has no value for 7 samples: s1, s2, s3, s4, s5, ... (7 in all); its names are s0",
    ),
    "a method of nothing": (
        fit(ds=DS.assign(counts=DS["counts"].where(DS["sample"] != "s1", 0)), size_factors="ratio"),
        ValueError,
        "use 'poscounts', 'normed_sum' or 'tmm'",
    ),
    "method": (
        lambda: xd.size_factors(DS, method="tmmm"),
        ValueError,
        "unknown method 'tmmm'; did you mean 'tmm'?",
    ),
    # ---- offsets
    "offset, length": (
        fit(offset=np.zeros(3)),
        ValueError,
        "offset needs a number for each of the 8 samples; received",
    ),
    "one offset": (fit(offset=1.0), ValueError, "received one value"),
    "offset, swapped": (
        fit(offset=np.zeros((G, N))),
        ValueError,
        "offset has the shape (30, 8); expected (8, 30) (sample, gene), or one number for each sample",
    ),
    "offset NaN": (
        fit(offset=[np.nan, *np.zeros(N - 1)]),
        ValueError,
        "NaN or infinite offsets: s0 (nan); an offset",
    ),
    "offsets NaN": (
        fit(offset=np.where(np.arange(G) == 5, np.nan, np.zeros((N, G)))),
        ValueError,
        "NaN or infinite offsets: 8, in 1 gene (g5); an offset is the natural log of a scale",
    ),
    "offsets NaN, in chunks": (
        fit(ds=chunked(DS), offset=np.nan * chunked(DS)["counts"]),
        ValueError,
        "NaN or infinite offsets: 240, in 30 genes",
    ),
    "offset of text": (
        fit(offset="condition"),
        TypeError,
        "offset='condition': that variable does not hold numbers",
    ),
    "offset of words": (
        fit(offset=["a"] * N),
        TypeError,
        "offset needs a number for each sample; received ['a', 'a'",
    ),
    "unknown offset": (
        fit(offset="agee"),
        ValueError,
        "offset='agee' names no variable of the data; did you mean 'a",
    ),
    "offset of others": (
        fit(offset=pd.Series(np.zeros(N), [f"t{i}" for i in range(N)])),
        ValueError,
        "offset has no value for 8 samples",
    ),
    "offsets of others": (
        fit(offset=pd.DataFrame(np.zeros((N, G)), SAMPLES, GENES[::-1])),
        ValueError,
        "offset and counts differ in their names along 'gene' (g29, g28, ... (30 in all) and g0",
    ),
    "offset of library sizes": (
        fit(offset=DS["counts"].sum("gene")),
        ValueError,
        "an offset is the natural log of a scale; did you forget the log?",
    ),
    "offsets of library sizes": (
        fit(ds=chunked(DS), offset=1000.0 + 0 * chunked(DS)["counts"]),
        ValueError,
        "offsets beyond +-100: 240, in 30 genes (g0, g1, g2, g3, g4, ... (30 in all)); an offset is the natural log",
    ),
    "one large offset": (
        fit(offset=(DS["counts"] * 0.0).where(DS["counts"] < DS["counts"].max(), 800.0)),
        ValueError,
        "offsets beyond +-100: 1, in 1 gene (g",
    ),
    "factors far off": (
        fit(size_factors=[1e300, *np.ones(N - 1)]),
        ValueError,
        "size_factors are of the order of 1, the library size of a sample over that of most; received s0 (1e+300)",
    ),
    # ---- subsample
    "subsample, few": (
        fit(subsample=2),
        ValueError,
        "subsample=2 leaves no degrees of freedom: there are 2 coefficients; take some hundred",
    ),
    "subsample, none": (fit(subsample=0), ValueError, "subsample=0 leaves no degrees of freedom"),
    "subsample, negative": (fit(subsample=-5), ValueError, "subsample=-5 leaves no degrees of freedom"),
    "subsample, many": (
        fit(subsample=9),
        ValueError,
        "subsample=9 is more than the 8 samples; use None for all of them",
    ),
    "subsample, fraction": (fit(subsample=5.5), TypeError, "on, or None; received 5.5"),
    "subsample, switch": (fit(subsample=True), TypeError, "on, or None; received True"),
    "subsample, word": (fit(subsample="5"), TypeError, "on, or None; received '5'"),
    "subsample, nothing to estimate": (
        fit(subsample=5, overdispersion=0.1),
        ValueError,
        "subsample is for estimating the overdispersion, which is given here",
    ),
    "subsample, weights": (
        fit(subsample=5, weights=np.ones((N, G))),
        ValueError,
        "use weights (sample,), or leave out one",
    ),
    "subsample, weights of 0": (
        fit(subsample=7, weights=np.arange(N) > 1.5),
        ValueError,
        "subsample=7 is more than the 6 samples of weight above 0",
    ),
    "subsample, rank": (
        fit("~ one", DS.assign(one=("sample", np.eye(N)[0])), subsample=3),
        ValueError,
        "the subsample of 3 samples does not determine all coefficients",
    ),
    # ---- weights
    "weights < 0": (
        fit(weights=-np.ones(N)),
        ValueError,
        "weights are finite and 0 or more; received s0 (-1)",
    ),
    "weights NaN": (
        fit(weights=np.where(np.arange(N) == 3, np.nan, 1.0)),
        ValueError,
        "weights are finite and 0 or more; received s3 (nan); a weight of 0 leaves a sample out",
    ),
    "weights infinite": (fit(weights=np.full(N, np.inf)), ValueError, "received s0 (inf), s1 (inf)"),
    "weights, scale": (fit(weights=np.full(N, 1e-9)), ValueError, "the largest is 1e-09"),
    "weights, length": (
        fit(weights=np.ones(3)),
        ValueError,
        "weights needs a number for each of the 8 samples; received an array of shape (3,)",
    ),
    "weights, number": (fit(weights=2.0), ValueError, "for each of the 8 samples; received one value"),
    "weights, swapped": (
        fit(weights=np.ones((G, N))),
        ValueError,
        "weights has the shape (30, 8); expected (8, 30) (sample, gene), or one number for each sample",
    ),
    "weights by gene": (
        fit(weights="length"),
        ValueError,
        "weights has the dimensions ('gene'); one number for each sample has the dimension 'sample'",
    ),
    "weights of text": (
        fit(weights="condition"),
        TypeError,
        "weights='condition': that variable does not hold numbers",
    ),
    "weights, unknown": (fit(weights="agee"), ValueError, "weights='agee' names no variable of the data"),
    "weights all 0": (
        fit(weights=np.zeros(N)),
        ValueError,
        "every weight is 0, which leaves out every sample",
    ),
    "weights leave a sample": (
        fit(weights=np.eye(N)[0]),
        ValueError,
        "without the 7 samples of weight 0: there is one sample: a fit needs more",
    ),
    "weights leave too few": (
        fit(weights=np.eye(N)[0] + np.eye(N)[5]),
        ValueError,
        "without the 6 samples of weight 0: the design leaves no residual degrees of freedom: 2 samples for 2",
    ),
    "weights leave a group": (
        fit(weights=np.repeat([1.0, 0.0], 4)),
        ValueError,
        "without the 4 samples of weight 0: the design does not have full rank",
    ),
    "weights of entries < 0": (
        fit(weights=np.where(np.arange(G) == 7, -1.0, np.ones((N, G)))),
        ValueError,
        "weights below 0, above 1e+12 or NaN: 8, in 1 gene (g7); a weight of 0 leaves a count out",
    ),
    "weights of entries NaN, in chunks": (
        fit(weights=da.full((N, G), np.nan, chunks=(4, 7))),
        ValueError,
        "weights below 0, above 1e+12 or NaN: 240, in 30 genes (g0, g1, g2, g3, g4, ... (30 in all))",
    ),
    "weights of entries all 0": (
        fit(weights=np.zeros((N, G))),
        ValueError,
        "every count with a weight above 0 is zero; are the weights those of these samples?",
    ),
    "weights of others": (
        fit(weights=xr.DataArray(np.ones((N, G)), {"gene": GENES[::-1]}, ("sample", "gene"))),
        ValueError,
        "weights and counts differ in their names along 'gene'",
    ),
    "weights, cooks": (
        fit(weights=np.ones(N), cooks="flag"),
        ValueError,
        "cooks='flag' compares a count with its replicates as if all weights were 1",
    ),
    "weights, lost": (
        lambda: xd.test(DS, xd.fit(DS, "~ 1", weights=np.ones(N)).drop_vars("weights")),
        ValueError,
        "the Dataset is not a whole fit, it lacks weights",
    ),
    # ---- other options
    "overdispersion < 0": (fit(overdispersion=-1), ValueError, "must be finite and 0 or more; received -1"),
    "overdispersion NaN": (
        fit(overdispersion=np.where(np.arange(G) == 5, np.nan, 0.1)),
        ValueError,
        "received g5 (nan); genes without counts can have any number, as of .fillna(0)",
    ),
    "overdispersion, length": (
        fit(overdispersion=np.ones(3)),
        ValueError,
        "overdispersion needs a number for each of the 30 genes; received an array of shape (3,)",
    ),
    "overdispersion, word": (
        fit(overdispersion="globl"),
        ValueError,
        "choose True (estimate), 'global', False (Poiss",
    ),
    "overdispersion, nothing": (
        fit(overdispersion=None),
        TypeError,
        "overdispersion=None could mean several things; choose True (estimate), 'global', False (Poisson)",
    ),
    "overdispersion, object": (fit(overdispersion=1j), TypeError, "choose True (estimate), 'global'"),
    "ridge < 0": (fit(ridge=-1), ValueError, "ridge is 0 or more; received -1"),
    "ridge < 0, one": (fit(ridge=[0, -1]), ValueError, "0 or more; received condition[T.B] (-1)"),
    "ridge < 0, named": (fit(ridge={"condition[T.B]": -2}), ValueError, "received condition[T.B] (-2)"),
    "ridge NaN, one": (
        fit(ridge=[0, np.nan]),
        ValueError,
        "ridge is finite, up to 1e+100; received condition[T.B] (nan)",
    ),
    "ridge, length": (
        fit(ridge=[0, 1, 1]),
        ValueError,
        "received the shape (3,) for the 2 coefficients Intercept, condition[T.B]",
    ),
    "ridge, matrix": (fit(ridge=np.eye(3)), ValueError, "received the shape (3, 3) for the 2 coefficients"),
    "ridge, ragged": (fit(ridge=[[1, 0], [1]]), TypeError, "ridge is a number, 0 or more, a mapping of"),
    "ridge, matrix NaN": (
        fit(ridge=np.full((2, 2), np.nan)),
        ValueError,
        "ridge is finite, up to 1e+100; received nan",
    ),
    "ridge, unknown": (
        fit(ridge={"condition": 1}),
        ValueError,
        "ridge names 'condition', which is no coefficient; did you mean 'condition[T.B]'?",
    ),
    "ridge, columns": (fit(ridge=pd.DataFrame(np.eye(2))), ValueError, "ridge names '0', which is no coeff"),
    "ridge, words": (fit(ridge="much"), TypeError, "received 'much'"),
    "ridge target, no ridge": (fit(ridge_target=[0, 1]), ValueError, "and ridge is 0; give both, or neither"),
    "ridge target, length": (
        fit(ridge=1, ridge_target=[1.0]),
        ValueError,
        "ridge_target needs a number for each of the 2 coefficients Intercept, condition[T.B]; received the sh",
    ),
    "ridge target, matrix": (fit(ridge=1, ridge_target=np.eye(2)), ValueError, "received the shape (2, 2)"),
    "ridge target NaN": (
        fit(ridge=1, ridge_target=[0, np.nan]),
        ValueError,
        "ridge_target is finite, up to 1e+100; received condition[T.B] (nan)",
    ),
    "ridge target, unknown": (
        fit(ridge=1, ridge_target={"age": 1}),
        ValueError,
        "ridge_target names 'age', which is no coefficient; coefficients: Intercept",
    ),
    "ridge target, idle": (
        fit(ridge=1, ridge_target={"Intercept": 1}),
        ValueError,
        "ridge_target names Intercept, which ridge does not penalise; leave that out",
    ),
    "ridge target, words": (fit(ridge=1, ridge_target="a"), TypeError, "ridge_target is a mapping of"),
    "ridge that leaves no digits": (
        fit(ridge=1e8),
        ValueError,
        "ridge is at most 100000 times the largest value of a coefficient's column; received condition[T.B] (1e+08)",
    ),
    "ridge of small units": (
        fit("~ age", DS.assign(age=1e-9 * DS["age"]), ridge={"age": 1.0}),
        ValueError,
        "received age (1); give a smaller one, the column in other units",
    ),
    "ridge, nothing": (fit(ridge=None), TypeError, "received None"),
    "ridge, switch": (fit(ridge=True), TypeError, "received True"),
    "ridge, infinite": (fit(ridge=np.inf), ValueError, "received inf"),
    "shrinkage, word": (fit(shrinkage="no"), TypeError, "shrinkage is True or False, received 'no'"),
    "robust, number": (fit(robust=1), TypeError, "robust is True or False, received 1"),
    "robust, no prior": (fit(robust=True, shrinkage=False), ValueError, "and shrinkage=False has none"),
    "robust, one overdispersion": (
        fit(robust=True, overdispersion="global"),
        ValueError,
        "one overdispersion for all leaves none; use overdispersion=True",
    ),
    "method, word": (
        fit(method="deseq2"),
        ValueError,
        "method='deseq2' is unknown; choose 'glmgampoi' or 'edger'",
    ),
    "method, no prior": (fit(method="edger", shrinkage=False), ValueError, "leave out shrinkage=False"),
    "method, many overdispersions": (
        fit(method="edger", overdispersion=np.ones(G)),
        ValueError,
        "method='edger' has one overdispersion for all genes; give a number, 'global', or True",
    ),
    "cooks, word": (
        fit(cooks="drop"),
        ValueError,
        "cooks='drop' is unknown; choose None, 'flag' or 'replace'",
    ),
    "cooks, switch": (fit(cooks=True), ValueError, "cooks=True is unknown"),
    "cooks, lost": (
        lambda: xd.test(DS, xd.fit(DS, "~ 1", cooks="replace").drop_vars("replaced")),
        ValueError,
        "not a whole fit, it lacks replaced",
    ),
    "skip_corrupt, word": (
        fit(skip_corrupt="no"),
        TypeError,
        "skip_corrupt is True or False, received 'no'",
    ),
    "skip_corrupt, lazily": (fit(skip_corrupt=True, compute=False), ValueError, "compute=False reads none"),
    "cox_reid, number": (fit(cox_reid=0), TypeError, "cox_reid is True or False, received 0"),
    "device": (
        fit(device="tpu"),
        ValueError,
        "device='tpu' is not available; choose one of 'auto', 'cpu', 'gpu'",
    ),
    "another option": (fit(offsets=3), TypeError, "unexpected keyword argument 'offsets'"),
    "adjust, unknown": (
        fit(adjust="BHH"),
        ValueError,
        "adjust='BHH' is unknown; did you mean 'bh'? choose one of: bh, by, holm, storey",
    ),
    "adjust, nothing": (fit(adjust=None), ValueError, "adjust=None is unknown; choose one of"),
    "adjust without tests": (
        lambda: xd.adjust(DS),
        ValueError,
        "the result has no tests: expected a variable",
    ),
    # ---- a fit of each group
    "fit by an absent column": (
        fit(by="batches"),
        ValueError,
        "did you mean 'batch'? columns of the samples",
    ),
    "fit by several": (
        fit(by=["batch"]),
        TypeError,
        "by is the name of a column of the samples, whose groups",
    ),
    "fit by a result's name": (
        fit(by="mean", ds=DS.assign(mean=DS["batch"])),
        ValueError,
        "by='mean' is a name that a result uses itself; rename that column",
    ),
    "fit by, a matrix": (
        fit(np.ones((N, 1)), by="batch"),
        TypeError,
        "with by= the design is a formula, which each group's samples fill in; received ndarray",
    ),
    "fit by, missing": (
        fit("~ batch", ds=DS.assign(condition=DS["condition"].where(DS["sample"] != "s3")), by="condition"),
        ValueError,
        "column 'condition' is missing (NA) in 1 of 8 samples: s3",
    ),
    "fit by, no group": (
        fit("~ conditions", by="batch"),
        ValueError,
        "no group of 'batch' can be fitted: x (",
    ),
    "fit by, factors": (
        fit(by="batch", size_factors=np.ones(4)),
        ValueError,
        "size_factors needs a number for each of the 8 samples",
    ),
    # ---- rank_genes
    "ranks by an absent column": (
        ranks("batches"),
        ValueError,
        "by='batches' is not a column of the samples; did you mean 'batch'?",
    ),
    "ranks of an absent group": (
        ranks("batch", groups=["z"]),
        ValueError,
        "groups: there is no group 'z'; choose from: x, y",
    ),
    "ranks of a group's name": (
        ranks("batch", groups="xy"),
        TypeError,
        "groups is a list of labels, received 'xy'",
    ),
    "ranks of no group": (ranks("batch", groups=[]), ValueError, "groups names no group; leave it out"),
    "ranks against an absent group": (
        ranks("batch", reference="z"),
        ValueError,
        "reference: there is no group 'z'; choose from: x, y, rest",
    ),
    "ranks against itself": (
        ranks("batch", groups=["x", "y"], reference="y"),
        ValueError,
        "the group 'y' is compared with itself; leave it out of groups",
    ),
    "ranks of one group": (
        lambda: xd.rank_genes(DS.isel(sample=slice(4)), "condition"),
        ValueError,
        "all cells are in one group, 'A': there is nothing to compare it with",
    ),
    "ranks, adjust": (ranks("batch", adjust="fdr"), ValueError, "adjust='fdr' is unknown"),
    # ---- filter_by_expression
    "filter by both": (
        filtering(design="~ batch", group="batch"),
        ValueError,
        "design and group both say what the groups are; give one of them",
    ),
    "filter by an absent group": (
        filtering(group="Batch"),
        ValueError,
        "group='Batch' is not a column of the samples; did you mean 'batch'?",
    ),
    "filter by an absent column": (filtering(design="~ conditions"), ValueError, "did you mean 'condition'?"),
    "min_count < 0": (filtering(min_count=-1), ValueError, "min_count is one number, 0 or more; received -1"),
    "min_count NaN": (filtering(min_count=np.nan), ValueError, "received nan"),
    "min_prop > 1": (filtering(min_prop=70), ValueError, "min_prop is one number, from 0 to 1; received 70"),
    "large_n, word": (filtering(large_n="10"), TypeError, "large_n is one number, received '10'"),
    "filter of negative counts": (lambda: xd.filter_by_expression(with_counts(-3.0)), ValueError, NEGATIVE),
    # ---- pseudobulk
    "by, absent": (
        pseudobulk("conditions"),
        ValueError,
        "by='conditions' is not a column of the samples; did you mean 'condition'? columns of the samples: condition",
    ),
    "by a gene's column": (pseudobulk("length"), ValueError, "by='length' is not a column of the samples"),
    "by nothing": (pseudobulk([]), ValueError, "by names no column"),
    "by None": (pseudobulk(None), TypeError, "by is the name of a column of the samples or a list of such"),
    "by numbers": (pseudobulk([1]), TypeError, "by is the name of a column"),
    "by one column twice": (pseudobulk(["batch", "batch"]), ValueError, "twice: batch, batch"),
    "by, missing": (
        pseudobulk(["batch", "condition"], DS.assign(condition=DS["condition"].where(DS["sample"] != "s3"))),
        ValueError,
        "column 'condition' is missing (NA) in 1 of 8 samples: s3. Leave those out",
    ),
    "sums of negative counts": (
        pseudobulk("batch", with_counts(-3.0)),
        ValueError,
        "2 negative counts; pass raw counts",
    ),
    "sums of missing counts": (
        lambda: pseudobulk("batch", chunked(with_counts(np.nan)))().compute(),
        ValueError,
        "1 NaN or infinite count; a sum over cells needs every one of them",
    ),
}


def anndata_of(ds):
    obs = ds[["condition", "age"]].to_dataframe()
    return ad.AnnData(ds["counts"].values, obs=obs, var=pd.DataFrame(index=ds["gene"].values))


def refused(call, error, words, before):
    with pytest.raises(error) as caught:
        call()
    message = str(caught.value.args[0])
    assert words in message
    # no path of a source file, no repr of an object with its address, nothing about the machinery
    assert not any(noise in message for noise in ("Traceback", ".py", " at 0x", "dask", "numpy."))
    assert pickle.dumps(DS.to_dict()) == before


@pytest.mark.parametrize("case", TABLE)
def test_refused(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(*TABLE[case], pickle.dumps(DS.to_dict()))
    assert os.listdir(tmp_path) == []


# ---------------------------------------------------------------- test


def asking(ds, contrast=None, **options):
    return lambda fit: xd.test(ds, fit, contrast, **options)


AFTER_A_FIT = {
    "unknown coefficient": (asking(DS, "condition[T.C]"), ValueError, COEFFICIENTS),
    "zeros": (asking(DS, [0, 0]), ValueError, "is zero for every coefficient: it compares nothing"),
    "nothing left": (
        asking(DS, "condition[T.B] - condition[T.B]"),
        ValueError,
        "is zero for every coefficient",
    ),
    "length": (asking(DS, [0, 0, 1]), ValueError, "weights of shape (3,) do not fit the 2 coefficients"),
    "both": (
        asking(DS, "condition[T.B]", reduced="~ 1"),
        ValueError,
        "say what to test twice; give one of them",
    ),
    "not nested": (asking(DS, reduced="~ batch"), ValueError, "batch"),
    "device": (asking(DS, device="tpu"), ValueError, "device='tpu' is not available"),
    "negative threshold": (
        asking(DS, lfc_threshold=-1.0),
        ValueError,
        "lfc_threshold is one number, 0 or more; received -1.0",
    ),
    "threshold NaN": (asking(DS, lfc_threshold=np.nan), ValueError, "lfc_threshold is one number, 0 or more"),
    "threshold as text": (
        asking(DS, lfc_threshold="1"),
        TypeError,
        "lfc_threshold is one number, 0 or more; received '1'",
    ),
    "threshold of a joint test": (
        asking(DS, np.eye(2), lfc_threshold=1.0),
        ValueError,
        "joint test of 2; test coefficients or differences of them: Intercept, condition[T.B]",
    ),
    "threshold of a reduced design": (
        asking(DS, reduced="~ 0", lfc_threshold=1.0),
        ValueError,
        "lfc_threshold is for contrasts of one degree of freedom",
    ),
    "adjust": (asking(DS, adjust="qvalue"), ValueError, "adjust='qvalue' is unknown"),
    "a fit by groups": (
        lambda fit: xd.test(DS, xd.fit(DS, "~ condition", by="batch")),
        ValueError,
        "the fit was made with by='batch', whose groups have designs of their own; ask for the contrasts in fit(",
    ),
    "a table of groups": (
        lambda fit: xd.top_table(xd.fit(DS, "~ condition", by="batch")),
        ValueError,
        "the result has groups along 'batch': choose one with .sel(batch=), out of x, y",
    ),
    "adjust across": (
        lambda fit: xd.adjust(fit, across="contrasts"),
        ValueError,
        "across='contrasts' is not a dimension of the tests; did you mean 'contrast'?",
    ),
    "shrinking counts": (
        lambda fit: xd.shrink_lfc(DS),
        ValueError,
        "no fold changes with standard errors: it lacks coef, lfc_se, pval, df2; pass what xdelnx.test returned",
    ),
    "shrinking a table": (
        lambda fit: xd.shrink_lfc(xd.top_table(fit)),
        TypeError,
        "result is the Dataset that xdelnx.fit or xdelnx.test returned, received DataFrame",
    ),
    "a filter that is not there": (
        lambda fit: xd.adjust(fit, filter_by="means"),
        ValueError,
        "filter_by='means' is not a variable of the result along 'gene'; did you mean 'mean'",
    ),
    "a filter of another kind": (
        lambda fit: xd.adjust(fit, filter_by=[1.0, 2.0]),
        TypeError,
        "filter_by is the name of a variable or a DataArray along 'gene', not list",
    ),
    "a filter of other genes": (
        lambda fit: xd.adjust(fit, filter_by=fit["mean"][1:]),
        ValueError,
        "filter_by has other genes or dimensions",
    ),
    "a level of 5": (
        lambda fit: xd.adjust(fit, filter_by="mean", alpha=5),
        ValueError,
        "alpha=5 is a false discovery rate, a number between 0 and 1",
    ),
    "shrinking a fit without contrasts": (
        lambda fit: xd.shrink_lfc(xd.fit(DS, "~ condition", contrasts=None)),
        ValueError,
        "xdelnx.fit with contrasts",
    ),
    "shrinking a joint test": (
        lambda fit: xd.shrink_lfc(xd.test(DS, fit, np.eye(2))),
        ValueError,
        "no fold change to shrink: joint tests have none",
    ),
    "prediction without a column": (
        lambda fit: xd.predict(DS, fit, pd.DataFrame({"batch": ["x"]})),
        ValueError,
        "newdata lacks the column 'condition'",
    ),
    "prediction for an unseen level": (
        lambda fit: xd.predict(DS, fit, pd.DataFrame({"condition": ["A", "C"]})),
        ValueError,
        "levels of 'condition' that the fit has not seen: C",
    ),
    "prediction for a matrix of another width": (
        lambda fit: xd.predict(DS, fit, np.ones((2, 3))),
        ValueError,
        "the design of the fit has Intercept, condition[T.B]",
    ),
    "prediction on an unknown scale": (
        lambda fit: xd.predict(DS, fit, scale="log2"),
        ValueError,
        "scale='log2' of a prediction is unknown",
    ),
    "prediction at a negative size factor": (
        lambda fit: xd.predict(DS, fit, np.ones((2, 2)), size_factor=-1.0),
        ValueError,
        "size_factor is a positive number",
    ),
    "prediction of another fit": (
        lambda fit: xd.predict(DS.isel(gene=slice(9)), fit),
        ValueError,
        "the data has 9 genes",
    ),
    "residuals of an unknown kind": (
        lambda fit: xd.residuals(DS, fit, kind="anscombe"),
        ValueError,
        "kind='anscombe' of residuals is unknown",
    ),
    "residuals of an unknown gene": (
        lambda fit: xd.residuals(DS, fit, genes=["g77"]),
        ValueError,
        "1 gene not in the fit: g77",
    ),
    "residuals without a fit": (lambda fit: xd.residuals(DS, DS), ValueError, "holds counts, not a fit"),
    "residuals of other data": (
        lambda fit: xd.residuals(DS.isel(gene=slice(9)), fit),
        ValueError,
        "the data has 9 genes",
    ),
    "residuals at an unknown dispersion": (
        lambda fit: xd.residuals(DS, fit, dispersion="trend"),
        ValueError,
        "dispersion='trend' is unknown; choose 'fit' or 'gene'",
    ),
    "residuals with a negative seed": (
        lambda fit: xd.residuals(DS, fit, kind="randomized_quantile", seed=-1),
        ValueError,
        "seed is an integer, 0 or more; received -1",
    ),
    "goodness of fit of an unknown gene": (
        lambda fit: xd.goodness_of_fit(DS, fit, genes="g77"),
        ValueError,
        "1 gene not in the fit: g77",
    ),
    "covariance of no gene": (
        lambda fit: xd.covariance(DS, fit, []),
        ValueError,
        "genes is empty; name some of the fit's genes, or leave it out for all of them",
    ),
    "covariance of an unknown gene": (
        lambda fit: xd.covariance(DS, fit, ["g3", "g77"]),
        ValueError,
        "1 gene not in the fit: g77; did you mean 'g7'",
    ),
    "covariance of other data": (
        lambda fit: xd.covariance(DS.isel(sample=slice(6)), fit),
        ValueError,
        "the data has 6 samples",
    ),
    "covariance without a fit": (lambda fit: xd.covariance(DS, DS), ValueError, "holds counts, not a fit"),
    "fewer samples": (
        asking(DS.isel(sample=slice(6))),
        ValueError,
        "the data has 6 samples (s0, s1, ... (6 in all)) and the fit 8 samples",
    ),
    "other genes": (
        asking(DS.assign_coords(gene=[f"h{i}" for i in range(G)])),
        ValueError,
        "the data has 30 genes (h0, h1, ... (30 in all)) and the fit 30 genes (g0",
    ),
    "another order": (
        asking(DS.isel(gene=slice(None, None, -1))),
        ValueError,
        "the genes of the data are in another order than those of the fit; use data.sel(gene=fit.gene)",
    ),
    "no fit": (
        lambda fit: xd.test(DS, DS),
        ValueError,
        "holds counts, not a fit; the order is test(data, fit)",
    ),
    "swapped": (lambda fit: xd.test(fit, DS), ValueError, "the order is test(data, fit)"),
    "a path": (lambda fit: xd.test(DS, "fit.zarr"), TypeError, "opens with xarray.open_zarr('fit.zarr')"),
    "a test": (
        lambda fit: xd.test(DS, xd.test(DS, fit)),
        ValueError,
        "this is what xdelnx.test returned; pass the fit",
    ),
    "a part": (
        lambda fit: xd.test(DS, fit[["beta", "design"]]),
        ValueError,
        "not a whole fit, it lacks deviance, df2",
    ),
    "no options": (
        lambda fit: xd.test(DS, fit.drop_attrs()),
        ValueError,
        "the fit has lost its attribute 'options'",
    ),
}


@pytest.mark.parametrize("case", AFTER_A_FIT)
def test_refused_after_a_fit(case, fitted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call, error, words = AFTER_A_FIT[case]
    before = pickle.dumps(fitted.to_dict())
    refused(lambda: call(fitted), error, words, pickle.dumps(DS.to_dict()))
    assert pickle.dumps(fitted.to_dict()) == before
    assert os.listdir(tmp_path) == []


# ---------------------------------------------------------------- stores


def test_refused_by_the_stores(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    anndata_of(DS).write_h5ad("cells.h5ad")
    Path("notes.txt").write_text("x")
    write_store(DS, "counts.zarr")
    before = sorted(os.listdir())
    for call, error, words in (
        (
            lambda: write_store(DS, "counts.zarr"),
            FileExistsError,
            "counts.zarr exists already; choose another name",
        ),
        (
            lambda: convert("cells.h5ad", "counts.zarr"),
            FileExistsError,
            "or overwrite it (overwrite=True, --overwri",
        ),
        (lambda: open_counts("absent.zarr"), FileNotFoundError, "there is nothing at absent.zarr"),
        (
            lambda: open_counts("notes.txt"),
            ValueError,
            "notes.txt is a file, and counts and fits are Zarr stores, which are folders; counts of a file become one",
        ),
        (
            lambda: open_counts("cells.h5ad"),
            ValueError,
            "an AnnData file; read it with xdelnx.from_anndata('cells.h5",
        ),
        (lambda: open_counts("counts.zarr", counts="umi"), ValueError, "no variable 'umi'; variables: "),
        (lambda: convert(anndata_of(with_counts(-3.0)), "new.zarr"), ValueError, NEGATIVE),
        (lambda: convert(anndata_of(with_counts(np.nan)), "new.zarr"), ValueError, MISSING),
    ):
        refused(call, error, words, pickle.dumps(DS.to_dict()))
        assert sorted(os.listdir()) == before


# ---------------------------------------------------------------- schedulers


def run_lazily(ds):
    return xd.fit(ds, "~ condition", compute=False).compute()


@pytest.mark.parametrize("scheduler", ["synchronous", "threads", "processes"])
@pytest.mark.parametrize(
    "run", [fit_data(chunked(with_counts(-3.0))), lambda: run_lazily(chunked(with_counts(-3.0)))]
)
def test_errors_of_tasks_read_as_well(run, scheduler):
    with (
        dask.config.set(scheduler=scheduler),
        pytest.raises(ValueError, match="negative counts: 2, in 2 genes"),
    ):
        run()


def test_a_lazy_fit_of_bad_counts_writes_nothing(tmp_path):
    result = xd.fit(chunked(with_counts(-3.0)), "~ condition", compute=False)
    with pytest.raises(ValueError, match="negative counts"):
        write_store(result, tmp_path / "fit.zarr")
    assert os.listdir(tmp_path) == []


# ---------------------------------------------------------------- warnings

LOGS = np.log1p(DS[["counts"]]).assign(condition=DS["condition"])
CPM = DS.assign(counts=1e6 * DS["counts"] / DS["counts"].sum("gene"))


@pytest.mark.parametrize(
    ("ds", "words"),
    [
        (
            LOGS,
            "look like log-normalised values, not counts: 100% .* are fractions and the largest is 3.58. Pass raw",
        ),
        (chunked(LOGS), "look like log-normalised values"),
        (CPM, "look like normalised values, not counts: .* each sample adds up to 1e[+]06. Pass raw"),
        (CPM.assign(counts=CPM["counts"].astype("f4")), "adds up to 1e[+]06"),
    ],
)
def test_values_that_look_normalised(ds, words, tmp_path):
    for call in (
        fit_data(ds),
        lambda: xd.size_factors(ds),
        lambda: run_lazily(ds),
        lambda: convert(anndata_of(ds.assign(age=DS["age"]).compute()), tmp_path / "x.zarr", overwrite=True),
    ):
        with pytest.warns(xd.XdelnxWarning, match=words) as caught:
            call()
        assert len(caught) == 1
        assert "silence this with warnings.simplefilter('ignore', xdelnx.XdelnxWarning)" in str(
            caught[0].message
        )


def test_the_warning_points_at_the_call_and_can_be_silenced():
    with pytest.warns(xd.XdelnxWarning) as caught:
        xd.fit(LOGS, "~ condition")
    assert caught[0].filename == __file__
    with warnings.catch_warnings():  # otherwise warnings are errors here
        warnings.simplefilter("ignore", xd.XdelnxWarning)
        xd.fit(LOGS, "~ condition")


def test_a_column_called_otherwise_is_said_once_a_call(fitted, tmp_path):
    """At the line of the caller, who may silence that line alone; from the file, too."""
    adata = anndata_of(DS)
    adata.obs["counts"], adata.obs["gene"] = 1, "x"
    adata.write_h5ad(tmp_path / "cells.h5ad")
    for data in (adata, tmp_path / "cells.h5ad"):
        for call in (
            lambda data=data: xd.fit(data, "~ condition"),
            lambda data=data: xd.test(data, fitted),
            lambda data=data: xd.size_factors(data),
            lambda data=data: xd.from_anndata(data),
            lambda data=data: convert(data, tmp_path / "x.zarr", overwrite=True),
        ):
            with pytest.warns(xd.XdelnxWarning) as caught:
                call()
            assert [(str(warning.message), warning.filename) for warning in caught] == [
                (
                    "the sample column 'counts' is called 'sample_counts' here; "
                    "the sample column 'gene' is called 'sample_gene' here",
                    __file__,
                )
            ]


def test_a_warning_reaches_the_user_from_other_processes():
    with dask.config.set(scheduler="processes"), pytest.warns(xd.XdelnxWarning, match="look like log"):
        xd.fit(chunked(LOGS), "~ condition")


def test_fractional_counts_are_accepted_silently():
    """Salmon and kallisto give fractions: of many sizes, and often zero."""
    rng = np.random.default_rng(1)
    counts = rng.gamma(0.5, 40.0, (N, G)) * (rng.random((N, G)) < 0.7)
    result = xd.fit(counts_as(counts), "~ condition")
    assert np.isfinite(result["pval"]).all()


def test_a_sample_without_counts_is_named():
    ds = DS.where(DS["sample"] != "s2", 0).assign(condition=DS["condition"])
    with pytest.warns(
        xd.XdelnxWarning, match=r"1 of 8 samples have not a single count; consider removing them .*: s2"
    ):
        xd.fit(ds, "~ condition")


# ---------------------------------------------------------------- what is no mistake


def test_the_order_of_dimensions_is_free():
    for ds in (DS, chunked(DS)):
        xr.testing.assert_allclose(
            xd.fit(ds.transpose("gene", "sample"), "~ condition"), xd.fit(DS, "~ condition"), rtol=1e-10
        )


def test_a_data_array_with_a_design_matrix():
    design = np.column_stack([np.ones(N), np.arange(N) >= N // 2])
    result = xd.fit(LOST["counts"], design)
    np.testing.assert_allclose(result["pval"], xd.fit(DS, design)["pval"], rtol=1e-10)
    np.testing.assert_array_equal(result["gene"], np.arange(G))
    assert xd.test(LOST["counts"], result).sizes == {
        "gene": G,
        "coefficient": 2,
        "contrast": 1,
        "restriction": 1,
    }


def test_anndata_and_its_path(tmp_path, fitted):
    adata = anndata_of(DS)
    path = tmp_path / "cells.h5ad"
    adata.write_h5ad(path)
    for data in (adata, path, str(path), ad.AnnData(sp.csr_matrix(adata.X), obs=adata.obs, var=adata.var)):
        result = xd.fit(data, "~ condition")
        # the same numbers in another order of summation at most
        xr.testing.assert_allclose(result["pval"].drop_attrs(), fitted["pval"].drop_attrs(), rtol=1e-10)
        xr.testing.assert_allclose(xd.test(data, result)["pval"], result["pval"], rtol=1e-6)
        np.testing.assert_allclose(xd.size_factors(data), fitted["size_factor"], rtol=1e-12)


def test_labels_count_not_positions(fitted):
    """What has names is matched by them: the same values in another order change nothing."""
    reverse = {"sample": slice(None, None, -1), "gene": slice(None, None, -1)}
    factors, given = fitted["size_factor"], fitted["dispersion"]
    expected = xd.fit(DS, "~ condition", size_factors=factors, offset=factors, overdispersion=given)
    shuffled = factors.isel(sample=reverse["sample"])
    for same in (shuffled, shuffled.to_series(), shuffled.to_series().to_dict()):
        result = xd.fit(
            DS,
            "~ condition",
            size_factors=same,
            offset=same,
            overdispersion=given.isel(gene=reverse["gene"]),
        )
        xr.testing.assert_equal(result, expected)


def test_words_of_a_formula_that_are_also_columns_of_the_genes(fitted):
    """A word in backticks, an argument of a function and text are no columns of their own."""
    ds = DS.assign({"cell type": DS["condition"], "type": ("gene", GENES), "degree": ("gene", GENES)})
    result = xd.fit(ds, "~ `cell type`")
    np.testing.assert_array_equal(result["pval"], fitted["pval"])
    xd.fit(ds, "~ bs(age, df=3, degree=2)")
    with pytest.raises(ValueError, match="names 'type', which lies along 'gene' and not along 'sample'"):
        xd.fit(ds, "~ `cell type` + type")


@pytest.mark.parametrize("dtype", [">i2", ">i4", ">i8", ">u4", ">f4", ">f8", "f2", "f4", "g", "i1"])
@pytest.mark.parametrize("size_factors", ["normed_sum", "tmm", "poscounts"])
def test_any_type_of_number_means_the_same(dtype, size_factors):
    """Whatever the order of bytes and the precision, as far as it holds the counts."""
    expected = xd.fit(DS, "~ condition", size_factors=size_factors)["pval"]
    counts = DS["counts"].values.astype(dtype)
    assert (counts == DS["counts"].values).all()
    arrays = [counts, da.from_array(counts, chunks=(3, 7))]
    if dtype != "g":  # not a number type of Numba's, with which pydata sparse reads its arrays
        arrays.append(sparse.COO.from_numpy(counts.astype(counts.dtype.newbyteorder("="))))
    for array in arrays:
        result = xd.fit(counts_as(array), "~ condition", size_factors=size_factors)
        # sparse blocks are summed in another order
        np.testing.assert_allclose(result["pval"], expected, rtol=1e-9)
    xr.testing.assert_equal(xd.filter_by_expression(counts_as(counts)), xd.filter_by_expression(DS))


@pytest.mark.parametrize("value", [True, np.True_, False, np.False_, 0.1, np.float32(0.1), np.array(0.1)])
def test_scalars_of_numpy_mean_the_same(value):
    """np.True_ is a switch, and no overdispersion of 1."""
    plain = value if isinstance(value, bool) else value.item() if hasattr(value, "item") else value
    result, expected = (xd.fit(DS, "~ condition", overdispersion=v) for v in (value, plain))
    xr.testing.assert_equal(result, expected)


def test_tables_are_left_as_they_were(tmp_path):
    table = pd.DataFrame(DS["counts"].values.T, index=GENES, columns=range(N))
    samples = pd.DataFrame({"condition": DS["condition"].values}, index=range(N))
    before = table.copy(), samples.copy()
    convert(table, tmp_path / "x.zarr", samples=samples)
    pd.testing.assert_frame_equal(table, before[0])
    pd.testing.assert_frame_equal(samples, before[1])

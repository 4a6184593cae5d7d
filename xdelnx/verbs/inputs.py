"""What users hand in, as the rest of the package wants it: counts by name, sample metadata, options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xdelnx.algorithms.survey import FORGOTTEN_LOG, LARGEST_OFFSET, LARGEST_WEIGHT
from xdelnx.checks import check_dims, check_names, check_numbers, names_in, only_counts
from xdelnx.chunks.passes import Dispersion
from xdelnx.designs.formulas import AbsentColumnError, read
from xdelnx.messages import closest, counted, fail, listing, shown
from xdelnx.schema import GENE, SAMPLE
from xdelnx.storage.counts_at import from_anndata

SMALLEST_WEIGHT = 1e-4  # of the sample that has most; less is nothing to the optimiser
ONE_OR_EACH = "choose a number, or an array with one for each gene"
GIVEN = "given"  # in the options of a fit: an array that the fit was handed


def recorded(value: Any) -> Any:
    """Write an option in the attributes of a fit: itself where it is short, or that it was given."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool | np.bool_):
        return bool(value)
    return GIVEN if np.ndim(value) or isinstance(value, Mapping) else float(value)


@dataclass(frozen=True)
class Counts:
    """Counts with their labels.

    Parameters
    ----------
    array
        (sample, gene), NumPy or Dask.
    samples
        Sample metadata by sample name.
    genes
        (gene,) names.
    dataset
        Where the counts came from; other variables are looked up here.
    """

    array: Any
    samples: pd.DataFrame
    genes: np.ndarray
    dataset: xr.Dataset

    @property
    def sample_names(self) -> np.ndarray:
        """(sample,) names."""
        return _labels(self.samples.index)


def as_counts(data: Any, counts: str = "counts") -> Counts:
    """Take counts and sample metadata out of a Dataset, a DataArray or an AnnData.

    Raises
    ------
    TypeError
        ``data`` is something else, or the counts are not numbers.
    ValueError
        Dimensions, names or sizes that a fit cannot use.
    """
    if not isinstance(counts, str):
        msg = f"counts is the name of the variable that holds them, received {counts!r}"
        raise TypeError(msg)
    dataset = _as_dataset(data, counts)
    if counts not in dataset:
        fail(f"no variable {counts!r} in the data; {closest(counts, dataset.data_vars, 'variables')}")
    array = dataset[counts]
    check_dims(array, counts)
    check_numbers(array, counts)
    _check_along(dataset)
    array = array.transpose(SAMPLE, GENE)
    samples, genes = dataset.get_index(SAMPLE), dataset.get_index(GENE)
    check_names(samples, SAMPLE)
    check_names(genes, GENE)
    if len(samples) < 2:
        fail("there is one sample: a fit needs at least two, and more of them than coefficients")
    return Counts(array.data, _sample_metadata(dataset, samples), _labels(genes), dataset)


def _check_along(dataset: xr.Dataset) -> None:
    """Raise ValueError if names lie along another dimension, so that they would be passed over."""
    for dim in (SAMPLE, GENE):
        found = dataset[dim].dims
        if found != (dim,):
            other = listing(map(repr, found))
            fail(
                f"the coordinate {dim!r} lies along {other} and not along {dim!r}, as of a pandas Index whose own name "
                f"is {other}; assign its values: data.assign_coords({dim}=({dim!r}, names.values))"
            )


def _as_dataset(data: Any, counts: str) -> xr.Dataset:
    if isinstance(data, xr.Dataset):
        return data
    if isinstance(data, xr.DataArray):
        return data.to_dataset(name=counts)
    if hasattr(data, "obs") and hasattr(data, "layers"):
        return from_anndata(data, counts)
    msg = (
        f"data is a Dataset, a DataArray, an AnnData, or the path of an AnnData or of a store of counts; received "
        f"{type(data).__name__}; make a Dataset of a matrix y with xarray.Dataset({{'counts': (('sample', 'gene'), y), "
        "'condition': ('sample', labels)}, {'sample': names, 'gene': names_of_genes})"
    )
    raise TypeError(msg)


def _labels(index: pd.Index) -> np.ndarray:
    """Names as a coordinate: numbers stay numbers, everything else is an object array of text."""
    return index.to_numpy() if index.dtype.kind in "iu" else index.to_numpy(dtype=object)


def _sample_metadata(dataset: xr.Dataset, names: pd.Index) -> pd.DataFrame:
    """Every variable along the samples, those that are lazy in one computation."""
    along = {
        name: variable
        for name, variable in dataset.variables.items()
        if variable.dims == (SAMPLE,) and name != SAMPLE
    }
    loaded = xr.Dataset(along).compute()
    return pd.DataFrame({str(name): _column(loaded.variables[name]) for name in along}, index=names)


def _column(variable: xr.Variable) -> Any:
    """Values of a metadata variable; text with the attribute ``categories`` is a factor with those levels."""
    if isinstance(variable.dtype, pd.CategoricalDtype):  # as xarray keeps a Categorical of pandas
        return pd.Categorical(np.asarray(variable.values, dtype=object), dtype=variable.dtype)
    values = np.asarray(variable.values)
    if values.dtype.kind in "UTO":
        values = values.astype(object)
    levels = variable.attrs.get("categories")
    return values if levels is None else pd.Categorical(values, categories=list(levels))


def check_columns(formula: str, data: Counts) -> None:
    """Raise ValueError if a formula names a variable of the data that does not lie along the samples."""
    try:
        read(formula, data.samples.columns)
    except AbsentColumnError as error:
        if error.name not in data.dataset.variables:
            raise
        if error.name == SAMPLE:
            fail(
                f"the formula {formula!r} names {SAMPLE!r}, which holds the names of the samples; name a column"
            )
        dims = data.dataset[error.name].dims
        hint = "; are the names of 'sample' and 'gene' swapped?" if dims == (GENE,) else ""
        along = f"lies along {listing(map(repr, dims))} and" if dims else "is a single value,"
        msg = f"the formula {formula!r} names {error.name!r}, which {along} not along {SAMPLE!r}{hint}"
        raise ValueError(msg) from None


def numeric_variable(data: Counts, name: str, what: str) -> xr.DataArray:
    """Return the variable of the data that an option names, if it is made of numbers."""
    if name not in data.dataset.variables:
        fail(
            f"{what}={name!r} names no variable of the data; {closest(name, data.dataset.variables, 'variables')}"
        )
    variable = data.dataset[name]
    if variable.dtype.kind not in "iuf":
        msg = f"{what}={name!r}: that variable does not hold numbers (dtype {variable.dtype})"
        raise TypeError(msg)
    return variable.copy(data=data.samples[name].to_numpy()) if variable.dims == (SAMPLE,) else variable


def per_sample(values: Any, data: Counts, what: str) -> np.ndarray:
    """Values by sample, (sample,), from an array or by the names of a Series, DataArray or mapping."""
    return _numbers(_by_name(values, data.samples.index, SAMPLE, what), (len(data.samples),), SAMPLE, what)


def per_gene(values: Any, data: Counts, what: str) -> np.ndarray:
    """Values by gene, (gene,), as `per_sample` those by sample."""
    names = pd.Index(data.genes)
    return _numbers(_by_name(values, names, GENE, what), names.shape, GENE, what)


def _by_name(values: Any, names: pd.Index, dim: str, what: str) -> Any:
    """Values in the order of the names where they have some of their own, or else as they are."""
    if isinstance(values, xr.DataArray) and values.ndim and values.dims != (dim,):
        found = ", ".join(map(repr, values.dims))
        fail(f"{what} has the dimensions ({found}); one number for each {dim} has the dimension {dim!r}")
    if isinstance(values, Mapping):
        own, values = pd.Index(list(values)), list(values.values())
    else:
        own = names_in(values, dim, names)
    if own is None or np.ndim(values) != 1:
        return values
    check_names(own, dim)
    absent = names.difference(own, sort=False)
    if len(absent):
        fail(
            f"{what} has no value for {counted(len(absent), dim)}: {listing(absent, 5)}; its names are "
            f"{listing(own, 5)}. Match the names, or pass a NumPy array if it is in the order of the {dim}s"
        )
    return pd.Series(np.asarray(values), own).reindex(names)


def _numbers(values: Any, shape: tuple[int, ...], dim: str, what: str) -> np.ndarray:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        msg = f"{what} needs a number for each {dim}; received {shown(values)}"
        raise TypeError(msg) from None
    if array.shape != shape:
        received = "one value" if array.ndim == 0 else f"an array of shape {array.shape}"
        fail(f"{what} needs a number for each of the {counted(shape[-1], dim)}; received {received}")
    return array


def positive_per_sample(values: Any, data: Counts, what: str) -> np.ndarray:
    """Positive finite values by sample, such as size factors."""
    array = per_sample(values, data, what)
    bad = ~(np.isfinite(array) & (array > 0.0))
    if bad.any():
        named = _with_values(data.sample_names[bad], array[bad])
        fail(f"{what} must be positive and finite; received {named}")
    far = np.abs(np.log(array)) > LARGEST_OFFSET
    if far.any():
        named = _with_values(data.sample_names[far], array[far])
        fail(
            f"{what} are of the order of 1, the library size of a sample over that of most; received {named}"
        )
    return array


def _with_values(names: np.ndarray, values: np.ndarray) -> str:
    return listing([f"{name} ({value:g})" for name, value in zip(names, values, strict=True)], 5)


def as_offset(offset: Any, data: Counts) -> tuple[np.ndarray | None, Any, str | None]:
    """Return the offset per sample, or else per entry, and the name of its variable if it has one.

    A per-sample offset is (sample,), a per-entry one (sample, gene), NumPy or Dask. Natural log.
    """
    if offset is None:
        return None, None, None
    name = None
    if isinstance(offset, str):
        name, offset = offset, numeric_variable(data, offset, "offset")
    if np.ndim(offset) == 2:
        return None, per_entry(offset, data, "offset"), name
    array = per_sample(offset, data, "offset")
    bad = ~np.isfinite(array)
    if bad.any():
        named = _with_values(data.sample_names[bad], array[bad])
        fail(f"NaN or infinite offsets: {named}; an offset is the natural log of a scale")
    large = np.abs(array) > LARGEST_OFFSET
    if large.any():
        named = _with_values(data.sample_names[large], array[large])
        fail(f"offsets beyond +-{LARGEST_OFFSET:g}: {named}; {FORGOTTEN_LOG}")
    return array, None, name


def as_weights(weights: Any, data: Counts) -> tuple[Any, str | None]:
    """Return the weights, (sample,) or per entry (sample, gene), and the name of their variable if they have one.

    Those per entry, NumPy or Dask, are looked at with the counts (`xdelnx.algorithms.survey`).
    """
    name = None
    if isinstance(weights, str):
        name, weights = weights, numeric_variable(data, weights, "weights")
    if weights is None or np.ndim(weights) == 2:
        return None if weights is None else per_entry(weights, data, "weights"), name
    array = per_sample(weights, data, "weights")
    bad = ~(np.isfinite(array) & (array >= 0.0))
    if bad.any():
        named = _with_values(data.sample_names[bad], array[bad])
        fail(f"weights are finite and 0 or more; received {named}; a weight of 0 leaves a sample out")
    if not array.any():
        fail("every weight is 0, which leaves out every sample")
    if not SMALLEST_WEIGHT <= array.max() <= LARGEST_WEIGHT:
        fail(f"weights are relative to 1, a sample seen once; the largest is {array.max():g}")
    return array, name


def per_entry(values: Any, data: Counts, what: str) -> Any:
    """Values by count, (sample, gene), from an array, or a DataFrame or DataArray with the same names, if any."""
    if isinstance(values, pd.DataFrame):
        values = _frame(values, data)
    if isinstance(values, xr.DataArray):
        check_dims(values, what)
        values = _aligned(values.transpose(SAMPLE, GENE), data, what)
    if np.shape(values) != data.array.shape:
        expected = f"{data.array.shape} (sample, gene), or one number for each sample"
        fail(f"{what} has the shape {np.shape(values)}; expected {expected}")
    if hasattr(values, "dask"):
        return values
    return _numbers(values, data.array.shape, "count", what)


def _frame(values: pd.DataFrame, data: Counts) -> xr.DataArray:
    axes = (SAMPLE, values.index, data.samples.index), (GENE, values.columns, pd.Index(data.genes))
    coords = {dim: own for dim, own, names in axes if not only_counts(own, names)}
    return xr.DataArray(values.to_numpy(), coords, (SAMPLE, GENE))


def _aligned(values: xr.DataArray, data: Counts, what: str) -> Any:
    for dim, names in ((SAMPLE, data.samples.index), (GENE, pd.Index(data.genes))):
        if dim in values.coords and not values.get_index(dim).equals(names):
            first = f"{listing(values.get_index(dim), 2)} and {listing(names, 2)}"
            fail(
                f"{what} and counts differ in their names along {dim!r} ({first}); .reindex_like(counts) aligns"
            )
    return values.data


def as_overdispersion(value: Any, data: Counts) -> Dispersion:
    """Say what to do about the overdispersion.

    Raises
    ------
    ValueError, TypeError
        Not True, False, "global", a number or an array by gene that is finite and not negative.
    """
    allowed = (
        "choose True (estimate), 'global', False (Poisson), a number, or an array with one for each gene"
    )
    if isinstance(value, str):
        if value != "global":
            fail(f"overdispersion={value!r} is unknown; {allowed}")
        return Dispersion(estimate=False, shared=True)
    if value is None:
        msg = f"overdispersion=None could mean several things; {allowed}"
        raise TypeError(msg)
    if isinstance(value, bool | np.bool_):
        return Dispersion() if value else Dispersion(estimate=False, given=0.0)
    array = given_overdispersions(value, data, allowed)
    return Dispersion(estimate=False, given=float(array) if array.ndim == 0 else array)


def given_overdispersions(
    value: Any, data: Counts, allowed: str = ONE_OR_EACH, *, nan: float = np.nan
) -> np.ndarray:
    """Overdispersions as they are given: one, (), or (gene,) by name, where ``nan`` stands for those that are NaN.

    Raises
    ------
    ValueError, TypeError
        Not numbers, or not finite and 0 or more.
    """
    kind = getattr(getattr(value, "dtype", None), "kind", "f")
    if value is None or isinstance(value, bool | str) or kind in {"b", "U"}:
        msg = f"overdispersion={shown(value)} is not known; {allowed}"
        raise TypeError(msg)
    if np.ndim(value) == 0 and not isinstance(value, Mapping):
        array = _numbers(value, (), GENE, f"overdispersion ({allowed})")
    else:
        array = per_gene(value, data, "overdispersion")
        array = np.where(np.isnan(array), nan, array)
    bad = ~(np.isfinite(array) & (array >= 0.0))
    if bad.any():
        named = f"{array:g}" if array.ndim == 0 else _with_values(data.genes[bad], array[bad])
        advice = "; genes without counts can have any number, as of .fillna(0)" if array.ndim else ""
        fail(f"overdispersion must be finite and 0 or more; received {named}{advice}")
    return array


def as_flag(value: Any, what: str) -> bool:
    """Return a switch as True or False.

    Raises
    ------
    TypeError
        It is neither: text such as "no" would count as true.
    """
    if not isinstance(value, bool | np.bool_):
        msg = f"{what} is True or False, received {value!r}"
        raise TypeError(msg)
    return bool(value)


def as_amount(value: Any, what: str) -> float:
    """Return an option that is one number, finite and not negative.

    Raises
    ------
    ValueError, TypeError
        It is something else.
    """
    if not isinstance(value, int | float | np.integer | np.floating) or isinstance(value, bool):
        msg = f"{what} is one number, 0 or more; received {shown(value)}"
        raise TypeError(msg)
    if not (np.isfinite(value) and value >= 0):
        fail(f"{what} is one number, 0 or more; received {value!r}")
    return float(value)

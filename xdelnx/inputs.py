"""What users hand in, as the rest of the package wants it: counts by name, sample metadata, options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xdelnx.messages import closest, fail, listing
from xdelnx.schema import GENE, SAMPLE


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
        return self.samples.index.to_numpy(dtype=object)


def as_counts(data: Any, counts: str = "counts") -> Counts:
    """Take counts and sample metadata out of a Dataset, a DataArray or an AnnData.

    Raises
    ------
    TypeError
        ``data`` is something else, or the counts are not numbers.
    ValueError
        Dimensions, names or sizes that a fit cannot use.
    """
    dataset = _as_dataset(data, counts)
    if counts not in dataset:
        fail(f"no variable {counts!r} in the data; {closest(counts, dataset.data_vars, 'variables')}")
    array = dataset[counts]
    _check_dims(array)
    array = array.transpose(SAMPLE, GENE)
    if array.dtype.kind not in "iuf":
        msg = f"counts are numbers, received dtype {array.dtype}; convert with .astype('int32')"
        raise TypeError(msg)
    samples = _names(dataset, SAMPLE)
    genes = _names(dataset, GENE)
    if array.sizes[SAMPLE] < 2:
        fail(f"a fit needs at least two samples, received {array.sizes[SAMPLE]}")
    if array.sizes[GENE] == 0:
        fail("there are no genes: dimension 'gene' has length 0")
    return Counts(array.data, _sample_metadata(dataset, samples), genes.to_numpy(dtype=object), dataset)


def _as_dataset(data: Any, counts: str) -> xr.Dataset:
    if isinstance(data, xr.Dataset):
        return data
    if isinstance(data, xr.DataArray):
        return data.to_dataset(name=counts)
    if hasattr(data, "obs") and hasattr(data, "layers"):
        from xdelnx.io import from_anndata

        return from_anndata(data)
    hint = (
        "xdelnx.open_counts(path)"
        if isinstance(data, str)
        else "xarray.Dataset({'counts': (('sample', 'gene'), y)})"
    )
    msg = (
        f"data is a Dataset, a DataArray or an AnnData, received {type(data).__name__}; make one with {hint}"
    )
    raise TypeError(msg)


def _check_dims(array: xr.DataArray) -> None:
    if set(array.dims) == {SAMPLE, GENE}:
        return
    fail(
        f"counts have dimensions ({SAMPLE!r}, {GENE!r}); received {array.dims}. Rename them, e.g. "
        f".rename({{'cell': {SAMPLE!r}, 'feature': {GENE!r}}})"
    )


def _names(dataset: xr.Dataset, dim: str) -> pd.Index:
    """Names along a dimension, which count from 0 where there are none; each once."""
    index = dataset.get_index(dim)
    repeated = index[index.duplicated()].unique()
    if repeated.size:
        advice = (
            "make them unique, e.g. adata.var_names_make_unique()"
            if dim == GENE
            else "give each sample a name"
        )
        fail(f"{repeated.size} {dim} names stand more than once: {listing(repeated, 5)}; {advice}")
    return index


def _sample_metadata(dataset: xr.Dataset, names: pd.Index) -> pd.DataFrame:
    columns = {
        str(name): _column(variable)
        for name, variable in dataset.variables.items()
        if variable.dims == (SAMPLE,) and name != SAMPLE
    }
    return pd.DataFrame(columns, index=names)


def _column(variable: xr.Variable) -> Any:
    """Values of a metadata variable; text with the attribute ``categories`` is a factor with those levels."""
    values = np.asarray(variable.values)
    if values.dtype.kind in "UTO":
        values = values.astype(object)
    levels = variable.attrs.get("categories")
    return values if levels is None else pd.Categorical(values, categories=list(levels))


def numeric_variable(data: Counts, name: str, what: str) -> xr.DataArray:
    """Return the variable of the data that an option names, if it is made of numbers."""
    if name not in data.dataset.variables:
        fail(
            f"{what}={name!r} names no variable of the data; {closest(name, data.dataset.variables, 'variables')}"
        )
    variable = data.dataset[name]
    if variable.dtype.kind not in "iuf":
        msg = f"{what}={name!r}: the variable is not numeric but {variable.dtype}"
        raise TypeError(msg)
    return variable


def per_sample(values: Any, data: Counts, what: str) -> np.ndarray:
    """Values by sample, (sample,), from an array or a DataArray (matched by name where it has names)."""
    if isinstance(values, xr.DataArray | pd.Series):
        values = values.to_series() if isinstance(values, xr.DataArray) else values
        if not values.index.equals(pd.RangeIndex(len(values))):
            values = values.reindex(data.samples.index) if values.index.is_unique else values
    array = np.asarray(values, dtype=np.float64)
    if array.shape != (len(data.samples),):
        fail(
            f"{what} has shape {array.shape}; expected one number for each of the {len(data.samples)} samples"
        )
    return array


def positive_per_sample(values: Any, data: Counts, what: str) -> np.ndarray:
    """Positive finite values by sample, such as size factors."""
    array = per_sample(values, data, what)
    bad = ~(np.isfinite(array) & (array > 0.0))
    if bad.any():
        named = listing(data.sample_names[bad], 5)
        fail(f"{what} must be positive and finite; {bad.sum()} samples have others: {named}")
    return array


def as_offset(offset: Any, data: Counts) -> tuple[np.ndarray | None, Any, str | None]:
    """Return the offset per sample, or else per entry, and the name of its variable if it has one.

    A per-sample offset is (sample,), a per-entry one (sample, gene), NumPy or Dask. Natural log.
    """
    if offset is None:
        return None, None, None
    name = None
    if isinstance(offset, str):
        name, offset = offset, numeric_variable(data, offset, "offset")
    if isinstance(offset, xr.DataArray) and set(offset.dims) == {SAMPLE, GENE}:
        return None, _aligned(offset.transpose(SAMPLE, GENE), data), name
    if np.ndim(offset) == 2:
        if np.shape(offset) != data.array.shape:
            fail(
                f"offset has shape {np.shape(offset)}; expected {data.array.shape} (sample, gene), or one a sample"
            )
        return None, offset if hasattr(offset, "dask") else np.asarray(offset, dtype=np.float64), name
    array = per_sample(offset, data, "offset")
    if not np.isfinite(array).all():
        named = listing(data.sample_names[~np.isfinite(array)], 5)
        fail(f"offset must be finite (the natural log of a scale); it is not for samples {named}")
    return array, None, name


def _aligned(offset: xr.DataArray, data: Counts) -> Any:
    for dim, names in ((SAMPLE, data.samples.index), (GENE, pd.Index(data.genes))):
        if dim in offset.coords and not offset.get_index(dim).equals(names):
            fail(f"offset has other names along {dim!r} than the counts; align it with .reindex_like(counts)")
    return offset.data


def as_overdispersion(value: Any, n_genes: int) -> np.ndarray | float | None:
    """Return the overdispersion that is given, one number or (gene,); None where it is to be estimated.

    Raises
    ------
    ValueError, TypeError
        Not True, False, "global", a number or an array by gene that is finite and not negative.
    """
    allowed = "True (estimate), 'global', False (Poisson), a number, or an array with one a gene"
    if value is True or (isinstance(value, str) and value == "global"):
        return None
    if value is False or value is None:
        return 0.0
    if isinstance(value, str):
        fail(f"overdispersion={value!r}; choose {allowed}")
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        msg = f"overdispersion is {allowed}; received {value!r}"
        raise TypeError(msg) from None
    if array.shape not in {(), (n_genes,)}:
        fail(f"overdispersion has shape {array.shape}; choose {allowed} ({n_genes} genes)")
    if not (np.isfinite(array) & (array >= 0.0)).all():
        fail("overdispersion must be finite and not negative")
    return float(array) if array.ndim == 0 else array

"""Counts with a known truth: means, dispersions and effects are in the Dataset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import dask
import dask.array as da
import numpy as np
import xarray as xr

from xdelnx.chunks.blocks import settled
from xdelnx.messages import fail
from xdelnx.schema import GENE, SAMPLE, annotate

# log of the genes' mean counts: mean and standard deviation of a normal distribution, and the largest mean
_KINDS = {"bulk": (4.1, 2.4, 3e5), "cells": (-1.6, 1.6, 100.0)}
_TILE = 512
"""Genes drawn from one random stream: fixed, so that chunks do not change the counts."""

_LONG_NAMES = {
    "base_mean": "expected count at the first level and size factor 1",
    "lfc": "true log2 fold change, last level against first",
    "dispersion": "true overdispersion",
    "is_de": "whether the true log2 fold change differs from zero",
    "lfc_covariate": "true log2 fold change per unit of the covariate",
    "size_factor_true": "true size factor",
}


def simulate(
    n_samples: int = 28,
    n_genes: int = 16_199,
    *,
    condition: str = "condition",
    levels: Sequence[Any] = ("A", "B"),
    n_batches: int = 1,
    covariate: str | None = None,
    kind: Literal["bulk", "cells"] = "bulk",
    de_fraction: float = 0.1,
    seed: int = 0,
    chunks: int | None = None,
) -> xr.Dataset:
    """Simulate negative binomial counts whose truth is known.

    Size factors are log-normal (sd 0.3), dispersions 0.05 + 2 / mean with
    log-normal scatter (sd 0.5); 5 % of the genes have no count at all.

    Parameters
    ----------
    n_samples, n_genes
        Size of the data.
    condition, levels
        Name and levels of the factor that changes the genes: booleans, strings or
        numbers. Samples are shared out evenly, in order of the levels. With more than two, the
        effect grows evenly from the first level to the last.
    n_batches
        Number of batches, crossed with the condition: above 1 there is a column
        `batch`, and every gene has batch effects (sd 0.3, log2 scale).
    covariate
        Name of a standard normal covariate that changes a tenth of the genes (sd 0.5, log2 scale).
    kind
        "bulk" (median mean count 60) or "cells" (median 0.2).
    de_fraction
        Fraction of genes with an effect of the condition, normal with sd 1 on the log2 scale.
    seed
        Seed; the same seed gives the same counts whatever the chunks.
    chunks
        Genes a chunk of a lazy (Dask) result; `None` gives NumPy.

    Returns
    -------
    Dataset
        `counts(sample, gene)`, the sample columns, `size_factor_true(sample)`,
        and `base_mean`, `lfc` (log2, last level against first), `dispersion` and `is_de` along
        `gene` (`dispersion` is NaN for the genes without counts).

    Raises
    ------
    ValueError
        If there are fewer samples than levels, no genes, or another argument is out of its range.

    Examples
    --------
    >>> import xdelnx as xd
    >>> ds = xd.simulate(8, 100, condition="GLI3_KO", levels=(False, True))
    >>> ds["counts"].shape, ds["GLI3_KO"].dtype
    ((8, 100), dtype('bool'))
    """
    _check(n_samples, n_genes, levels, n_batches, kind, de_fraction, seed, chunks)
    rng = np.random.default_rng([seed, 0])
    samples, position = _samples(n_samples, condition, levels, n_batches, covariate, rng)
    genes = _genes(n_genes, kind, de_fraction, rng)
    effects = [(position, genes["lfc"])]
    if n_batches > 1:
        shifts = rng.normal(0.0, 0.3, (n_batches, n_genes))
        effects += [(samples["batch"] == f"batch{b + 1}", shifts[b]) for b in range(1, n_batches)]
    if covariate is not None:
        genes["lfc_covariate"] = rng.normal(0.0, 0.5, n_genes) * (rng.random(n_genes) < 0.1)
        effects.append((samples[covariate], genes["lfc_covariate"]))
    design, weights = (np.stack([pair[i] for pair in effects]).astype(float) for i in (0, 1))
    counts = _counts(genes, samples["size_factor_true"], design.T, weights, seed)
    return _labelled(
        counts.rechunk((n_samples, chunks)) if chunks else settled(counts, "simulating"), samples, genes
    )


def _check(
    n_samples: int,
    n_genes: int,
    levels: Sequence[Any],
    n_batches: int,
    kind: str,
    de_fraction: float,
    seed: int,
    chunks: int | None,
) -> None:
    problems = {
        f"at least two different levels are needed; received {levels!r}": len(set(map(str, levels))) < 2,
        f"n_samples must be at least the number of levels ({len(levels)}); received {n_samples}": n_samples
        < len(levels),
        f"n_genes must be at least 1; received {n_genes}": n_genes < 1,
        f"n_batches must be at least 1; received {n_batches}": n_batches < 1,
        f"kind must be one of {', '.join(_KINDS)}; received {kind!r}": kind not in _KINDS,
        f"de_fraction must be between 0 and 1; received {de_fraction}": not 0 <= de_fraction <= 1,
        f"seed must not be negative; received {seed}": seed < 0,
        f"chunks must be at least 1 gene; received {chunks}": chunks is not None and chunks < 1,
    }
    for message, wrong in problems.items():
        if wrong:
            fail(message)


def _samples(
    n: int,
    condition: str,
    levels: Sequence[Any],
    n_batches: int,
    covariate: str | None,
    rng: np.random.Generator,
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Make the samples' columns, and each sample's place between the first level (0) and the last (1)."""
    level = np.arange(n) * len(levels) // n
    own = ["batch", "counts", SAMPLE, GENE, *_LONG_NAMES]
    if condition in own or covariate in (*own, condition):
        fail(f"condition={condition!r} and covariate={covariate!r} clash with each other or a name used here")
    columns = {condition: _column(levels)[level], "size_factor_true": rng.lognormal(0.0, 0.3, n)}
    if n_batches > 1:
        names = np.array([f"batch{b + 1}" for b in range(n_batches)], dtype=object)
        columns["batch"] = names[np.arange(n) % n_batches]
    if covariate is not None:
        columns[covariate] = rng.normal(size=n)
    return columns, level / (len(levels) - 1)


def _column(levels: Sequence[Any]) -> np.ndarray:
    """Booleans and numbers as they are, strings as objects (Zarr has no fixed-width strings)."""
    values = np.array(levels)
    return values if values.dtype.kind in "biuf" else np.array([str(level) for level in levels], dtype=object)


def _genes(n: int, kind: str, de_fraction: float, rng: np.random.Generator) -> dict[str, np.ndarray]:
    centre, spread, largest = _KINDS[kind]
    mean = np.minimum(rng.lognormal(centre, spread, n), largest)
    dispersion = (0.05 + 2.0 / mean) * rng.lognormal(0.0, 0.5, n)
    silent = rng.random(n) < 0.05
    changed = (rng.random(n) < de_fraction) & ~silent
    lfc = np.where(changed, rng.normal(0.0, 1.0, n), 0.0)
    return {
        "base_mean": np.where(silent, 0.0, mean),
        "lfc": lfc,
        "dispersion": np.where(silent, np.nan, dispersion),
        "is_de": changed,
    }


def _counts(
    genes: dict[str, np.ndarray], size_factor: np.ndarray, design: np.ndarray, weights: np.ndarray, seed: int
) -> Any:
    """Draw counts (sample, gene) as a Dask array in tiles of genes."""
    draw = dask.delayed(_draw, pure=False, traverse=False)
    n_samples, n_genes = len(size_factor), len(genes["lfc"])
    tiles = []
    for number, start in enumerate(range(0, n_genes, _TILE)):
        part = slice(start, min(start + _TILE, n_genes))
        rates = genes["base_mean"][part], genes["dispersion"][part], weights[:, part]
        tile = draw([seed, number + 1], size_factor, design, *rates)
        tiles.append(da.from_delayed(tile, (n_samples, part.stop - start), np.int32))
    return da.concatenate(tiles, axis=1)


def _draw(
    stream: list[int],
    size_factor: np.ndarray,
    design: np.ndarray,
    base_mean: np.ndarray,
    dispersion: np.ndarray,
    weights: np.ndarray,
) -> np.ndarray:
    """Draw a tile of counts: Poisson with a gamma-distributed rate, which is negative binomial."""
    rng = np.random.default_rng(stream)
    mean = size_factor[:, None] * base_mean * np.exp2(design @ weights)
    rate = (
        mean
        * rng.gamma(1.0 / np.nan_to_num(dispersion, nan=1.0), size=mean.shape)
        * np.nan_to_num(dispersion)
    )
    return np.minimum(rng.poisson(rate), np.iinfo(np.int32).max).astype(np.int32)


def _labelled(counts: Any, samples: dict[str, np.ndarray], genes: dict[str, np.ndarray]) -> xr.Dataset:
    n_samples, n_genes = counts.shape
    dataset = xr.Dataset(
        {"counts": ((SAMPLE, GENE), counts)},
        coords={
            SAMPLE: np.array([f"s{i}" for i in range(n_samples)], dtype=object),
            GENE: np.array([f"g{i}" for i in range(n_genes)], dtype=object),
        },
    )
    for dim, columns in ((SAMPLE, samples), (GENE, genes)):
        for name, values in columns.items():
            attrs = {"long_name": _LONG_NAMES[name]} if name in _LONG_NAMES else {}
            dataset[name] = xr.Variable(dim, values, attrs)
    long_names = {name: dataset[name].attrs["long_name"] for name in _LONG_NAMES if name in dataset}
    annotate(dataset)
    for name, text in long_names.items():  # the truth is not the estimate of the same name
        dataset[name].attrs["long_name"] = text
    dataset.attrs["title"] = "Simulated negative binomial counts"
    return dataset

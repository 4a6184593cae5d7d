"""Counts of any layout to a store in gene-major chunks, in bounded memory: read once, transposed in a file, written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import numpy as np
from dask.system import CPU_COUNT

from xdelnx.algorithms.survey import Survey, checked, with_warnings
from xdelnx.chunks.blocks import as_it_is, settled
from xdelnx.progress import stage
from xdelnx.schema import GENE, SAMPLE
from xdelnx.storage.pieces import ENTRY_BYTES, Matrix, Tally, count_type
from xdelnx.storage.spill import Spill, spilling
from xdelnx.storage.stores import ALL_CHUNKS, CHUNK_BYTES, compressor, gene_chunk

PARTS = 100  # in which progress is counted
INNER_CHUNKS = (
    4  # in a shard of full size: few genes are read three times as fast, and all 1.4 times as slowly
)
BLOCK_COPIES = 4  # of a block while it is put together, turned and compressed


def write_gene_major(
    matrix: Matrix,
    store: Path,
    name: str,
    *,
    genes: np.ndarray | None,
    memory: int,
    attrs: dict[str, Any],
) -> np.dtype:
    """Write a matrix to the array ``name`` of a Zarr store that is there already.

    Parameters
    ----------
    matrix
        Counts (sample, gene).
    store, name
        The store, and its new array.
    genes
        Names of the genes, if these have to be counts; None for a matrix of any numbers.
    memory
        Bytes.
    attrs
        Attributes of the array.

    Returns
    -------
    dtype
        The smallest unsigned integer that holds every count; that of the matrix where some are fractions.

    Raises
    ------
    ValueError
        If ``genes`` are given and the numbers cannot be counts.
    """
    n_samples = matrix.shape[0]
    with spilling(store.with_name(f"{store.name}.{name}.spill"), n_samples) as spill:
        survey = _read(matrix, spill, memory)
        if genes is not None:
            with_warnings(checked(survey, genes))
        dtype = _type(matrix, survey, spill)
        array, parts = _new_array(store, name, matrix.shape, dtype, attrs)
        shared = as_it_is(array), as_it_is(spill)
        tasks = [dask.delayed(_write)(*shared, first, last) for first, last in parts]
        with dask.config.set(num_workers=_workers(memory, parts[0], n_samples, dtype)):
            settled(tasks, "writing")
    return dtype


def _read(matrix: Matrix, spill: Spill, memory: int) -> Survey:
    """Read the matrix once, look at every count, and leave it sorted by gene."""
    tally = Tally(*matrix.shape)
    with stage("reading", PARTS) as state:
        if state is not None:
            state.noun = "part"
        for piece in matrix.pieces(max(memory // ENTRY_BYTES, 1)):
            tally.add(piece)
            spill.add(piece)
            if state is not None:
                state.done = int(PARTS * piece.done)
    return tally.survey()


def _type(matrix: Matrix, survey: Survey, spill: Spill) -> np.dtype:
    other = bool(survey.fractions or survey.negative.any() or survey.not_finite.any())
    largest = survey.largest
    if matrix.overlapping and not other:
        largest = max((block.max(initial=0) for block in _blocks(spill, matrix.shape[1])), default=0)
    return count_type(matrix.dtype, float(largest), other=other)


def _blocks(spill: Spill, n_genes: int) -> Iterator[np.ndarray]:
    kind = np.dtype(np.uint64)
    for first, last in _runs(n_genes, gene_chunk(spill.n_samples, n_genes, kind)):
        yield spill.block(first, last, kind)


def _runs(n_genes: int, width: int) -> list[tuple[int, int]]:
    return [(first, min(first + width, n_genes)) for first in range(0, n_genes, width)]


def _new_array(
    store: Path, name: str, shape: tuple[int, int], dtype: np.dtype, attrs: dict[str, Any]
) -> tuple[Any, list[tuple[int, int]]]:
    """Make the array, without counts; give the genes of each of its chunks, too, which are written as a whole."""
    import zarr

    width, inner = _layout(shape, dtype)
    made = zarr.open_group(store, mode="r+").create_array(
        name,
        shape=shape,
        dtype=dtype,
        chunks=(shape[0], inner),
        shards=None if inner == width else (shape[0], width),
        compressors=compressor(),
        fill_value=0,
        attributes=attrs,
        dimension_names=(SAMPLE, GENE),
        config=ALL_CHUNKS,
    )
    return made, _runs(shape[1], width)


def _layout(shape: tuple[int, int], dtype: np.dtype) -> tuple[int, int]:
    """Genes of a block that is written, and read by a fit, as a whole, and of a chunk in it that is read by itself.

    >>> _layout((300_000, 20_000), np.dtype("uint8")), _layout((28, 16_000), np.dtype("uint16"))
    ((52, 13), (1000, 1000))
    """
    width = gene_chunk(*shape, dtype)
    inner = max(CHUNK_BYTES // (INNER_CHUNKS * shape[0] * dtype.itemsize), 1)
    return (width // inner * inner, inner) if inner < width else (width, width)


def _write(array: Any, spill: Spill, first: int, last: int) -> None:
    array[:, first:last] = spill.block(first, last, array.dtype)


def _workers(memory: int, part: tuple[int, int], n_samples: int, dtype: np.dtype) -> int:
    """How many blocks are put together at the same time."""
    block = n_samples * (part[1] - part[0]) * dtype.itemsize
    return int(min(max(memory // (BLOCK_COPIES * block), 1), CPU_COUNT))

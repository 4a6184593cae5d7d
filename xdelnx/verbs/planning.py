"""What a fit will take, said before anything of the counts is read: blocks, tasks, reads and memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from xdelnx.algorithms.basis import distinct_rows
from xdelnx.chunks import blocks
from xdelnx.messages import counted, megabytes
from xdelnx.verbs import inputs
from xdelnx.verbs.aggregation import group_samples

PROCESS_BYTES = 400_000_000
"""What a process holds beside its blocks: the interpreter, the packages, kernels; 100 MB where it compiles these."""

BLOCKS_AT_HAND = 6
"""Times a worker thread holds the counts of a block: stored chunks, the block put together of them, the next."""

NON_ZERO_BYTES = 12
"""For each count that is not zero, where only these are visited: its value and its place."""

SAMPLE_BYTES = 450
"""For each sample: its name and columns, as they are read and as the design takes them, and numbers by sample."""

KIND_BYTES = 700
"""For each kind of samples, those with the same row of the design; with a covariate they are as many as samples."""

COEFFICIENT_BYTES = 110
"""For each of these and each coefficient."""

EXCHANGE_BYTES = 2 * 8
"""For each count, where size factors take all genes of a sample at once: the counts as they are exchanged."""

COEFFICIENTS_OF_A_GROUP = 3
"""Assumed where groups of samples are fitted on their own, each with a design of its own levels."""

RESULT_BYTES = 8 * 6
"""For each gene and number of the result: results of both passes, joined, and on their way to the store."""


@dataclass(frozen=True)
class Estimate:
    """What a fit takes.

    Parameters
    ----------
    n_samples, n_genes
        Size of the counts.
    n_blocks
        Blocks of genes.
    passes
        Passes over the counts, in order; each has a task for each block, and reads it once.
    read_bytes
        Of one pass: counts, and offsets and weights of entries, as they are in memory.
    block_bytes
        The same, of the largest block.
    thread_bytes
        Memory of one worker thread at most.
    process_bytes
        Memory of a process apart from its threads.
    exchange_bytes
        The part of that in which all genes of a sample are put together, if size factors take that.
    """

    n_samples: int
    n_genes: int
    n_blocks: int
    passes: tuple[str, ...]
    read_bytes: int
    block_bytes: int
    thread_bytes: int
    process_bytes: int
    exchange_bytes: int

    @property
    def n_tasks(self) -> int:
        """Tasks of all passes."""
        return self.n_blocks * len(self.passes)

    def memory(self, threads: int, processes: int = 1) -> int:
        """Bytes at most of so many threads, spread over so many processes."""
        return processes * self.process_bytes + threads * self.thread_bytes


def estimate(data: xr.Dataset, options: Mapping[str, Any]) -> Estimate:
    """Estimate what `xdelnx.fit` with these arguments takes; nothing of lazy counts is read.

    Parameters
    ----------
    data
        As in `fit`.
    options
        Other arguments of `fit`, by name.

    Notes
    -----
    Memory is a bound from above::

        process = 400 MB + 48 bytes x genes x numbers of the result for each gene + 450 bytes x samples
                  + (700 bytes + 110 bytes x coefficients) x different rows of the design
        thread  = 6 x bytes of the largest block + 12 bytes x its counts that are not zero

    where all but a fifth of the counts may be not zero, as others take another path; cells with few counts take less.
    A block has 16 million counts at most, 8 million of 64 bits, or one gene: more genes take more blocks and not more
    memory. Size factors by ratio, poscounts or tmm take all genes of a sample at once, and 16 bytes for each count of
    the data.
    """
    table = inputs.as_counts(data, options.get("counts", "counts"))
    entries = _per_entry(data, options)
    found = blocks.gene_blocks(table.array)
    n_samples, n_genes = table.array.shape
    width = max(found.counts.chunks[1])
    entry_bytes = sum(dtype.itemsize for dtype in entries)
    sparse = len(entries) == 1 and n_samples > 1
    block_entries = width * n_samples
    passes = tuple(_passes(options))
    groups = 1 if options.get("by") is None else len(group_samples(table, options["by"]).names)
    kinds, coefficients = _size_of_design(options, table)
    thread_bytes = BLOCKS_AT_HAND * block_entries * entry_bytes
    thread_bytes += NON_ZERO_BYTES * block_entries * 4 // 5 if sparse else 0
    exchange_bytes = EXCHANGE_BYTES * n_samples * n_genes if "size factors" in passes else 0
    return Estimate(
        n_samples=n_samples,
        n_genes=n_genes,
        n_blocks=found.counts.numblocks[1],
        passes=passes * groups,
        read_bytes=n_samples * n_genes * entry_bytes,
        block_bytes=block_entries * entry_bytes,
        thread_bytes=thread_bytes,
        process_bytes=PROCESS_BYTES
        + RESULT_BYTES * n_genes * _numbers_of_a_gene(options, n_samples, coefficients) * groups
        + SAMPLE_BYTES * n_samples
        + (KIND_BYTES + COEFFICIENT_BYTES * coefficients) * kinds
        + exchange_bytes,
        exchange_bytes=exchange_bytes,
    )


def _per_entry(data: xr.Dataset, options: Mapping[str, Any]) -> list[np.dtype]:
    """Types of the variables by sample and gene that each pass reads: counts first."""
    names = [options.get("counts", "counts"), options.get("offset"), options.get("weights")]
    named = [data[name] for name in names if isinstance(name, str)]
    return [variable.dtype for variable in named if variable.ndim == 2]


def _passes(options: Mapping[str, Any]) -> Iterator[str]:
    """Passes over the counts, in order."""
    fit = ["fit, pass 1", "fit, pass 2"]
    if options.get("overdispersion") == "global":
        fit[1:1] = ["overdispersion of all genes, coarse", "overdispersion of all genes, fine"]
    if options.get("skip_corrupt"):
        yield "check of the chunks"
    yield "first look"
    if options.get("size_factors") in ("ratio", "poscounts", "tmm"):
        yield "size factors"
    if options.get("cooks") == "replace":
        yield from (f"{name}, for outliers" for name in fit)
        yield "look at the counts as replaced"
    yield from fit


def _size_of_design(options: Mapping[str, Any], table: inputs.Counts) -> tuple[int, int]:
    """Different rows of the design, and its coefficients."""
    from xdelnx.designs.design import build_design

    if options.get("by") is not None:  # of each group the design is another
        return len(table.samples), COEFFICIENTS_OF_A_GROUP
    model = build_design(table.samples, options["design"], reference=options.get("reference"))
    return len(distinct_rows(model.matrix)[0]), len(model.names)


def _numbers_of_a_gene(options: Mapping[str, Any], n_samples: int, coefficients: int) -> int:
    """About how many numbers the result has for each gene."""
    by_sample = n_samples if options.get("cooks") == "replace" else 0
    asked = options.get("contrasts")
    contrasts = coefficients if asked == "last" else len(asked) if isinstance(asked, list) else 1
    return 12 + 2 * coefficients + 9 * contrasts + by_sample // 8


def report(found: Estimate, threads: int, processes: int, stored: int | None) -> Iterator[str]:
    """Say it in lines."""
    yield f"samples: {found.n_samples:,}"
    yield f"genes: {found.n_genes:,}"
    yield f"blocks of genes: {found.n_blocks:,}, of {megabytes(found.block_bytes)} at most"
    yield f"passes: {len(found.passes)} ({', '.join(found.passes)})"
    yield f"tasks: {found.n_tasks:,}"
    on_disk = "" if stored is None else f", {megabytes(stored * len(found.passes))} as stored"
    yield f"read: {megabytes(found.read_bytes * len(found.passes))}{on_disk}"
    each = f"{megabytes(found.process_bytes)}, and {megabytes(found.thread_bytes)} for each thread"
    yield f"memory of a worker: {megabytes(found.memory(threads // processes))} at most: {each}"
    if found.exchange_bytes:
        yield (
            f"size factors: {megabytes(found.exchange_bytes)} of that, as this method puts all genes of a sample "
            "together; normed_sum and invariant take blocks of genes"
        )
    of = "" if processes == 1 else f" in each of {processes} processes"
    on = f"{counted(threads // processes, 'thread')}{of}"
    yield f"memory in all: {megabytes(found.memory(threads, processes))} at most, with {on}"

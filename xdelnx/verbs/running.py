"""The passes of a fit one after the other, from the first look at the counts to the arrays of the result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any

import numpy as np

from xdelnx.algorithms.survey import with_warnings
from xdelnx.chunks import blocks, factor_passes, passes, skipping
from xdelnx.chunks.devices import at_nodes, block_entries
from xdelnx.chunks.faults import DamagedError, named_by
from xdelnx.chunks.journal import Journal, in_force
from xdelnx.chunks.outlier_passes import with_replaced
from xdelnx.designs.contrasts import Contrast
from xdelnx.steps.blockwise import FitPlan
from xdelnx.steps.gathered import AcrossGenes
from xdelnx.verbs.inputs import Counts
from xdelnx.verbs.sizing import choose_factors, first_choice, warned_of_imbalance


@dataclass(frozen=True)
class Job:
    """What is to be fitted, and how.

    Parameters
    ----------
    table
        The counts.
    plan, dispersion, options, questions
        The design, where the overdispersion comes from, the step across genes, and the contrasts.
    size_factors
        As the user gave them.
    offset
        Per sample and per entry, one of them or both None.
    weights
        (sample,) or (sample, gene), or None.
    skip_corrupt
        Whether genes whose chunks cannot be read are left out.
    """

    table: Counts
    plan: FitPlan
    dispersion: passes.Dispersion
    options: AcrossGenes
    questions: Sequence[Contrast]
    size_factors: Any
    offset: tuple[np.ndarray | None, Any]
    weights: Any = None
    skip_corrupt: bool = False


@dataclass(frozen=True)
class Done:
    """What came of it; everything is lazy where that was asked for.

    Parameters
    ----------
    result
        Arrays by name (`xdelnx.chunks.passes.fit`).
    factors
        (sample,) size factors.
    library_size
        (sample,) sums of the counts that were fitted.
    replaced
        (gene, sample): which counts were replaced; None for none.
    skipped
        Genes that were left out, with the reasons.
    """

    result: Any
    factors: Any
    library_size: Any
    replaced: Any = None
    skipped: Sequence[skipping.Damage] = ()


def run(job: Job, *, replacing: bool, compute: bool) -> Done:
    """Run all passes, or build their graph; ``replacing`` outliers takes a fit before.

    Raises
    ------
    RuntimeError
        Worker after worker died at the same block; it names the genes.
    OSError
        A block cannot be read; it names the genes, the store and, where it can, the chunk.
    """
    with named_by(job.table.genes), blocks.by_sample(job.table.array):
        return _run(job, replacing=replacing, compute=compute)


def _run(job: Job, *, replacing: bool, compute: bool) -> Done:
    journal = _begun() if compute else None
    entries = block_entries(job.plan.device)

    def arranged(*arrays: Any) -> blocks.Blocks:
        found = blocks.gene_blocks(*arrays, entries=entries)
        return replace(found, journal=journal.part("before") if journal and replacing else journal)

    arrays = job.table.array, job.offset[1], job.weights
    settle = blocks.settled if compute else blocks.left_lazy
    call = blocks.called if compute else blocks.lazily
    if not job.skip_corrupt:
        return _fitted(job, arranged(*arrays), journal, settle, call, replacing=replacing)
    skipped = skipping.damaged(arranged(*arrays), *arrays, settle)
    readable = skipping.left_out([damage.genes for damage in skipped], *arrays)
    with _damaged_since():
        done = _fitted(job, arranged(*readable), journal, settle, call, replacing=replacing)
    return replace(done, skipped=skipped)


@contextmanager
def _damaged_since() -> Iterator[None]:
    """Advise to begin anew where a chunk is damaged that could be read when a fit began."""
    try:
        yield
    except DamagedError as error:
        what, start, stop, _ = error.args
        advice = (
            "it could be read when this fit began: begin it anew (--overwrite), which leaves its genes out"
        )
        raise DamagedError(what, start, stop, advice) from error


def _fitted(
    job: Job,
    gene_blocks: blocks.Blocks,
    journal: Journal | None,
    settle: Callable[..., Any],
    call: Callable[..., Any],
    *,
    replacing: bool,
) -> Done:
    """All passes over these blocks."""
    table, plan, (by_sample, by_entry) = job.table, job.plan, job.offset
    seen = call(with_warnings, settle(passes.survey(gene_blocks, table.genes), "first look at the counts"))
    factors = settle(choose_factors(first_choice(job.size_factors), table, gene_blocks, seen), "size factors")
    factors = call(factor_passes.factors_with_warning, factors, seen, table.sample_names)
    has_entries, weighted = by_entry is not None, job.weights is not None
    given = factors, by_sample, plan.layout, seen, has_entries, weighted, at_nodes(plan.device)
    scale = call(passes.make_scale, *given)
    how = job.dispersion, job.options
    if replacing:
        gene_blocks, plan, scale, factors = with_replaced(
            gene_blocks, plan, scale, factors, by_sample, *how, settle, call
        )
        gene_blocks = replace(gene_blocks, journal=journal)
        seen = settle(passes.survey(gene_blocks, table.genes), "look at the counts as replaced")
    weights = [question.weights for question in job.questions]
    result = passes.fit(gene_blocks, plan, scale, *how, weights, settle, call)
    if plan.centred:
        factors = call(itemgetter("size_factor"), result)
    elif job.dispersion.estimate and plan.penalty is None:  # otherwise errors are not what the counts say
        result = call(warned_of_imbalance, result, job.questions, job.size_factors)
    return Done(result, factors, call(factor_passes.library_size, seen), gene_blocks.replaced)


def _begun() -> Journal | None:
    """Journal to keep, if there is one, now that the job is known to make sense."""
    journal = in_force()
    if journal is not None:
        journal.begin()
    return journal

"""Size factors of the samples, computed by a method or given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from xdelnx.algorithms.centring import Directions, directions_of, imbalance
from xdelnx.algorithms.scaling import METHODS
from xdelnx.algorithms.survey import with_warnings
from xdelnx.chunks import blocks, factor_passes, passes
from xdelnx.chunks.devices import resolve_device
from xdelnx.designs.contrasts import Contrast
from xdelnx.designs.design import Design, build_design
from xdelnx.errors import warn
from xdelnx.messages import closest, fail, listing
from xdelnx.progress import watched
from xdelnx.schema import SAMPLE, annotate
from xdelnx.steps.gathered import AcrossGenes
from xdelnx.verbs import inputs
from xdelnx.verbs.dimensions import any_dims
from xdelnx.verbs.fitted import make_plan
from xdelnx.verbs.inputs import Counts

INVARIANT = "invariant"  # a method that needs the design


@watched
@any_dims
def size_factors(
    data: Any,
    *,
    method: str = "normed_sum",
    design: Any = None,
    counts: str = "counts",
    sample: str | None = None,  # noqa: ARG001 - `any_dims` reads it
    gene: str | None = None,  # noqa: ARG001 - `any_dims` reads it
    progress: bool | None = None,  # noqa: ARG001 - `watched` reads it
) -> xr.DataArray:
    """Size factors of the samples, scaled to geometric mean 1.

    Parameters
    ----------
    data
        As in `fit`.
    method
        ``"normed_sum"``: library totals; ``"ratio"``: median ratio to the geometric mean over genes
        without a zero (Anders & Huber 2010); ``"poscounts"``: the same over positive counts;
        ``"tmm"``: trimmed mean of M-values times library total (Robinson & Oshlack 2010);
        ``"invariant"``: library totals, corrected so that the genes that do not change between the samples that
        ``design`` tells apart are equal there, which takes a first fit of every gene.
    design
        For ``"invariant"`` alone: as in `fit`.
    counts
        Name of the variable with the counts.
    sample, gene
        As in `fit`.
    progress
        As in `fit`.

    Returns
    -------
    xarray.DataArray
        (sample,). A sample without counts gets 0.001, and a warning names it.

    Raises
    ------
    ValueError
        Unknown method, values that are not counts, or no gene that the method can use.

    Notes
    -----
    Library totals mislead where changed genes weigh much in them: a few very high ones in bulk, or many cells, among
    which a shift of 0.03 log2 between two groups made 40 % of the genes significant at 5 % false. The ratio
    and trimmed-mean methods do not work cell by cell. ``"invariant"`` keeps the totals within each kind of samples
    (those with the same row of the design) and corrects between kinds: a factor ``exp(design @ shift)`` moves every
    gene's coefficients by the same shift and leaves means and dispersions as they are, so the shift is the centre of
    the coefficients over genes: Tukey's biweight, weighted by their errors, and where clearly more genes change to one
    side the point mass of a mixture with half-normal effects up and down (as Stephens 2017). Right where
    most genes do not change; where all change in one direction no method without spike-ins can tell. Of three levels
    and more the shift of one against another depends a little on which is the reference: by 0.01 log2 of 300 simulated
    genes, 0.0007 of 3,000.
    """
    table = inputs.as_counts(data, counts)
    if method not in (*METHODS, INVARIANT):
        fail(f"unknown method {method!r}; {closest(str(method), [*METHODS, INVARIANT], 'choose one of')}")
    if (design is None) == (method == INVARIANT):
        fail(
            "method='invariant' needs to know which samples are compared: pass design='~ condition', as to fit"
            if design is None
            else f"method={method!r} does not look at the design; leave it out, or choose method='invariant'"
        )
    gene_blocks = blocks.gene_blocks(table.array)
    seen = blocks.settled(passes.survey(gene_blocks, table.genes), "first look at the counts")
    seen = with_warnings(seen)
    first = "normed_sum" if method == INVARIANT else method
    factors = blocks.settled(factor_passes.size_factors(gene_blocks, seen, first), "size factors")
    factors = blocks.called(factor_passes.factors_with_warning, factors, seen, table.sample_names)
    if method == INVARIANT:
        factors = _corrected(factors, table, design, gene_blocks, seen)
    values = xr.Dataset({"size_factor": (SAMPLE, factors)}, {SAMPLE: table.sample_names})
    return annotate(values)["size_factor"]


def _corrected(factors: np.ndarray, table: Counts, design: Any, gene_blocks: Any, seen: Any) -> np.ndarray:
    """Correct factors (sample,) by the coefficients of a first fit."""
    if isinstance(design, str):
        inputs.check_columns(design, table)
    model = build_design(table.samples, design)
    centred = centred_by(INVARIANT, model, 0.0)
    if centred is None:
        return factors
    plan = make_plan(model, (), ridge=0.0, cox_reid=True, device=resolve_device("auto"), centred=centred)
    scale = passes.make_scale(factors, None, plan.layout, seen, per_entry=False)
    options = AcrossGenes(len(table.samples) - len(model.names), shrinkage=True, single=False)
    how = blocks.settled, blocks.called
    found = passes.centred_scale(gene_blocks, plan, scale, passes.Dispersion(), options, *how)
    return found.factors


def centred_by(choice: Any, model: Design, ridge: Any) -> Directions | None:
    """What of the coefficients the size factors are centred by, if they are to be; None also if there is nothing.

    Raises
    ------
    ValueError
        A design or a penalty under which coefficients have no common centre.
    """
    if not (isinstance(choice, str) and choice == INVARIANT):
        return None
    if np.any(ridge):
        fail(
            "size_factors='invariant' needs coefficients without a penalty, and ridge draws them to 0; leave out one"
        )
    found = directions_of(model.matrix)
    if found is None:
        fail(
            "size_factors='invariant' needs a design with an intercept, against which samples are compared; "
            f"the coefficients are {listing(model.names)}"
        )
    return found if len(found.weights) else None


def first_choice(choice: Any) -> Any:
    """Size factors that are corrected, if they are to be, or else those chosen."""
    return "normed_sum" if isinstance(choice, str) and choice == INVARIANT else choice


def warned_of_imbalance(result: Any, questions: Sequence[Contrast], choice: Any) -> Any:
    """Warn if computed factors that disagree with most genes make many genes significant that do not change."""
    if not (isinstance(choice, str) and choice in METHODS):
        return result
    for i, question in enumerate(questions):
        if question.weights.shape[0] > 1:
            continue
        error = result["lfc_se"][i] * np.log(2.0)
        found = imbalance(result["coef"][i], error, result["pval"][i])
        if found is not None:
            share = f"about {found.false:.0%}" if found.false < 0.9 else "most"
            warn(
                f"size_factors={choice!r} disagree with most genes, which they shift by "
                f"{found.shift / np.log(2.0):+.3f} log2 in {question.name!r}: of the {found.found:,} genes significant "
                f"at 5 % {share} are then false discoveries; use size_factors='invariant', which "
                "leaves genes that do not change unshifted"
            )
    return result


def choose_factors(choice: Any, table: Counts, gene_blocks: blocks.Blocks, seen: Any) -> Any:
    """Size factors (sample,), lazily where a method computes them from lazy counts."""
    if choice is None or (isinstance(choice, str) and choice == "none"):
        return np.ones(len(table.samples))
    if isinstance(choice, str) and choice in METHODS:
        return factor_passes.size_factors(gene_blocks, seen, choice)
    if isinstance(choice, str):
        if choice == INVARIANT:
            fail(
                "size_factors='invariant' depends on a design: compute them with xdelnx.size_factors(data, "
                "method='invariant', design='~ ...') and pass the result"
            )
        if choice not in table.dataset.variables:
            known = [*METHODS, INVARIANT, "none", *table.samples.columns]
            fail(
                f"size_factors={choice!r} is neither a method nor a column of the samples; "
                f"{closest(choice, known, 'choose one of')}"
            )
        choice = inputs.numeric_variable(table, choice, "size_factors")
    return inputs.positive_per_sample(choice, table, "size_factors")

"""The verb that fits a model to every gene.

Labels are taken off here and put back on here; everything between is arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from xdelnx.algorithms.adjustment import check_method
from xdelnx.algorithms.subsampling import as_size
from xdelnx.chunks import blocks
from xdelnx.chunks.devices import resolve_device
from xdelnx.chunks.passes import Dispersion
from xdelnx.designs.contrasts import Contrast, resolve_contrasts
from xdelnx.designs.design import Design, build_design
from xdelnx.messages import fail
from xdelnx.progress import watched
from xdelnx.schema import GENE, SAMPLE, annotate
from xdelnx.steps.blockwise import FitPlan
from xdelnx.steps.gathered import AcrossGenes
from xdelnx.steps.outliers import cutoff, warn_without_replicates
from xdelnx.storage.stores import zarr_safe
from xdelnx.verbs import inputs
from xdelnx.verbs.adjusting import with_adjusted
from xdelnx.verbs.clustering import clusters_of, commented
from xdelnx.verbs.dimensions import any_dims
from xdelnx.verbs.fitted import make_plan
from xdelnx.verbs.groupwise import fit_by_group
from xdelnx.verbs.inputs import Counts
from xdelnx.verbs.labelled import comments, contrasts_asked, fit_attributes, fit_dataset, method_comments
from xdelnx.verbs.ridge_given import as_ridge
from xdelnx.verbs.running import Job, run
from xdelnx.verbs.sizing import centred_by
from xdelnx.verbs.skipped import as_skipping, marked
from xdelnx.verbs.weights_given import residual_df_of, weights_of

METHODS = ("glmgampoi", "edger")
COOKS = ("flag", "replace")


@watched
@any_dims
def fit(
    data: Any,
    design: Any,
    *,
    reference: Mapping[str, Any] | None = None,
    contrasts: Any = "last",
    size_factors: Any = "normed_sum",
    offset: Any = None,
    weights: Any = None,
    overdispersion: Any = True,
    shrinkage: bool = True,
    cox_reid: bool = True,
    method: str = "glmgampoi",
    robust: bool = False,
    cooks: str | None = None,
    ridge: Any = 0.0,
    ridge_target: Any = None,
    subsample: int | None = None,
    adjust: str = "bh",
    cluster: Any = None,
    by: str | None = None,
    counts: str = "counts",
    skip_corrupt: bool = False,
    device: str = "auto",
    compute: bool = True,
    sample: str | None = None,
    gene: str | None = None,
    progress: bool | None = None,
) -> xr.Dataset:
    """Fit a negative binomial GLM with shrunken quasi-likelihood dispersions to every gene.

    Parameters
    ----------
    data
        Dataset with ``counts`` (sample, gene) and sample metadata along ``sample``; a DataArray with
        such coordinates, an AnnData, or the path of an AnnData (.h5ad or Zarr) or of a store of counts work too.
        Counts may be a Dask array of any chunking.
    design
        Formula such as ``"~ batch + condition"``, or a matrix (sample, coefficient).
    reference
        Level of each factor that its others are compared with, e.g. ``{"GLI3_KO": "True"}``.
    contrasts
        What to test: ``"last"``, each coefficient of the formula's last term (and all of them jointly,
        if there are several); None, nothing; or whatever `test` takes.
    size_factors
        ``"normed_sum"`` (library totals), ``"ratio"``, ``"poscounts"``, ``"tmm"``, ``"invariant"`` (library totals,
        corrected by the genes that this design finds unchanged; see `size_factors`), each scaled to
        geometric mean 1; ``"none"`` or None; the name of a variable; or an array (sample,), used as
        given. Scale yours to geometric mean 1: on another scale the first, moment estimate of the
        overdispersion differs, and in its wake overdispersions and p-values do slightly.
    offset
        Natural log, within +-100, of a further scale of each sample or each entry: the name of a
        variable or an array, (sample,) or (sample, gene).
    weights
        How much each sample or each count says, 0 or more: the name of a variable or an array, (sample,) or
        (sample, gene). A weight multiplies the count's log likelihood, so 2 is the sample seen twice and 0 the
        sample left out; ``mean`` is the weighted one, and ``residual_df`` counts the weights above 0 (by gene
        if they are (sample, gene), as ``df2`` then is). Size factors are computed from all samples: give
        them, to leave samples out altogether. Every count is visited, zeros too: of single cells that takes
        four times as long where all covariates are factors.
    overdispersion
        True: estimated for each gene; ``"global"``: one for all; False: none (Poisson); or given,
        one number or (gene,).
    shrinkage
        Shrink quasi-likelihood dispersions to their prior and test with F; otherwise each gene has its
        own overdispersion and the test is a likelihood-ratio test.
    cox_reid
        Adjust the overdispersion for the degrees of freedom of the coefficients.
    method
        ``"glmgampoi"``: overdispersions with a trend, quasi-likelihood dispersions from these; ``"edger"``, as
        edgeR 4: one overdispersion for all genes (the median of the tenth with the largest means, unless
        it is given), quasi-likelihood dispersions from deviances that are adjusted for the bias of small
        counts, to degrees of freedom by gene. For few replicates and small counts; visits every zero.
    robust
        Estimate the prior without the genes whose dispersion is far out, and shrink those less: ``prior_df``
        and ``df2`` are then by gene. Hypervariable genes keep their own dispersion, and the others, which
        these no longer bend, gain power.
    cooks
        What to do about a count that is out of line with its replicates (Cook's distance above the 99 %
        quantile of F, in a sample with at least 2 others of the same row of the design). ``"flag"``: the gene's
        ``status`` says so, and ``max_cooks`` is there. ``"replace"``: in samples with at least 6 others, put the
        trimmed mean of all samples in its place and fit again (``replaced`` says where; the counts are read
        twice as often, ``library_size`` is that of what was fitted); other outliers are flagged.
    ridge
        Penalty ``samples * ridge^2 * sum(beta^2)`` added to the deviance, which draws coefficients to 0; an
        intercept is not penalised. One number for each coefficient, as a mapping of names (others have none)
        or an array (coefficient,), penalises just those, an intercept too; a matrix Lambda with a column for
        each coefficient adds ``samples * sum((Lambda @ beta)^2)``. Samples are counted by their weights.
    ridge_target
        What ``ridge`` draws coefficients to instead of 0, natural log: a mapping of names or (coefficient,).
    subsample
        Number of samples on which the overdispersion is estimated, for very many cells: always the same ones by their
        places, of each distinct row of the design in proportion. ``residual_df`` is theirs; coefficients, means
        and tests are those of all samples. None: all. It is the method of glmGamPoi, where it matters more: of
        20,000 cells it saved a fifth of the time with a covariate and nothing with factors alone.
    adjust
        How p-values are adjusted, within each contrast: ``"bh"``, ``"by"``, ``"holm"`` or ``"storey"``; see
        `xdelnx.adjust`.
    cluster
        Column of the samples (or several), such as the donor, within which they need not be independent, as a donor's
        cells are not. Standard errors, intervals and tests are then robust to that: a sandwich variance
        between clusters (CR2), a Wald test (of one degree of freedom a t test, whose square ``stat`` is) and
        degrees of freedom ``df2`` of each contrast and gene. Dispersions only weight the counts then: nothing of
        the variance is shared between genes. See the notes.
    by
        Column of the samples, such as the cell type: each group's samples are fitted on their own, with size
        factors, trend, prior and adjustment of their own. The result has a dimension of that name and none
        for samples, so it holds neither ``size_factor`` nor ``design``, and `test` does not take it: ask for
        contrasts here. Groups that cannot be fitted are NaN, with the reason in ``group_note``, and a
        warning; so are those without the level that a contrast compares with in others (coefficients of other factors
        compare with the first level that a group has, and ``scale(age)`` is by each group's own ages).
        The counts are read anew for each group.
    counts
        Name of the variable with the counts; of an AnnData the layer, or ``"X"``, which it is by default where no
        layer is called "counts".
    skip_corrupt
        Leave out genes whose chunks of a Zarr store are damaged or gone, instead of an error: their ``status`` is
        ``unreadable``, the attributes ``n_unreadable`` and ``unreadable`` say how many and why, and all others
        are fitted as if the store did not have them. The counts are read once more, to find these genes before
        anything is computed.
    device
        ``"cpu"``; ``"gpu"``, a CUDA card by way of CuPy, in this process or, on a cluster, in every worker; or
        ``"auto"``, a card where there is one. What it was is in the result's attributes: ``"auto"`` where some
        workers have a card and others not. What a card has no part in: the look at the counts, size factors, the
        step across genes, and bias-adjusted deviances (``method="edger"``), which the processor does.
    compute
        False: return a Dataset of Dask arrays; no counts are read before it is computed (lazy sample
        metadata is, all of it at once, for the design).
    sample, gene
        Names of the dimensions of samples and genes in the data, where they are others than these; results have the
        same, and verbs that are given such a result know them.
    progress
        Whether to show how far the work is: a bar on a terminal, a line in a notebook, lines elsewhere. None: on
        terminals and in notebooks, once it takes longer than a second.

    Returns
    -------
    xarray.Dataset
        Every variable and its scale is listed in `xdelnx.schema`; ``beta`` and ``coef`` are natural
        logs, ``log2fc`` is log2. Genes without a count have NaN statistics and a status.

    Raises
    ------
    ValueError, TypeError
        The data, the design or an option cannot be used; the message says what would do.

    Notes
    -----
    *Cells of several donors.* Cells of a donor share what the donor is like, and a test that takes them for
    independent finds genes between any two groups of donors. Sum each donor's cells with `pseudobulk` when
    conditions differ between donors: it is fast, shares strength between genes and has the most power with few
    donors. Use ``cluster="donor"`` where sums cannot say what you ask: covariates that differ between cells,
    conditions within donors whose effect differs between them, very uneven numbers of cells. It takes at least
    three donors, some five a condition to find much, and two for each level that is compared. A gene with no
    count in a whole condition has no p-value, since its effect is at infinity.

    References
    ----------
    Ahlmann-Eltze & Huber 2020; Lund et al. 2012; McCarthy et al. 2012; Smyth 2004; Phipson et al. 2016,
    doi:10.1214/16-AOAS920, for ``robust``; Love et al. 2014, doi:10.1186/s13059-014-0550-8, for ``cooks``;
    Chen et al. 2025, doi:10.1093/nar/gkaf018, for ``method="edger"``;
    Bell & McCaffrey 2002 and Pustejovsky & Tipton 2018, doi:10.1080/07350015.2016.1247004, for ``cluster``.

    Examples
    --------
    >>> from xdelnx import simulate
    >>> ds = simulate(n_samples=8, n_genes=300, seed=2)
    >>> result = fit(ds, "~condition")
    >>> result.sizes["coefficient"], list(result["contrast"].values)
    (2, ['condition[T.B]'])
    """
    if by is not None:
        return fit_by_group(fit, **locals())  # the arguments, and nothing else as yet
    device, adjust = resolve_device(device), check_method(adjust)
    table = inputs.as_counts(data, counts)
    if isinstance(design, str):
        inputs.check_columns(design, table)
    model = build_design(table.samples, design, reference=reference)
    questions = _questions(model, contrasts, table)
    dispersion = inputs.as_overdispersion(overdispersion, table)
    shrinkage, cox_reid = inputs.as_flag(shrinkage, "shrinkage"), inputs.as_flag(cox_reid, "cox_reid")
    cooks, (ridge, ridge_target) = _check_cooks(cooks), as_ridge(ridge, ridge_target, model)
    clusters = clusters_of(table, cluster, model, questions, ridge=ridge, cooks=cooks)
    weighed, weights_name = weights_of(table, weights, model, cooks=cooks)
    how: dict[str, Any] = {"cooks": cooks, "adjusted": _check_method(method, dispersion, shrinkage=shrinkage)}
    how |= {"centred": centred_by(size_factors, model, ridge), "clusters": clusters, "weights": weighed}
    how |= {"ridge": ridge, "ridge_target": ridge_target}
    how |= {"subsample": _check_subsample(subsample, model, dispersion, weighed)}
    plan = make_plan(model, questions, cox_reid=cox_reid, device=device, **how)
    by_sample, by_entry, offset_name = inputs.as_offset(offset, table)
    options = _across(dispersion, model, weighed, plan, shrinkage=shrinkage, robust=robust, method=method)
    warn_without_replicates(plan.layout, cooks)
    skip = as_skipping(skip_corrupt, compute=compute)
    job = Job(table, plan, dispersion, options, questions, size_factors, (by_sample, by_entry), weighed, skip)
    done = run(job, replacing=cooks == "replace", compute=compute)
    labels = table, model, questions, options
    dataset = fit_dataset(
        done.result, *labels, done.factors, done.library_size, cooks=cooks, clustered=cluster is not None
    )
    if done.replaced is not None:
        dataset["replaced"] = (SAMPLE, GENE), blocks.mask(done.replaced, table.array.shape[::-1]).T
    offsets = by_sample if by_entry is None else by_entry
    asked = {
        "contrasts": contrasts_asked(contrasts),
        "size_factors": inputs.recorded("none" if size_factors is None else size_factors),
        "offset": _remember(dataset, "offset", offset, offset_name, offsets),
        "weights": _remember(dataset, "weights", weights, weights_name, weighed),
        "overdispersion": inputs.recorded(overdispersion),
        "shrinkage": shrinkage,
        "cox_reid": cox_reid,
        "method": method,
        "robust": options.robust,
        "cooks": cooks,
        "ridge": ridge,
        "ridge_target": ridge_target,
        "cluster": cluster,
        "subsample": subsample,
        "adjust": adjust,
        "counts": counts,
        "skip_corrupt": skip,
    }
    dataset.attrs |= fit_attributes(model, device, table.genes.size, **asked)
    notes = comments(
        dispersion, cox_reid=cox_reid, ridge=ridge, weighted=weights is not None, subsample=subsample
    )
    notes |= method_comments(method, dispersion)
    notes["max_cooks"] = f"an outlier above {cutoff(plan.layout):.6g}"
    dataset = marked(dataset, done.skipped) if skip else dataset
    return with_adjusted(zarr_safe(commented(_annotated(dataset, notes), cluster)), adjust)


def _remember(dataset: xr.Dataset, what: str, given: Any, name: str | None, values: Any) -> str | None:
    """Name of an input as `test` will find it: that of its variable, or it is put in the dataset."""
    if given is None or name is not None:
        return name
    dataset[what] = (SAMPLE, GENE)[: np.ndim(values)], values
    return inputs.GIVEN


def _across(
    dispersion: Dispersion,
    model: Design,
    weights: Any,
    plan: FitPlan,
    *,
    shrinkage: bool,
    robust: Any,
    method: str,
) -> AcrossGenes:
    """Options of the step across genes."""
    some = plan.subsample
    options = AcrossGenes(
        residual_df=residual_df_of(model, weights) if some is None else some.rows.size - len(model.names),
        own_df=np.ndim(weights) == 2 or method == "edger",
        shrinkage=shrinkage,
        single=not (dispersion.estimate or isinstance(dispersion.given, np.ndarray)),
        robust=inputs.as_flag(robust, "robust"),
        method=method,
    )
    _check_robust(options)
    return options


def _check_method(method: Any, dispersion: Dispersion, *, shrinkage: bool) -> bool:
    """Return whether deviances are bias-adjusted; raise ValueError if the method is unknown, or cannot."""
    if method not in METHODS:
        fail(f"method={method!r} is unknown; choose {' or '.join(map(repr, METHODS))}")
    if method == "edger" and not shrinkage:
        fail(
            "method='edger' is about quasi-likelihood dispersions shrunken to a prior: leave out shrinkage=False"
        )
    if method == "edger" and isinstance(dispersion.given, np.ndarray):
        fail(
            "method='edger' has one overdispersion for all genes; give a number, 'global', or True for that of "
            "genes with large counts"
        )
    return method == "edger"


def _check_subsample(subsample: Any, model: Design, dispersion: Dispersion, weights: Any) -> int | None:
    """Return how many samples the overdispersion is estimated on; raise ValueError if that cannot be."""
    size = as_size(subsample, *model.matrix.shape)
    if size is not None and not (dispersion.estimate or dispersion.shared):
        fail("subsample is for estimating the overdispersion, which is given here; leave out one of them")
    if size is not None and np.ndim(weights) == 2:
        fail(
            "subsample takes the same samples of all genes, of which weights (sample, gene) leave each other ones; "
            "use weights (sample,), or leave out one"
        )
    return size


def _check_cooks(cooks: Any) -> str | None:
    """Return what to do about outliers; raise ValueError if it is unknown."""
    if cooks not in (None, *COOKS):
        fail(f"cooks={cooks!r} is unknown; choose None, {' or '.join(map(repr, COOKS))}")
    return cooks


def _check_robust(options: AcrossGenes) -> None:
    """Raise ValueError where there is no prior that outliers could bend."""
    if options.robust and not options.shrinkage:
        fail("robust=True is about the prior that dispersions are shrunken to, and shrinkage=False has none")
    if options.robust and options.single and options.method != "edger":
        fail(
            "robust=True sets apart the genes whose overdispersion is far from that of others, and one "
            "overdispersion for all leaves none; use overdispersion=True, or leave robust out"
        )


def _annotated(dataset: xr.Dataset, notes: Mapping[str, str]) -> xr.Dataset:
    """Annotate every variable, with a comment where an option makes it something else."""
    annotate(dataset)
    for name, comment in notes.items():
        if name in dataset:
            dataset[name].attrs["comment"] = comment
    return dataset


def _questions(model: Design, contrasts: Any, table: Counts) -> tuple[Contrast, ...]:
    if contrasts is None:
        return ()
    return resolve_contrasts(model, contrasts, samples=table.samples)

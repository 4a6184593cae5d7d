"""Labels on the arrays of a fit: dimensions and names by the schema, attributes by the CF conventions."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import xarray as xr

from xdelnx.chunks import blocks
from xdelnx.chunks.journal import in_force
from xdelnx.chunks.passes import Dispersion
from xdelnx.designs.contrasts import Contrast
from xdelnx.designs.design import Design, design_to_attrs
from xdelnx.messages import shown
from xdelnx.schema import COEFFICIENT, CONTRAST, GENE, RESTRICTION, SAMPLE, TEST_VARIABLES, VARIABLES
from xdelnx.steps.gathered import AcrossGenes
from xdelnx.storage.fingerprint import versions
from xdelnx.verbs.inputs import Counts

REFERENCES = (
    "Ahlmann-Eltze & Huber 2020, doi:10.1093/bioinformatics/btaa1009; "
    "Lund et al. 2012, doi:10.1515/1544-6115.1826; "
    "McCarthy et al. 2012, doi:10.1093/nar/gks042; "
    "Smyth 2004, doi:10.2202/1544-6115.1027"
)
SHRINKAGE_VARIABLES = ("dispersion_trend", "ql_dispersion", "ql_prior", "ql_dispersion_shrunken")


def fit_dataset(
    result: Any,
    table: Counts,
    model: Design,
    questions: Sequence[Contrast],
    options: AcrossGenes,
    factors: Any,
    library_size: Any,
    *,
    cooks: str | None = None,
    clustered: bool = False,
) -> xr.Dataset:
    """Label what `xdelnx.chunks.passes.fit` computes, together with the design and the size factors."""
    names = ["beta", "standard_error", "mean", "deviance", "dispersion"]
    names += [*SHRINKAGE_VARIABLES, "prior_df"] if options.shrinkage else []
    names += ["status", "iterations", *(["max_cooks"] if cooks else [])]
    names += [*TEST_VARIABLES] if questions else []
    edger = options.method == "edger"
    names += ["df2"] if questions or not clustered else []
    names += ["adjusted_deviance"] if edger else []
    names += ["residual_df"] if options.own_df else []
    own = {"prior_df": options.robust, "df2": options.by_gene, "residual_df": options.own_df}
    dims: dict[str, tuple[str, ...]] = {name: (GENE,) for name in own if own[name]}
    dims |= {"df2": (CONTRAST, GENE)} if clustered else {}
    dataset = _variables(result, names, table, model, questions, dims)
    if not options.own_df:
        dataset["residual_df"] = ((), float(options.residual_df))
    dataset["size_factor"] = ((SAMPLE,), _vector(factors, len(table.samples)))
    dataset["library_size"] = ((SAMPLE,), _vector(library_size, len(table.samples)))
    dataset["design"] = ((SAMPLE, COEFFICIENT), model.matrix)
    return dataset.assign_coords({SAMPLE: table.sample_names})


def _vector(values: Any, size: int) -> Any:
    return values if isinstance(values, np.ndarray) else blocks.vector(values, size)


def test_dataset(
    result: Any,
    table: Counts,
    questions: Sequence[Contrast],
    model: Design,
    clustered: bool,  # noqa: FBT001 - as its neighbours
) -> xr.Dataset:
    """Label what `xdelnx.chunks.fitted_passes.test` computes; with clusters, degrees of freedom too."""
    names = [*TEST_VARIABLES, "status", *(["df2"] if clustered else [])]
    return _variables(result, names, table, model, questions, {"df2": (CONTRAST, GENE)})


def _variables(
    result: Any,
    names: Sequence[str],
    table: Counts,
    model: Design,
    questions: Sequence[Contrast],
    other_dims: Mapping[str, tuple[str, ...]] | None = None,
) -> xr.Dataset:
    """Label the arrays of a result by the schema's dimensions, or by others that variables have under an option."""
    sizes = {GENE: table.genes.size, COEFFICIENT: len(model.names), CONTRAST: len(questions)}
    types = {"status": np.int8, "iterations": np.int64}
    variables: dict[str, tuple[tuple[str, ...], Any]] = {}
    for name in names:
        dims = (other_dims or {}).get(name, VARIABLES[name].dims)
        shape = tuple(sizes[dim] for dim in dims)
        variables[name] = (dims, blocks.pick(result, name, shape, types.get(name, np.float64)))
    coords: dict[str, Any] = {
        GENE: table.genes,
        COEFFICIENT: np.array(model.names, dtype=object),
    }
    if questions:
        coords[CONTRAST] = np.array([question.name for question in questions], dtype=object)
        variables["df1"] = ((CONTRAST,), np.array([q.weights.shape[0] for q in questions], dtype=np.float64))
        variables["contrast_weight"] = ((CONTRAST, RESTRICTION, COEFFICIENT), _padded(questions))
    return xr.Dataset(variables, coords)


def _padded(questions: Sequence[Contrast]) -> np.ndarray:
    """Weights (contrast, restriction, coefficient), NaN where a contrast has fewer restrictions."""
    most = max(question.weights.shape[0] for question in questions)
    weights = np.full((len(questions), most, questions[0].weights.shape[1]), np.nan)
    for i, question in enumerate(questions):
        weights[i, : question.weights.shape[0]] = question.weights
    return weights


def fit_attributes(model: Design, device: str, n_genes: int, **options: Any) -> dict[str, Any]:
    """Attributes of a fit: what it is, from where, and the options to repeat it."""
    from xdelnx import __version__

    return {
        "title": "Differential expression: quasi-likelihood negative binomial GLM",
        "source": f"xdelnx {__version__}",
        "history": history("fit"),
        "references": REFERENCES,
        "device": device,
        "n_genes": n_genes,
        "versions": json.dumps(versions()),
        "options": json.dumps(options),
        **design_to_attrs(model),
    }


def comments(
    dispersion: Dispersion,
    *,
    cox_reid: bool,
    ridge: Any,
    weighted: bool = False,
    subsample: int | None = None,
) -> dict[str, str]:
    """Comments on variables of a fit that an option makes something else: by variable."""
    if dispersion.estimate or dispersion.shared:
        likelihood = f"{'Cox-Reid adjusted ' if cox_reid else ''}maximum likelihood"
        found = {"dispersion": likelihood + (", one estimate for all genes" if dispersion.shared else "")}
    else:
        found = {"dispersion": "as given to the fit; 0 is Poisson"}
    if not (dispersion.estimate or isinstance(dispersion.given, np.ndarray)):
        found["dispersion_trend"] = "the overdispersion itself, which is the same for all genes"
    if subsample is not None:
        found["dispersion"] += f", on {subsample:,} of the samples"
    found |= {"residual_df": "only samples of weight above 0 count", "mean": "weighted"} if weighted else {}
    found |= {} if subsample is None else {"residual_df": "of the samples the overdispersion is estimated on"}
    return found | ({"deviance": "with the ridge penalty added"} if ridge else {})


def method_comments(method: str, dispersion: Dispersion) -> dict[str, str]:
    """Comments on variables that the edger method makes something else: by variable."""
    if method != "edger":
        return {}
    found = {
        "residual_df": "degrees of freedom of adjusted_deviance, its expectation where ql_dispersion is 1"
    }
    if dispersion.estimate:
        found["dispersion_trend"] = "one for all genes: the median of the tenth with the largest means"
    return found


def contrasts_asked(contrasts: Any) -> Any:
    """Contrasts as they were asked for, if as text (or several of them), or else as Python writes them, cut."""
    if isinstance(contrasts, Mapping):
        return {str(label): contrasts_asked(entry) for label, entry in contrasts.items()}
    if isinstance(contrasts, list | tuple):
        return [contrasts_asked(entry) for entry in contrasts]
    plain = contrasts is None or isinstance(contrasts, str | int | float)
    return contrasts if plain else shown(contrasts)


def history(verb: str, before: xr.Dataset | None = None) -> str:
    """CF history: one line a step, the oldest first."""
    line = f"{_begun()} xdelnx.{verb}"
    earlier = "" if before is None else before.attrs.get("history", "")
    return f"{earlier}\n{line}".strip()


def _begun() -> str:
    """When this was begun: as the journal of a job has it, or now (SOURCE_DATE_EPOCH, where that is set)."""
    journal = in_force()
    return now() if journal is None else journal.begun


def now() -> str:
    """Time, ISO 8601; that of SOURCE_DATE_EPOCH, where it is set, so that two runs can be equal to the last byte."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    moment = datetime.fromtimestamp(int(epoch), UTC) if epoch.isdecimal() else datetime.now(UTC)
    return moment.isoformat(timespec="seconds")

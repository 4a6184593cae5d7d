"""The verb that writes a page about a fit."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from xdelnx.chunks import fitted_passes
from xdelnx.messages import closest, fail
from xdelnx.reporting.checkup import findings_of_fit
from xdelnx.reporting.page import Contents, page
from xdelnx.reporting.results import results_of
from xdelnx.reporting.tested import as_tests, each_contrast
from xdelnx.reporting.words import options_of
from xdelnx.storage.counts_at import open_data
from xdelnx.storage.dimensions import as_ours, names_of, remembering
from xdelnx.storage.outputs import check_output, replacing
from xdelnx.verbs.fitted import reopen

ROWS = 100_000  # of all tables of genes together: about 6 MB
FEWEST_ROWS = 200


def report(
    fit: xr.Dataset,
    path: str | os.PathLike[str],
    data: Any = None,
    *,
    tests: xr.Dataset | Sequence[xr.Dataset] = (),
    contrasts: str | Sequence[str] | None = None,
    fdr: float = 0.05,
    n_genes: int | None = None,
    title: str = "Differential expression",
    overwrite: bool = False,
) -> Path:
    """Write a page about a fit and its tests: design, samples, diagnostics with advice, pictures, how to repeat it.

    The page is one HTML file that needs no network. Its tables can be sorted, searched and saved, its volcano
    and MA plots name the genes; it prints.

    Parameters
    ----------
    fit
        What `fit` returned.
    path
        File to write, ``.html``: whole or not at all.
    data
        The counts the fit was made from, or their path, for the parts that need them (PCA, MDS, outlying samples,
        counts of the best genes, heat maps). Not used for a fit by groups.
    tests
        What `test` returned for this fit, one or several: shown after the fit's own contrasts.
    contrasts
        Labels of the contrasts to show, of the fit and of the tests; all by default.
    fdr
        False discovery rate up to which a gene counts as found.
    n_genes
        Genes in the table of each contrast at most, smallest p-values first; by default as many as
        make 100,000 rows in all.
    title
        Heading of the page.
    overwrite
        Replace a file that is there.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    ValueError, TypeError
        The Dataset is not a fit, a contrast is not in it, or the counts or tests are not those of it.
    FileExistsError
        The file is there and ``overwrite`` is not set.

    Examples
    --------
    >>> import tempfile, xdelnx as xd
    >>> data = xd.simulate(n_samples=8, n_genes=300, seed=2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     print(report(xd.fit(data, "~condition"), f"{folder}/report.html").name)
    report.html
    """
    _check(fit, fdr, n_genes)
    check_output(path, overwrite=overwrite, table=True)
    names = names_of(fit.attrs)
    fit = remembering(as_ours(fit, names).compute(), names)
    by = options_of(fit).get("by")
    parts = [("", fit)] if by is None else _groups(fit, by)
    asked = as_tests(as_ours(tests, names), fit)
    labels = _labels([fit, *asked], contrasts)
    data = None if data is None or by is not None else _same(data, fit, names)
    rows = max(ROWS // max(len(labels) * len(parts), 1), FEWEST_ROWS) if n_genes is None else n_genes
    contents = Contents(
        title=title,
        fit=fit,
        parts=parts,
        findings=[findings_of_fit(part, data) for _, part in parts],
        tests=asked,
        results=results_of(parts, asked, labels, fdr, rows),
        data=data,
        fdr=fdr,
    )
    text = page(contents)
    with replacing(path, overwrite=overwrite, table=True) as partial:
        partial.write_text(text, encoding="utf-8")
    return Path(path)


def _check(fit: Any, fdr: float, n_genes: int | None) -> None:
    if not isinstance(fit, xr.Dataset):
        msg = f"fit is the Dataset that xdelnx.fit returned, received {type(fit).__name__}"
        raise TypeError(msg)
    missing = [name for name in ("beta", "status", "mean", "dispersion") if name not in fit]
    if missing:
        fail(
            f"a report is about a fit, and this Dataset lacks {', '.join(missing)}; pass what xdelnx.fit returned"
        )
    if not 0.0 < fdr < 1.0:
        fail(f"fdr is a rate between 0 and 1, such as 0.05; received {fdr!r}")
    if n_genes is not None and n_genes < 1:
        fail(f"n_genes is a number of rows, 1 or more; received {n_genes!r}")


def _groups(fit: xr.Dataset, by: str) -> list[tuple[str, xr.Dataset]]:
    """Name and fit of each group that was fitted."""
    fitted = fit[by].values[fit["group_status"].values == 0]
    parts = []
    for name in fitted:
        part = fit.sel({by: name}).assign_attrs(n_samples=int(fit["n_samples"].sel({by: name})))
        parts.append((f"{by} {name}", part))
    return parts


def _labels(results: Sequence[xr.Dataset], contrasts: str | Sequence[str] | None) -> list[str]:
    """Labels of the contrasts to show."""
    known = [name for result in results for name, _ in each_contrast(result)]
    if contrasts is None:
        return known
    wanted = [contrasts] if isinstance(contrasts, str) else list(contrasts)
    unknown = [name for name in wanted if name not in known]
    if unknown:
        fail(f"no contrast {unknown[0]!r} in the fit or its tests; {closest(unknown[0], known, 'contrasts')}")
    return wanted


def _same(data: Any, fit: xr.Dataset, names: Mapping[str, Any]) -> xr.Dataset:
    """Return the counts as a Dataset if they are those of the fit, by their names and their sum in each sample."""
    if isinstance(data, str | os.PathLike):
        data = open_data(data, counts=options_of(fit).get("counts", "counts"), **names)
    again = reopen(as_ours(data, names), fit)
    looked_at = fitted_passes.same_counts(again.blocks(), again.arrays, again.table.genes)
    again.settled(looked_at, "look at the counts")
    return again.table.dataset

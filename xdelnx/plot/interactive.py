"""Volcano and MA plots as pages of their own: hover names a gene, a box finds it, and the picture zooms."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xdelnx.messages import fail
from xdelnx.plot.drawing import gene_vectors
from xdelnx.plot.figures import tested_genes
from xdelnx.plot.markup import Html, asset, data_block, document, element, joined
from xdelnx.schema import GENE
from xdelnx.storage.outputs import replacing
from xdelnx.verbs.tables import one_contrast

if TYPE_CHECKING:
    import xarray as xr

COLUMNS = {
    "gene": "gene",
    "log2fc": "log2 fold change",
    "mean": "mean count",
    "stat": "statistic",
    "pval": "p",
    "padj": "adjusted p",
}
START = "document.querySelectorAll('[data-cloud]').forEach(window.xdelnx.cloud);"


def volcano_html(
    result: xr.Dataset,
    path: str | os.PathLike[str],
    contrast: str | None = None,
    *,
    fdr: float = 0.05,
    overwrite: bool = False,
) -> Path:
    """Write `volcano` as a page of its own, to be opened in a browser: no network, no further package.

    Parameters
    ----------
    result, contrast, fdr
        As in `volcano`.
    path
        File to write, ``.html``.
    overwrite
        Replace a file that is there.

    Returns
    -------
    pathlib.Path
        The file. Numbers in it are rounded to 4 digits; a gene takes about 60 bytes.

    Raises
    ------
    ValueError
        As `volcano`.
    FileExistsError
        The file is there and `overwrite` is not set.
    """
    return _write("volcano", result, path, contrast, None, fdr, overwrite=overwrite)


def ma_html(
    result: xr.Dataset,
    path: str | os.PathLike[str],
    contrast: str | None = None,
    *,
    mean: xr.DataArray | None = None,
    fdr: float = 0.05,
    overwrite: bool = False,
) -> Path:
    """Write `ma` as a page of its own, to be opened in a browser.

    Parameters
    ----------
    result, contrast, mean, fdr
        As in `ma`.
    path, overwrite
        As in `volcano_html`.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    ValueError, FileExistsError
        As `ma` and `volcano_html`.
    """
    if mean is None and "mean" not in result:
        fail("the mean counts are not in what test returned: pass mean=fit['mean'] as well")
    return _write("ma", result, path, contrast, mean, fdr, overwrite=overwrite)


def _write(
    kind: str,
    result: xr.Dataset,
    path: str | os.PathLike[str],
    contrast: str | None,
    mean: xr.DataArray | None,
    fdr: float,
    *,
    overwrite: bool,
) -> Path:
    title = tested_genes(result, contrast, fdr).title or "genes"
    tests = one_contrast(result, contrast)
    tests = tests if mean is None else tests.assign(mean=mean)
    names = [name for name in COLUMNS if name in tests or name == "gene"]
    known = np.isfinite(tests["pval"].values)
    block = data_block("genes", *columns_of(tests.isel({GENE: known}), names))
    heading = f"{'Volcano' if kind == 'volcano' else 'MA'} plot: {title}"
    hint = "Click the picture, then the wheel zooms and dragging moves it; a double click shows all again."
    body = element(
        "main",
        element("h1", heading),
        element("p", f"{int(known.sum()):,} genes; coloured at a false discovery rate of {fdr:.3g}. {hint}"),
        cloud("genes", kind, fdr, heading),
        block,
    )
    style = "body{font-family:system-ui,sans-serif;margin:1rem auto;max-width:60rem;padding:0 1rem}"
    package = "xdelnx.plot"
    scripts = [asset(package, "cloud.js"), START]
    page = document(heading, body, [style, asset(package, "cloud.css")], scripts)
    with replacing(path, overwrite=overwrite, table=True) as partial:
        partial.write_text(page, encoding="utf-8")
    return Path(path)


def cloud(block: str, kind: str, fdr: float, label: str, *content: Any) -> Html:
    """Place of a cloud of the genes in a data block; content is what stands there without scripts."""
    return element(
        "div", joined(content), data_cloud=block, data_kind=kind, data_fdr=fdr, data_label=f"{label}."
    )


def columns_of(tests: xr.Dataset, names: list[str]) -> tuple[list[dict[str, str]], list[list[Any]]]:
    """Names and titles, and values, of the columns of genes for `data_block`."""
    vectors = dict(zip(names[1:], gene_vectors(tests, *names[1:]), strict=True))
    columns = [{"name": name, "title": COLUMNS[name]} for name in names]
    return columns, [tests[GENE].values.tolist(), *(vectors[name].tolist() for name in names[1:])]

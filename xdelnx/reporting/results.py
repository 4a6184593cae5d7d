"""Sections of a page about contrasts: what was found, its diagnostics, pictures and table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xdelnx import plot
from xdelnx.designs.design import design_from_result
from xdelnx.plot.columns import PALETTE, is_numeric, levels_of
from xdelnx.plot.interactive import COLUMNS, cloud, columns_of
from xdelnx.plot.markup import Html, element, joined
from xdelnx.reporting.checkup import findings_of_contrast
from xdelnx.reporting.diagnostics import Finding, Severity
from xdelnx.reporting.pictures import image, picture
from xdelnx.reporting.sample_columns import design_columns
from xdelnx.reporting.tables import data_table
from xdelnx.reporting.tested import each_contrast, threshold_of
from xdelnx.reporting.words import options_of
from xdelnx.schema import CONTRAST, GENE
from xdelnx.verbs.inputs import as_counts
from xdelnx.verbs.tables import top_table

SECTIONS_WITH_PICTURES = 20
SECTIONS_WITH_COUNTS = 6  # whose best genes' counts are shown
GENES_SHOWN = 4
MAPPED_SAMPLES = 500
SAME = 1e-6  # of two answers to one question, where a fit and a test iterate from different values


@dataclass(frozen=True)
class Result:
    """One contrast of one group, or of all samples.

    Parameters
    ----------
    key
        Id of its section.
    title
        The contrast, and the group where there are several.
    tests
        Its tests (gene); the contrast is a scalar coordinate.
    fit
        The fit they belong to, without groups.
    findings
        What looks off.
    n_genes
        Genes in its table at most.
    """

    key: str
    title: str
    tests: xr.Dataset
    fit: xr.Dataset
    findings: list[Finding]
    n_genes: int

    @property
    def directed(self) -> bool:
        """Whether it has a fold change, which a joint test has not."""
        return bool(np.isfinite(self.tests["log2fc"].values).any())

    def counts(self, fdr: float) -> tuple[int, int, int]:
        """Tested genes, and those that go down and up, at a false discovery rate; all as up for a joint test."""
        hit = self.tests["padj"].values <= fdr
        down = hit & (self.tests["log2fc"].values < 0)
        return int(np.isfinite(self.tests["pval"].values).sum()), int(down.sum()), int((hit & ~down).sum())


def results_of(
    parts: Sequence[tuple[str, xr.Dataset]],
    tests: Sequence[xr.Dataset],
    contrasts: Sequence[str],
    fdr: float,
    n_genes: int,
) -> list[Result]:
    """Every contrast of every part (a group's name and its fit) and of tests of the fit, those that were tested."""
    found: list[Result] = []
    for group, fit in parts:
        for name, one in _chosen([fit, *tests], contrasts):
            if not np.isfinite(one["df1"].values).all():
                continue  # a contrast of another group's levels
            if any(_equal(one, other.tests) for other in found if other.fit is fit):
                continue  # a test of what the fit has tested already
            title = _title(name, group, one, [result.title for result in found])
            findings = findings_of_contrast(one, fit, fdr)
            found.append(Result(f"result-{len(found)}", title, one, fit, findings, n_genes))
    return found


def _chosen(results: Sequence[xr.Dataset], contrasts: Sequence[str]) -> Iterator[tuple[str, xr.Dataset]]:
    """Label and tests of the contrasts that are to be shown, in the order they are named."""
    there = [pair for result in results for pair in each_contrast(result)]
    for wanted in dict.fromkeys(contrasts):
        yield from ((name, one) for name, one in there if name == wanted)


def _equal(one: xr.Dataset, other: xr.Dataset) -> bool:
    same = str(one[CONTRAST].values) == str(other[CONTRAST].values)
    return same and all(
        np.allclose(one[name], other[name], rtol=SAME, atol=0.0, equal_nan=True)
        for name in ("log2fc", "pval", "padj")
    )


def _title(name: str, group: str, one: xr.Dataset, taken: Sequence[str]) -> str:
    """Say what was tested, in words that no other section has."""
    beyond = threshold_of(one)
    title = ", ".join(filter(None, [name, f"log2 fold changes beyond {beyond:g}" if beyond else "", group]))
    same = sum(other.split(" (test ")[0] == title for other in taken)
    return f"{title} (test {same + 1})" if same else title


def section(result: Result, place: int, fdr: float, data: Any) -> Html:
    """Section of a contrast; place is its number, from 0: those far down have fewer pictures."""
    tested, down, up = result.counts(fdr)
    if result.directed:
        sentence = f"{down + up:,} of {tested:,} tested genes: {down:,} down and {up:,} up, at FDR {fdr:.3g}."
    else:
        sentence = f"{up:,} of {tested:,} tested genes at FDR {fdr:.3g}."
    parts: list[Any] = [element("h3", result.title), element("p", sentence), finding_list(result.findings)]
    block = f"genes-{place}"
    if tested and place < SECTIONS_WITH_PICTURES:
        parts.append(element("div", *_pictures(result, block, fdr), class_="figures"))
    if tested and data is not None and place < SECTIONS_WITH_COUNTS:
        parts.append(element("div", *_counts(result, data), class_="figures"))
    parts.append(_table(result, block, place))
    return element("section", *parts, class_="result", id=result.key, aria_label=result.title)


def finding_list(findings: Sequence[Finding]) -> Html:
    """Findings, the gravest first; those that are fine folded away."""
    grave = sorted((f for f in findings if f.severity), key=lambda finding: -finding.severity)
    fine = [finding for finding in findings if not finding.severity]
    parts = [_items(grave)] if grave else []
    if fine:
        folded = element("summary", f"{len(fine)} checked and fine")
        parts.append(element("details", folded, _items(fine)))
    return joined(parts)


def _items(findings: Sequence[Finding]) -> Html:
    return element("ul", *map(_item, findings), class_="findings")


def _item(finding: Finding) -> Html:
    word = {Severity.FINE: "Fine", Severity.NOTE: "Look", Severity.WARNING: "Warning"}[finding.severity]
    kind = finding.severity.name.lower()
    strong = element("span", f"{word}: {finding.topic}. ", class_="severity")
    return element("li", strong, f"{finding.text} {finding.advice}".strip(), class_=kind)


def _pictures(result: Result, block: str, fdr: float) -> list[Html]:
    """Volcano and MA plots, which the page's script makes interactive, and the histogram of the p-values."""
    name = str(result.tests[CONTRAST].values)
    histogram = partial(plot.pvalue_histogram, result.tests)
    drawn = [
        picture(
            histogram, f"Histogram of the p-values of {result.title}", "P-values: flat but for a peak at 0?"
        )
    ]
    if not result.directed:
        return drawn
    _, down, up = result.counts(fdr)
    for kind, draw in (("volcano", plot.volcano), ("ma", plot.ma)):
        label = f"{'Volcano' if kind == 'volcano' else 'MA'} plot of {name}: {down:,} genes down, {up:,} up"
        still = image(partial(_labelled, draw, result, fdr), label)
        hint = "Hover names a gene; click, then the wheel zooms and dragging moves."
        caption = element("figcaption", f"{label}. {hint}")
        drawn.insert(-1, element("figure", cloud(block, kind, fdr, label, still), caption))
    return drawn


def _labelled(draw: Any, result: Result, fdr: float) -> Any:
    own = {"mean": result.fit["mean"]} if draw is plot.ma else {}
    return draw(result.tests, fdr=fdr, **own)


def _counts(result: Result, data: Any) -> list[Html]:
    """Heat map of the best genes, and the counts of the very best."""
    name = str(result.tests[CONTRAST].values)
    own: dict[str, Any] = {"size_factors": result.fit["size_factor"].values}
    own["counts"] = options_of(result.fit).get("counts", "counts")
    samples = as_counts(data, own["counts"]).samples
    own["color"] = _bars(design_columns(result.fit.attrs.get("design_formula"), samples), samples)
    best = top_table(result.tests, n=GENES_SHOWN).dropna(subset=["pval"])["feature"].tolist()
    drawn = [
        picture(partial(plot.gene_counts, data, result.fit, gene), f"Counts of {gene} with the fit")
        for gene in (best if _has_column(result.fit) else [])
    ]
    if result.fit.sizes["sample"] <= MAPPED_SAMPLES:
        draw = partial(plot.heatmap, data, result.tests, **own)
        label = f"Heat map of the genes with the smallest p-values of {name}"
        drawn.append(element("figure", image(draw, label), element("figcaption", label), class_="wide"))
    return drawn


def _bars(columns: Sequence[str], samples: pd.DataFrame) -> list[str]:
    """Columns for bars above a heat map, the last ones of a design whose levels have colours of their own."""
    bars: list[str] = []
    left = len(PALETTE)
    for name in reversed(columns):
        left -= 0 if is_numeric(samples[name]) else len(levels_of(samples[name])[0])
        bars += [name] if left >= 0 else []
    return bars[:4]


def _has_column(fit: xr.Dataset) -> bool:
    """Whether a column of the samples can be taken from the design to plot counts by."""
    model = design_from_result(fit)
    return model.formula is not None and any(term != "Intercept" for term in model.terms)


def _table(result: Result, block: str, place: int) -> Html:
    """Table of the genes, the smallest p-value first; other genes and columns are in the store."""
    order = top_table(result.tests)["feature"].tolist()[: result.n_genes]
    shown = result.tests.assign(mean=result.fit["mean"]).sel({GENE: order})
    columns, values = columns_of(shown, list(COLUMNS))
    total = result.tests.sizes[GENE]
    caption = f"Genes of {result.title}, smallest p-value first, numbers of 4 digits"
    if total > len(order):
        caption += f"; the best {len(order):,} of {total:,}, which xdelnx.top_table gives in full"
    return data_table(block, caption, columns, values, f"genes-{place}.csv")

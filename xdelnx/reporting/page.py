"""The page: its sections in order, from parts that each leave themselves out where there is nothing to show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from xdelnx import plot
from xdelnx.messages import counted
from xdelnx.plot.markup import Html, asset, document, element, joined
from xdelnx.reporting import words
from xdelnx.reporting.diagnostics import Finding
from xdelnx.reporting.pictures import picture
from xdelnx.reporting.results import Result, finding_list, section
from xdelnx.reporting.sample_columns import design_columns, marked_column
from xdelnx.reporting.tables import data_table, plain_table
from xdelnx.schema import COEFFICIENT, GENE, SAMPLE
from xdelnx.status import ADVICE, Status
from xdelnx.verbs.inputs import as_counts

MATRIX_ROWS = 40
PAIRED_SAMPLES = 200  # that MDS compares one by one
LISTED_GENES = 8


@dataclass(frozen=True)
class Contents:
    """What a page is about.

    Parameters
    ----------
    title
        Heading of the page.
    fit
        The fit, as it was given.
    parts
        Name (empty without groups) and fit of each group of samples.
    findings
        Of each part, in the same order.
    tests
        Tests of the fit.
    results
        Contrasts of all parts and tests.
    data
        The counts, or None.
    fdr
        False discovery rate at which genes are counted.
    """

    title: str
    fit: xr.Dataset
    parts: Sequence[tuple[str, xr.Dataset]]
    findings: Sequence[list[Finding]]
    tests: Sequence[xr.Dataset]
    results: Sequence[Result]
    data: Any
    fdr: float


def page(contents: Contents) -> str:
    """Write the whole page as HTML."""
    sections = {
        "Summary": _summary(contents),
        "What to look at": _findings(contents),
        "Design": _design(contents.fit),
        "Samples": _samples(contents),
        "Dispersions": _dispersions(contents),
        "Results": _results(contents),
        "Fits of genes": _statuses(contents),
        "How it was made": _provenance(contents),
    }
    shown = {name: content for name, content in sections.items() if content}
    links = [element("li", element("a", name, href=f"#{_key(name)}")) for name in shown]
    body = [
        element("a", "Skip to the results", href="#results", class_="skip"),
        element("header", element("h1", contents.title), _first_words(contents)),
        element("nav", element("ul", *links), aria_label="Sections"),
        element("main", *(_section(name, content) for name, content in shown.items())),
        element("footer", element("p", f"Made by xdelnx report, {_now()}.", class_="quiet")),
    ]
    styles = [asset("xdelnx.reporting", "report.css"), asset("xdelnx.plot", "cloud.css")]
    scripts = [
        asset("xdelnx.plot", "cloud.js"),
        *(asset("xdelnx.reporting", name) for name in ("table.js", "report.js")),
    ]
    return document(contents.title, joined(body), styles, scripts)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _key(name: str) -> str:
    return name.lower().replace(" ", "-")


def _section(name: str, content: Html) -> Html:
    return element("section", element("h2", name, id=_key(name)), content, aria_labelledby=_key(name))


def _first_words(contents: Contents) -> Html:
    fit = contents.fit
    n_samples = fit.sizes.get(SAMPLE) or int(
        sum(part.attrs.get("n_samples", 0) for _, part in contents.parts)
    )
    size = f"{counted(n_samples, 'sample')}, {counted(fit.sizes[GENE], 'gene')}"
    formula = fit.attrs.get("design_formula")
    asked = joined([", design ", element("code", formula)]) if formula else ""
    return element("p", size, asked, ".", class_="quiet")


# ---------------------------------------------------------------- the sections


def _summary(contents: Contents) -> Html:
    """What each contrast found, with links to it."""
    if not contents.results:
        return element(
            "p",
            "There are no tests: ask for some with fit(..., contrasts='last'), or pass tests=, of xdelnx.test.",
        )
    rows = []
    for result in contents.results:
        tested, down, up = result.counts(contents.fdr)
        link = element("a", result.title, href=f"#{result.key}", data_result=result.key)
        moved = (down, up) if result.directed else (None, None)
        rows.append((link, tested, down + up, *moved))
    caption = f"Genes at a false discovery rate of {contents.fdr:.3g}"
    return plain_table(["contrast", "tested", "found", "down", "up"], rows, caption)


def _findings(contents: Contents) -> Html:
    """Findings about the fit of each part; those about contrasts stand with them, and the grave ones here too."""
    blocks = []
    for (name, _), findings in zip(contents.parts, contents.findings, strict=True):
        of_part = [*findings]
        of_part += [
            finding
            for result in contents.results
            if result.fit is dict(contents.parts)[name]
            for finding in result.findings
            if finding.severity
        ]
        blocks += [element("h3", name)] if name else []
        blocks.append(finding_list(of_part))
    return joined([*_not_fitted(contents.fit), *blocks])


def _not_fitted(fit: xr.Dataset) -> list[Html]:
    """Groups whose samples were not fitted, with the reason."""
    if "group_status" not in fit:
        return []
    by = str(fit["group_status"].dims[0])
    rows = [
        (str(name), int(n), "fitted" if not status else str(note))
        for name, n, status, note in zip(
            fit[by].values,
            fit["n_samples"].values,
            fit["group_status"].values,
            fit["group_note"].values,
            strict=True,
        )
    ]
    return [plain_table([by, "samples", "outcome"], rows, "Groups of samples that were fitted on their own")]


def _design(fit: xr.Dataset) -> Html:
    names = [str(name) for name in fit[COEFFICIENT].values]
    parts = [element("p", words.design_sentence(fit))]
    if fit.attrs.get("design_formula"):
        meaning = [(element("code", name), words.coefficient_words(name)) for name in names]
        parts.append(plain_table(["coefficient", "what it is (natural log)"], meaning, "Coefficients"))
    if SAMPLE in fit.dims:
        parts.append(_matrix(fit, names))
    return joined(parts)


def _matrix(fit: xr.Dataset, names: list[str]) -> Html:
    """Design matrix: a row for each sample, or for each kind of sample where there are many."""
    matrix = fit["design"].transpose(SAMPLE, COEFFICIENT).values
    labels, title = [str(name) for name in fit[SAMPLE].values], "sample"
    caption = "Design matrix"
    if len(matrix) > MATRIX_ROWS:
        matrix, number = np.unique(matrix, axis=0, return_counts=True)
        labels, title = [counted(int(n), "sample") for n in number], "samples alike"
        caption = f"Distinct rows of the design matrix, {len(matrix):,} in all"
    caption += f", the first {MATRIX_ROWS}" if len(matrix) > MATRIX_ROWS else ""
    head = element("tr", *(element("th", name, scope="col") for name in [title, *names]))
    rows = [
        element("tr", element("th", label, scope="row"), *(_entry(value) for value in row))
        for label, row in list(zip(labels, matrix, strict=True))[:MATRIX_ROWS]
    ]
    table = element(
        "table", element("caption", caption), element("thead", head), element("tbody", *rows), class_="matrix"
    )
    folded = element(
        "details", element("summary", caption), element("div", table, class_="scroll", tabindex="0")
    )
    return folded if len(rows) > 12 else element("div", table, class_="scroll", tabindex="0")


def _entry(value: float) -> Html:
    return element("td", f"{value:.4g}", class_="one" if value else None)


def _samples(contents: Contents) -> Html:
    """Table of the samples, and pictures of how alike they are where there are counts."""
    fit = contents.fit
    if SAMPLE not in fit.dims:
        return Html("")
    columns: dict[str, tuple[str, list[Any]]] = {
        SAMPLE: ("sample", [str(name) for name in fit[SAMPLE].values])
    }
    columns |= {
        "library_size": ("library size", [int(size) for size in fit["library_size"].values]),
        "size_factor": ("size factor", fit["size_factor"].values.tolist()),
    }
    pictures = []
    if contents.data is not None:
        samples = _samples_of(contents)
        own = {
            str(name): (str(name), values.tolist()) for name, values in samples.items() if name not in columns
        }
        columns |= {
            name: (title, [_text(value) for value in values]) for name, (title, values) in own.items()
        }
        pictures = _sample_pictures(contents.data, fit, samples, _counts_of(fit))
    titles = [{"name": name, "title": title} for name, (title, _) in columns.items()]
    table = data_table(
        "samples-table", "Samples", titles, [values for _, values in columns.values()], "samples.csv"
    )
    return joined([table, element("div", *pictures, class_="figures") if pictures else ""])


def _counts_of(fit: xr.Dataset) -> str:
    return str(words.options_of(fit).get("counts", "counts"))


def _samples_of(contents: Contents) -> Any:
    """Table of the samples' columns; None without the counts."""
    return None if contents.data is None else as_counts(contents.data, _counts_of(contents.fit)).samples


def _text(value: Any) -> Any:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def _sample_pictures(data: Any, fit: xr.Dataset, samples: Any, counts: str) -> list[Html]:
    columns = design_columns(fit.attrs.get("design_formula"), samples)
    color = columns[-1] if columns else None
    shape = marked_column(columns, samples)
    own: dict[str, Any] = {"shape": shape, "size_factors": fit["size_factor"].values, "counts": counts}
    by = f", coloured by {color}" if color else ""
    drawn = [picture(partial(plot.pca, data, color, **own), f"Principal components of the samples{by}")]
    if len(samples) <= PAIRED_SAMPLES:
        label = f"Multidimensional scaling of the samples by leading fold changes{by}"
        drawn.append(picture(partial(plot.mds, data, color, **own), label))
    return drawn


def _dispersions(contents: Contents) -> Html:
    """Pictures of the dispersions of each part, as far as it has them."""
    blocks = []
    for name, fit in contents.parts:
        drawn = []
        if np.isfinite(fit["dispersion"].values).any():
            draw = partial(plot.mean_dispersion, fit)
            drawn.append(picture(draw, "Overdispersion against mean count, with the trend"))
            if np.ptp(fit["dispersion"].values[np.isfinite(fit["dispersion"].values)]) > 0:
                histogram = partial(plot.dispersion_histogram, fit)
                drawn.append(picture(histogram, "Histogram of the overdispersions"))
        if "ql_dispersion" in fit:
            drawn.append(
                picture(partial(plot.ql_dispersion, fit), "Quasi-likelihood dispersions and their prior")
            )
        blocks += [element("h3", name)] if name else []
        blocks.append(element("div", *drawn, class_="figures"))
    return joined(blocks)


def _results(contents: Contents) -> Html:
    """One section for each contrast, and a choice between them."""
    if not contents.results:
        return Html("")
    choose = ""
    if len(contents.results) > 1:
        options = [element("option", result.title, value=result.key) for result in contents.results]
        label = element("label", "Contrast", for_="choice")
        choose = element("div", label, element("select", *options, id="choice"), class_="choose")
    shown = [section(result, k, contents.fdr, contents.data) for k, result in enumerate(contents.results)]
    return joined([choose, *shown])


def _statuses(contents: Contents) -> Html:
    """How the fits of the genes ended: numbers, advice, and the first genes of each kind."""
    blocks = []
    for name, fit in contents.parts:
        status = fit["status"].values
        rows = [
            (kind.name.lower(), int((status == kind).sum()), _names(fit, status == kind, kind), ADVICE[kind])
            for kind in Status
            if (status == kind).any()
        ]
        blocks += [element("h3", name)] if name else []
        blocks.append(plain_table(["status", "genes", "which", "what it means"], rows, "Status of the genes"))
    return joined(blocks)


def _names(fit: xr.Dataset, chosen: np.ndarray, kind: Status) -> str:
    if kind == Status.OK:
        return ""
    names = [str(name) for name in fit[GENE].values[chosen]]
    return ", ".join(names[:LISTED_GENES]) + (", ..." if len(names) > LISTED_GENES else "")


def _provenance(contents: Contents) -> Html:
    """Options, versions, and the commands that repeat the fit and its tests."""
    fit, tests = contents.fit, words.test_options(contents.fit, contents.tests, _samples_of(contents))
    parts = [element("h3", "Again, in Python"), _code("python", words.python_commands(fit, tests))]
    shell = words.shell_commands(fit, tests)
    if shell:
        parts += [element("h3", "Again, on the command line"), _code("shell", shell)]
    options = [(element("code", name), value, meaning) for name, value, meaning in words.option_rows(fit)]
    parts += (
        [plain_table(["option", "value", "what it is"], options, "Options of the fit")] if options else []
    )
    versions = list(words.versions().items())
    parts.append(plain_table(["package", "version"], versions, "Versions at hand when this page was made"))
    about = [
        (key, str(fit.attrs[key]))
        for key in ("source", "history", "device", "references")
        if key in fit.attrs
    ]
    parts.append(plain_table(["of the fit", ""], about, "Where the fit comes from"))
    return joined(parts)


def _code(name: str, text: str) -> Html:
    copy = element("button", "Copy", type="button", class_="copy", data_copy=f"code-{name}")
    return joined([element("pre", element("code", text, id=f"code-{name}")), copy])

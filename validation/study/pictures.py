"""Pictures of the study: false discoveries beside power, p-values under the null, coverage."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#9A9A9A")
OURS = ("xdelnx", "xdelnx invariant", "xdelnx edger", "xdelnx robust", "xdelnx cluster", "xdelnx pseudobulk")
PEERS = ("glmGamPoi", "edgeR", "DESeq2", "delnx", "edgepython", "pydeseq2", "crispyx")
PANELS = (
    ("fdr", "false discovery rate at a nominal 5 %", 0.05, (0.0, 0.4)),
    ("power", "power", None, (0.0, 1.0)),
    ("null below 0.05", "null p-values below 0.05", 0.05, (0.0, 0.2)),
    ("coverage", "coverage of 95 % intervals", 0.95, (0.7, 1.0)),
)


def draw(table: pd.DataFrame, order: list[str], path: Path) -> None:
    """One row a kind of data, one panel a measure, one mark a method; what is beyond a panel is at its edge."""
    from matplotlib.figure import Figure

    methods = [m for m in (*OURS, *PEERS) if m in table.index.get_level_values("method")]
    figure = Figure(figsize=(13.0, 1.6 + 0.24 * len(order)), layout="constrained")
    panels = figure.subplots(1, len(PANELS), sharey=True)
    for axes, (measure, title, nominal, limits) in zip(panels, PANELS, strict=True):
        if nominal is not None:
            axes.axvline(nominal, color="#606060", linewidth=0.8, linestyle="--")
        for i, method in enumerate(methods):
            known = [
                (y, table.loc[(cell, method), (measure, "mean")])
                for y, cell in enumerate(order)
                if (cell, method) in table.index
            ]
            places = [(y, min(max(x, limits[0]), limits[1])) for y, x in known if x == x]
            marker = "o" if method in OURS else "D"
            style = {
                "color": COLOURS[i % len(COLOURS)],
                "s": 26,
                "label": method,
                "clip_on": False,
                "zorder": 3,
            }
            axes.scatter(
                [x for _, x in places],
                [y for y, _ in places],
                marker=marker,
                linewidths=0,
                alpha=0.9,
                **style,
            )
        axes.set(title=title, xlim=limits, ylim=(len(order) - 0.5, -0.5))
        axes.title.set_fontsize(10)
        axes.grid(axis="y", color="#E6E6E6", linewidth=0.6)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
    panels[0].set_yticks(range(len(order)), order, fontsize=8)
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=7, frameon=False, fontsize=8
    )
    figure.savefig(path, dpi=110)

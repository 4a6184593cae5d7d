"""Pictures of design matrices and of p-value histograms, drawn from designs and tests that the package makes."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from scipy.special import erfc

from xdelnx.designs.contrasts import resolve_contrasts
from xdelnx.designs.design import Design, build_design

SAMPLES = pd.DataFrame(
    {
        "donor": ["d1", "d2", "d3", "d4"] * 2,
        "drug": ["none"] * 4 + ["B"] * 4,
        "sex": ["f", "f", "m", "m"] * 2,
        "age": [31.0, 45.0, 28.0, 62.0] * 2,
        "dose": ["0", "1", "2", "2", "0", "0", "1", "2"],
    },
    index=[f"s{i + 1}" for i in range(8)],
)
# File -> formula, references, contrasts that are drawn beneath it
DESIGNS = {
    "two_groups": ("~ drug", {"drug": "none"}, ["drug[T.B]"]),
    "paired": ("~ donor + drug", {"drug": "none"}, ["drug[T.B]"]),
    "levels": ("~ dose", {}, ["dose[T.1]", "dose[T.2]", "dose[T.2] - dose[T.1]"]),
    "no_intercept": ("~ 0 + dose", {}, ["dose[1] - dose[0]", "dose[2] - 0.5 * dose[0] - 0.5 * dose[1]"]),
    "interaction": (
        "~ sex * drug",
        {"drug": "none"},
        ["drug[T.B]", "drug[T.B] + sex[T.m]:drug[T.B]", "sex[T.m]:drug[T.B]"],
    ),
    "covariate": ("~ scale(age) + drug", {"drug": "none"}, ["drug[T.B]", "scale(age)"]),
}
BAR = {"cmap": "PuOr", "vmin": -1.6, "vmax": 1.6, "aspect": "auto"}


def draw(folder: Path) -> None:
    """Write a picture of every design, and one of p-value histograms."""
    for name, (formula, reference, contrasts) in DESIGNS.items():
        design = build_design(SAMPLES, formula, reference=reference)
        figure = draw_design(design, contrasts)
        figure.savefig(folder / f"design_{name}.svg")
        plt.close(figure)
    figure = histograms()
    figure.savefig(folder / "pvalue_shapes.svg")
    plt.close(figure)


def draw_design(design: Design, contrasts: list[str]) -> plt.Figure:
    """Draw a design matrix, a row a sample, with the weights of contrasts beneath it."""
    weights = [resolve_contrasts(design, text, samples=SAMPLES)[0].weights[0] for text in contrasts]
    heights = [len(SAMPLES), len(weights)]
    width, height = 3.9 + 0.85 * len(design.names), 1.9 + 0.27 * sum(heights)
    figure, (top, below) = plt.subplots(
        2, 1, figsize=(width, height), height_ratios=heights, layout="constrained"
    )
    labels = [f"{sample}: {_about(design, sample)}" for sample in SAMPLES.index]
    _matrix(top, design.matrix, labels, f"design {design.formula}")
    top.set_xticks(range(len(design.names)), design.names, rotation=30, ha="left")
    top.xaxis.tick_top()
    _matrix(below, np.array(weights), contrasts, "")
    below.set_xticks([])
    below.set_title("contrasts: weights of the coefficients", fontsize=9, loc="left")
    return figure


def _about(design: Design, sample: str) -> str:
    used = [name for name in SAMPLES if name in design.formula]
    return ", ".join(
        f"{SAMPLES.loc[sample, name]:g}" if name == "age" else SAMPLES.loc[sample, name] for name in used
    )


def _matrix(ax: Axes, values: np.ndarray, labels: list[str], title: str) -> None:
    ax.imshow(values, **BAR)
    ax.set_yticks(range(len(labels)), labels, fontsize=8)
    ax.tick_params(length=0, labelsize=8)
    ax.set_title(title, fontsize=10, loc="left")
    for (i, j), value in np.ndenumerate(values):
        colour = "black" if abs(value) < 1.2 else "white"
        ax.text(j, i, f"{value:.3g}", ha="center", va="center", fontsize=8, color=colour)
    ax.set_xticks(np.arange(values.shape[1] - 1) + 0.5, minor=True)
    ax.set_yticks(np.arange(values.shape[0] - 1) + 0.5, minor=True)
    ax.grid(which="minor", color="white", linewidth=1.5)
    ax.tick_params(which="minor", length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)


def histograms() -> plt.Figure:
    """Draw what histograms of p-values look like, and why."""
    rng = np.random.default_rng(1)
    flat, z = rng.random(8_000), np.abs(rng.normal(size=8_000))
    root = np.sqrt(2.0)
    shapes = {
        "flat, with a peak at 0:\nas it should be": np.r_[flat, rng.beta(0.25, 6.0, 2_000)],
        "flat: nothing was found": np.r_[flat, rng.random(2_000)],
        "a slope towards 0 everywhere:\nsamples are not independent,\nor size factors are off": erfc(
            1.6 * z / root
        ),
        "a slope towards 1: something that\nvaries is not in the design": erfc(0.6 * z / root),
        "spikes towards 1:\ngenes of very few counts": np.r_[flat, rng.choice([0.43, 0.66, 0.9, 1.0], 2_500)],
    }
    figure, axes = plt.subplots(1, len(shapes), figsize=(13.5, 2.6), layout="constrained", sharey=True)
    for ax, (title, values) in zip(axes, shapes.items(), strict=True):
        ax.hist(values, bins=np.linspace(0, 1, 31), density=True, color="#0072B2")
        ax.axhline(1.0, color="#555555", linewidth=0.8, linestyle="--")
        ax.set(xlim=(0, 1), ylim=(0, 4), xlabel="p-value")
        ax.set_title(title, fontsize=9)
    axes[0].set_ylabel("density")
    return figure

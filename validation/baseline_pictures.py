"""Make the small grey pictures with which tests/test_pictures.py compares: look at the large ones before.

python validation/baseline_pictures.py FOLDER      (FOLDER: for the pictures in full size)
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

import xdelnx as xd

BASELINE = Path(__file__).resolve().parents[1] / "tests" / "data" / "pictures.npz"
SHAPE = (36, 48)  # rows and columns of blocks over which a picture is averaged


def pictures() -> dict[str, Callable[[], Any]]:
    """Functions that draw each a picture of the same simulated data, by name."""
    data = xd.simulate(16, 400, n_batches=2, covariate="age", seed=3)
    fit = xd.fit(data, "~ batch + age + condition")
    return {
        "dispersion_histogram": lambda: xd.plot.dispersion_histogram(fit),
        "mean_dispersion": lambda: xd.plot.mean_dispersion(fit),
        "ql_dispersion": lambda: xd.plot.ql_dispersion(fit),
        "volcano": lambda: xd.plot.volcano(fit, n_labels=0),
        "ma": lambda: xd.plot.ma(fit),
        "pvalue_histogram": lambda: xd.plot.pvalue_histogram(fit),
        "pca": lambda: xd.plot.pca(data, "condition", shape="batch", names=False),
        "mds": lambda: xd.plot.mds(data, "age", names=False),
        "gene_counts": lambda: xd.plot.gene_counts(data, fit, "g7"),
        "gene_counts_along": lambda: xd.plot.gene_counts(data, fit, "g7", "age", color="condition"),
        "heatmap": lambda: xd.plot.heatmap(data, fit, color=["condition", "age"]),
    }


def thumbnail(ax: Any) -> np.ndarray:
    """Mean grey level, 0 black to 1 white, of each block of the picture: fonts and edges hardly matter."""
    figure = ax.figure
    figure.canvas.draw()
    grey = np.asarray(figure.canvas.buffer_rgba())[..., :3].mean(axis=2) / 255.0
    rows, columns = (
        np.linspace(0, size, n + 1).astype(int) for size, n in zip(grey.shape, SHAPE, strict=True)
    )
    sums = np.add.reduceat(np.add.reduceat(grey, rows[:-1], axis=0), columns[:-1], axis=1)
    return sums / np.outer(np.diff(rows), np.diff(columns))


def main(folder: Path) -> None:
    """Draw everything, in full size to the folder and as thumbnails to the tests' data."""
    folder.mkdir(parents=True, exist_ok=True)
    small = {}
    for name, draw in pictures().items():
        ax = draw()
        ax.figure.savefig(folder / f"{name}.png", dpi=100)
        small[name] = (thumbnail(ax) * 255).round().astype(np.uint8)
        plt.close(ax.figure)
    np.savez_compressed(BASELINE, **small)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

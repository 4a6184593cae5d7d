"""Micro-benchmarks of the hot kernels: nanoseconds an entry, on one core.

Run with ``python -m benchmarks.kernels [--size 1] [--repeats 7]``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.results_file import write_table


@dataclass(frozen=True)
class Timing:
    """A kernel's name, the entries it visits, and seconds a call (best and median)."""

    name: str
    entries: int
    best: float
    median: float


def tile(n_samples: int, n_genes: int, density: float, seed: int = 0) -> dict[str, np.ndarray]:
    """Arguments of the kernels for a tile of genes with two kinds of samples."""
    rng = np.random.default_rng(seed)
    mean = 60.0 if density >= 1.0 else -np.log1p(-density)
    y = rng.poisson(mean * rng.gamma(4.0, 0.25, (n_genes, n_samples))).astype(float)
    return {
        "y": y,
        "scale": rng.lognormal(0.0, 0.3, (1, n_samples)),
        "weights": np.ones((1, n_samples)),
        "starts": np.array([0, n_samples // 2, n_samples], dtype=np.int64),
        "m": np.full((n_genes, 2), mean) * rng.uniform(0.8, 1.2, (n_genes, 2)),
        "theta": rng.uniform(0.05, 1.0, n_genes),
        "rows": np.arange(n_genes),
    }


def dense_kernels(size: float) -> dict[str, tuple[int, Callable[[], Any]]]:
    """Kernels that visit every entry: name -> (entries, call)."""
    from xdelnx.kernels import dense as kernels

    t = tile(28, max(int(3500 * size), 8), 1.0)
    every = tuple(t[name] for name in ("y", "scale", "weights", "starts", "m", "theta", "rows"))
    ends = np.arange(t["y"].shape[0] + 1) * t["y"].shape[1]
    tails = kernels.count_tails(t["y"].ravel(), ends)
    calls: dict[str, Callable[[], Any]] = {
        "newton_sums": lambda: kernels.newton_sums(*every),
        "fisher_sums": lambda: kernels.fisher_sums(*every[1:]),
        "deviance_sums": lambda: kernels.deviance_sums(*every),
        "dispersion_mean_sums": lambda: kernels.dispersion_mean_sums(*every),
        "count_tails": lambda: kernels.count_tails(t["y"].ravel(), ends),
        "dispersion_count_sums": lambda: kernels.dispersion_count_sums(*tails, t["theta"], t["rows"]),
    }
    return {name: (t["y"].size, call) for name, call in calls.items()}


def nonzero_kernels(size: float) -> dict[str, tuple[int, Callable[[], Any]]]:
    """Kernels that visit the non-zero counts alone: name -> (non-zeros, call)."""
    from xdelnx.algorithms.zeros import from_moments, stand_ins
    from xdelnx.kernels import block as block_kernels
    from xdelnx.kernels import nonzero as kernels
    from xdelnx.kernels.nodes import spread_by_piece

    t = tile(max(int(20_000 * size), 50), 40, 0.05)
    counts = np.ascontiguousarray(t["y"].T.astype(np.uint16))
    block = counts.ravel(), counts.shape[1], *counts.shape
    non_zero = block_kernels.nonzero_by_gene(*block)
    last = int(non_zero.sum())
    everyone = np.ones_like(non_zero)
    order = np.arange(counts.shape[0])
    compress = block[0], block[0], block[1], everyone, non_zero, order, t["starts"]
    few, places, bounds = block_kernels.compress(*compress)
    scales = few, places, t["scale"][0], 0, last
    flat = *block_kernels.with_scales(*scales), bounds
    state = t["m"], t["theta"], t["rows"]
    zeros = stand_ins(t["scale"][0], t["starts"])
    by_piece = block_kernels.compress(*compress[:-2], zeros.order, zeros.pieces)
    at = zeros.pieces, zeros.nodes, zeros.x, from_moments()
    calls: dict[str, Callable[[], Any]] = {
        "newton_differences": lambda: kernels.newton_differences(*flat, *state),
        "deviance_differences": lambda: kernels.deviance_differences(*flat, *state),
        "dispersion_differences": lambda: kernels.dispersion_differences(*flat, *state),
        "compress": lambda: block_kernels.compress(*compress),
        "spread_by_piece": lambda: spread_by_piece(*by_piece, *at),
        "with_scales": lambda: block_kernels.with_scales(*scales),
        "nonzero_by_gene (an entry)": lambda: block_kernels.nonzero_by_gene(*block),
        "sums_by_gene (an entry)": lambda: block_kernels.sums_by_gene(*block),
        "look_at_whole_numbers (an entry)": lambda: block_kernels.look_at_whole_numbers(*block),
    }
    entries = {name: counts.size if "an entry" in name else last for name in calls}
    return {name: (entries[name], call) for name, call in calls.items()}


def node_kernels(size: float) -> dict[str, tuple[int, Callable[[], Any]]]:
    """Kernels of a design with a covariate: non-zeros put on nodes once, and then the nodes visited."""
    from xdelnx.algorithms.basis import layout_of
    from xdelnx.algorithms.covariate import covariate_nodes
    from xdelnx.kernels import nodes as kernels

    n, n_genes = max(int(5_000 * size), 700), max(int(160 * size), 4)
    t, x = tile(n, n_genes, 0.2), np.random.default_rng(0).standard_normal(n)
    layout = layout_of(np.column_stack([np.ones(n), x]))
    places = covariate_nodes(layout, t["scale"][0][layout.order])
    assert places is not None
    gene, sample = t["y"].nonzero()
    ends = np.searchsorted(gene, np.arange(n_genes + 1))
    spread = t["y"][gene, sample], sample.astype(np.int32), ends, *places.spread_arguments
    at = kernels.spread(*spread)
    scale, weights, starts = places.samples.scale, places.samples.weights, places.samples.starts
    m = np.full((n_genes, starts.size - 1), 0.2)
    deviance = at, scale, np.log(scale), weights, starts, m, t["theta"], t["rows"]
    return {
        "spread (a non-zero)": (gene.size, lambda: kernels.spread(*spread)),
        "node_deviance_sums (a node)": (at.size, lambda: kernels.node_deviance_sums(*deviance)),
    }


def small_kernels(size: float) -> dict[str, tuple[int, Callable[[], Any]]]:
    """What runs once a gene: algebra and the step across genes."""
    from xdelnx.algorithms import shrinkage, trend
    from xdelnx.kernels import linear as linear_kernels

    n_genes = max(int(20_000 * size), 300)
    rng = np.random.default_rng(0)
    groups, covariates = 4, 2
    packed = np.zeros((n_genes, groups + groups * covariates + 3))
    packed[:, :groups] = rng.uniform(5.0, 9.0, (n_genes, groups))
    packed[:, groups:-3] = rng.uniform(-1.0, 1.0, (n_genes, groups * covariates))
    packed[:, -3:] = [9.0, 1.0, 9.0]
    rhs = rng.normal(size=(n_genes, groups + covariates))
    mean = rng.lognormal(4.0, 2.4, n_genes)
    theta = (0.05 + 2.0 / mean) * rng.lognormal(0.0, 0.5, n_genes)
    q = rng.f(26.0, 10.0, n_genes)
    calls: dict[str, Callable[[], Any]] = {
        "solve_arrow": lambda: linear_kernels.solve_arrow(packed, rhs, groups),
        "local_median": lambda: trend.local_median(mean, theta),
        "fit_prior": lambda: shrinkage.fit_prior(mean, q, 26.0),
    }
    return {name: (n_genes, call) for name, call in calls.items()}


GROUPS = {
    "every entry": dense_kernels,
    "non-zeros": nonzero_kernels,
    "nodes": node_kernels,
    "genes": small_kernels,
}


def measure(size: float = 1.0, repeats: int = 7) -> dict[str, list[Timing]]:
    """Time every kernel after one call that compiles it."""
    found: dict[str, list[Timing]] = {}
    for group, make in GROUPS.items():
        for name, (entries, call) in make(size).items():
            call()
            seconds = [_seconds(call) for _ in range(repeats)]
            found.setdefault(group, []).append(Timing(name, entries, min(seconds), float(np.median(seconds))))
    return found


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main() -> None:
    """Print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=float, default=1.0, help="of the arrays, to try this out")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--out", default=None, help="folder; default benchmarks/results")
    args = parser.parse_args()
    rows = [
        [timing.name, group, f"{timing.entries:,}", f"{1e9 * timing.best / timing.entries:.1f}",
         f"{1e9 * timing.median / timing.entries:.1f}"]
        for group, timings in measure(args.size, args.repeats).items()
        for timing in timings
    ]  # fmt: skip
    head = ["kernel", "visits", "how many", "ns each, best", "ns each, median"]
    write_table("kernels", "Hot kernels, one core", [("", head, rows)], args.out)


if __name__ == "__main__":
    main()

"""The main job, end to end: counts in an AnnData file, to Zarr, fitted, tested, plotted, saved.

make demo        or        python examples/demo.py [FOLDER]
"""

import shutil
import sys
import time
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import anndata
import matplotlib.pyplot as plt
import pandas as pd
import xarray as xr

import xdelnx as xd

FORMULA, REFERENCE, CONTRAST = "~GLI3_KO", {"GLI3_KO": "True"}, "GLI3_KO[T.False]"


def simulated_h5ad(path: Path, n_genes: int) -> None:
    """Write 28 samples, 14 with GLI3 knocked out and 14 without; the truth about each gene goes into var."""
    ds = xd.simulate(28, n_genes, condition="GLI3_KO", levels=(False, True), seed=3)
    obs = ds[["GLI3_KO"]].to_dataframe()
    truth = ds[["base_mean", "lfc", "dispersion", "is_de"]].to_dataframe()
    anndata.AnnData(ds["counts"].values, obs=obs, var=truth).write_h5ad(path)


def pictures(fit: xr.Dataset, res: xr.Dataset, out: Path) -> None:
    """Write one PNG a picture."""
    drawn = {
        "dispersion_histogram": xd.plot.dispersion_histogram(fit),
        "mean_dispersion": xd.plot.mean_dispersion(fit),
        "ql_dispersion": xd.plot.ql_dispersion(fit),
        "volcano": xd.plot.volcano(res),
        "ma": xd.plot.ma(res, mean=fit["mean"]),
        "pvalue_histogram": xd.plot.pvalue_histogram(res),
    }
    for name, ax in drawn.items():
        ax.figure.savefig(out / f"{name}.png", dpi=150)
        plt.close(ax.figure)


def against_truth(table: pd.DataFrame, ds: xr.Dataset) -> str:
    """How many of the genes found are truly changed."""
    found = table.loc[table["padj"] < 0.05, "feature"]
    changed = pd.Series(ds["is_de"].values, ds["gene"].values.astype(object))
    true = int(changed[found].sum())
    false = len(found) - true
    share = false / max(len(found), 1)
    return f"{len(found)} genes at a false discovery rate of 5 %, {false} ({share:.1%}) of them false"


class Steps:
    """Says what is being done, and how long it took."""

    def __init__(self) -> None:
        self.number, self.start = 0, time.perf_counter()

    def __call__(self, text: str, *outputs: Path) -> None:
        self.number += 1
        arrow = f"  -> {', '.join(map(str, outputs))}" if outputs else ""
        print(f"[{time.perf_counter() - self.start:4.1f} s] {self.number}. {text}{arrow}", flush=True)


def main(folder: str = "demo-output", n_genes: int = 16_199) -> None:
    out, step = Path(folder), Steps()
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)

    step(f"simulate 28 samples x {n_genes:,} genes with known truth", out / "counts.h5ad")
    simulated_h5ad(out / "counts.h5ad", n_genes)
    step("convert to Zarr, chunked by gene", out / "counts.zarr")
    xd.convert(out / "counts.h5ad", out / "counts.zarr")
    ds = xd.open_counts(out / "counts.zarr")
    step(f"fit {FORMULA} with the reference {REFERENCE}", out / "fit.zarr")
    xd.fit(ds, FORMULA, reference=REFERENCE).to_zarr(out / "fit.zarr", consolidated=False)
    fit = xr.open_zarr(out / "fit.zarr", consolidated=False)
    step(f"test {CONTRAST} from the stored fit", out / "test.zarr", out / "top_table.csv")
    res = xd.test(ds, fit, CONTRAST)
    res.to_zarr(out / "test.zarr", consolidated=False)
    table = xd.top_table(res)
    table.to_csv(out / "top_table.csv", index=False)
    step("draw", out / "*.png")
    pictures(fit, res, out)
    step("fit with size_factors='ratio', which a few very high genes that change cannot move")
    by_ratio = xd.top_table(xd.fit(ds, FORMULA, reference=REFERENCE, size_factors="ratio"))
    step("done\n")

    print(table.head(8).to_string(index=False, float_format="{:.4g}".format))
    print(f"\n{int(ds['is_de'].sum())} genes are truly changed. Found:")
    print(f"  size_factors='normed_sum' (the default)  {against_truth(table, ds)}")
    print(f"  size_factors='ratio'                     {against_truth(by_ratio, ds)}\n")
    print(f"Look at {out}/volcano.png and {out}/top_table.csv first.")


if __name__ == "__main__":
    main(*sys.argv[1:2])

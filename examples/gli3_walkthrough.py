"""GLI3 knockout in pseudobulk: from counts in a Zarr store to tested, plotted, saved results.

    python examples/gli3_walkthrough.py [FOLDER]

The counts are simulated in the shape of the original data: 28 samples (14 with GLI3 knocked out, 14 without)
and 16,199 genes, some of which have no count at all.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

import xdelnx as xd


def main(folder: str = "gli3-output", n_genes: int = 16_199) -> None:
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)

    # Counts, 28 samples x 16,199 genes, in a Zarr store chunked by gene. Yours come from `xdelnx convert`.
    counts = xd.simulate(28, n_genes, condition="GLI3_KO", levels=(False, True), seed=3)
    counts.to_zarr(out / "gli3.zarr", mode="w", consolidated=False)
    ds = xd.open_counts(out / "gli3.zarr")
    print(ds)

    # Fit every gene; the knockout is the reference, so that fold changes are wild type over knockout.
    fit = xd.fit(ds, "~GLI3_KO", reference={"GLI3_KO": "True"})
    print(fit)
    dispersion = fit["dispersion"]
    print(f"Dispersion range: {float(dispersion.min()):.3g} - {float(dispersion.max()):.3g}")
    silent = int((fit["status"] == 1).sum())
    print(f"{silent} genes have no count at all: no statistics for them, and no influence on the others")

    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    xd.plot.dispersion_histogram(fit, ax=axes[0])
    xd.plot.mean_dispersion(fit, ax=axes[1])
    figure.savefig(out / "dispersions.png", dpi=150)

    # The last term of the formula is tested already; any other contrast reuses the fit.
    res = xd.test(ds, fit, "GLI3_KO[T.False]")
    table = xd.top_table(res)
    print(table.head(10).to_string(index=False))
    print(f"{(table['padj'] < 0.05).sum()} genes at a false discovery rate of 5 %")
    table.to_csv(out / "GLI3_KO.csv", index=False)
    xd.plot.volcano(res).figure.savefig(out / "volcano.png", dpi=150)

    # Saved, opened again, and tested as if nothing had happened.
    fit.to_zarr(out / "fit.zarr", mode="w", consolidated=False)
    again = xd.test(ds, xr.open_zarr(out / "fit.zarr", consolidated=False), "GLI3_KO[T.False]")
    np.testing.assert_array_equal(again["pval"].values, res["pval"].values)


if __name__ == "__main__":
    main(*sys.argv[1:2])

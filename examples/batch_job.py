"""The same as `batch_job.sh` from Python, for a workflow manager that calls functions.

python examples/batch_job.py cells.h5ad results "~ condition"
"""

import sys
from pathlib import Path

import xdelnx as xd


def main(source: str, folder: str, design: str) -> None:
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "cells.zarr").exists():
        xd.convert(source, out / "cells.zarr", layer="counts")
    counts = xd.pseudobulk(xd.open_counts(out / "cells.zarr"), ["donor", "condition"])  # lazy
    fit = xd.fit(counts, design)
    fit.to_zarr(out / "fit.zarr", mode="w", consolidated=False)
    for contrast in fit["contrast"].values:
        name = "".join(letter if letter.isalnum() else "_" for letter in contrast)
        xd.top_table(fit, contrast).to_csv(out / f"{name}.csv", index=False)
    print(xd.describe(fit))


if __name__ == "__main__":
    main(*sys.argv[1:4])

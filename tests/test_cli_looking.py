"""Commands that look at a fit: each writes what its function gives."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xdelnx as xd
from xdelnx.cli import main
from xdelnx.storage.stores import open_counts, open_result


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("looking")
    xd.simulate(8, 120, seed=3).to_zarr(path / "counts.zarr")
    assert main(["fit", str(path / "counts.zarr"), str(path / "fit.zarr"), "--design", "~ condition"]) == 0
    newdata = pd.DataFrame({"condition": ["A", "B"]}, pd.Index(["one", "two"], name="sample"))
    newdata.to_csv(path / "new.csv")
    return path


@pytest.fixture(scope="module")
def opened(folder):
    return open_counts(folder / "counts.zarr"), open_result(folder / "fit.zarr")


GENES = ["g7", "g3"]
OF_FIT = {
    "residuals --kind randomized_quantile --seed 5 --genes g7 --genes g3": lambda data, fit: xd.residuals(
        data, fit, kind="randomized_quantile", seed=5, genes=GENES
    ).to_dataset(name="residual"),
    "goodness-of-fit --dispersion gene": lambda data, fit: xd.goodness_of_fit(data, fit, dispersion="gene"),
    "predict --scale link --unscaled --genes g7 --genes g3": lambda data, fit: xd.predict(
        data, fit, scale="link", unscaled=True, genes=GENES
    ),
    "predict --newdata new.csv --size-factor 2 --no-standard-error": lambda data, fit: xd.predict(
        data,
        fit,
        pd.DataFrame({"condition": ["A", "B"]}, ["one", "two"]),
        size_factor=2.0,
        standard_error=False,
    ),
}


@pytest.mark.parametrize("words", OF_FIT)
def test_of_a_fit(folder, opened, tmp_path, monkeypatch, words):
    monkeypatch.chdir(folder)
    command, *options = words.split()
    assert main([command, "counts.zarr", "fit.zarr", str(tmp_path / "out.zarr"), *options]) == 0
    written = xr.open_zarr(tmp_path / "out.zarr").load()
    xr.testing.assert_equal(written, OF_FIT[words](*opened))


@pytest.mark.parametrize("method", ["log_cpm", "acosh"])
def test_normalize(folder, opened, tmp_path, method):
    out = str(tmp_path / "values.zarr")
    options = ["--method", method, "--size-factors", "tmm", "--prior-count", "1"]
    assert main(["normalize", str(folder / "counts.zarr"), out, *options]) == 0
    expected = xd.normalize(opened[0], method, size_factors="tmm", prior_count=1.0)
    np.testing.assert_array_equal(xr.open_zarr(out)[method], expected)


def test_adjust(folder, opened, tmp_path):
    out, table = tmp_path / "adjusted.zarr", tmp_path / "genes.csv"
    options = ["--method", "holm", "--filter-by", "mean", "--across", "contrast", "--table", str(table)]
    assert main(["adjust", str(folder / "fit.zarr"), str(out), *options]) == 0
    expected = xd.adjust(opened[1], "holm", filter_by="mean", across=["contrast"])
    np.testing.assert_array_equal(xr.open_zarr(out)["padj"], expected["padj"])
    assert len(pd.read_csv(table)) == 120


def test_of_a_test(folder, tmp_path, capsys):
    """What `xdelnx test` wrote can be adjusted and shrunken, too, and not taken for a fit."""
    counts, tested = str(folder / "counts.zarr"), str(tmp_path / "test.zarr")
    assert main(["test", counts, str(folder / "fit.zarr"), tested, "--contrast", "condition[T.B]"]) == 0
    assert main(["adjust", tested, str(tmp_path / "adjusted.zarr"), "--method", "by"]) == 0
    assert main(["shrink-lfc", tested, str(tmp_path / "shrunken.zarr")]) == 0
    assert main(["residuals", counts, tested, str(tmp_path / "no.zarr")]) == 1
    assert "is not the result of a fit: it has no variable beta, design" in capsys.readouterr().err
    assert main(["adjust", counts, str(tmp_path / "no.zarr")]) == 1
    assert (
        "is not the result of a test, or of a fit with contrasts: it has no variable pval"
        in capsys.readouterr().err
    )

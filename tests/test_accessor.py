"""Methods of Datasets, and a result in words: they say and do what the functions do."""

import inspect
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

import xdelnx as xd
from xdelnx import accessor
from xdelnx.status import Status


@pytest.fixture(scope="module")
def fitted(bulk):
    return xd.fit(bulk, "~ batch + condition")


# ---- ds.xdelnx ---------------------------------------------------------------------------------------------


def test_verbs_as_methods(bulk, fitted):
    xr.testing.assert_identical(
        bulk.xdelnx.fit("~ batch + condition").drop_attrs(deep=False), fitted.drop_attrs(deep=False)
    )
    tested = bulk.xdelnx.test(fitted, "condition[T.B]", lfc_threshold=1.0)
    expected = xd.test(bulk, fitted, "condition[T.B]", lfc_threshold=1.0)
    np.testing.assert_array_equal(tested["pval"], expected["pval"])
    assert fitted.xdelnx.top_table(n=3).equals(xd.top_table(fitted, n=3))
    assert fitted.xdelnx.describe() == xd.describe(fitted)
    one = bulk["counts"].assign_coords(condition=bulk["condition"])
    np.testing.assert_array_equal(one.xdelnx.size_factors(), xd.size_factors(bulk))


def test_pictures_as_methods(fitted):
    pytest.importorskip("matplotlib")
    assert fitted.xdelnx.plot.pvalue_histogram().get_xlabel()
    assert "volcano" in dir(fitted.xdelnx.plot)


def test_every_function_of_a_dataset_is_a_method(bulk):
    """What takes data, counts or a result first."""
    taken = {
        name
        for name in xd.__all__
        if inspect.isfunction(getattr(xd, name))
        and name not in ("open_counts", "from_anndata")
        and next(iter(inspect.signature(getattr(xd, name)).parameters), "") in ("data", "result")
    }
    assert taken == {*accessor.OF_COUNTS, *accessor.OF_RESULTS}
    assert {*taken, "plot"} == set(dir(bulk.xdelnx))


def test_methods_are_documented(bulk):
    method = bulk.xdelnx.fit
    assert method.__doc__ == xd.fit.__doc__
    assert [*inspect.signature(method).parameters] == [*inspect.signature(xd.fit).parameters][1:]
    with pytest.raises(AttributeError, match=r"there is no 'fitt'; there are .*fit"):
        _ = bulk.xdelnx.fitt


@pytest.mark.parametrize(
    "code",
    [
        "import xarray as xr, xdelnx; ds = xr.Dataset()",
        "import xdelnx; import xarray as xr; ds = xdelnx.simulate(4, 20)",
        "import xdelnx, xarray; ds = xarray.Dataset()",
        "import xdelnx; from xarray import DataArray; ds = DataArray(0)",
        "import xdelnx, anndata, xarray as xr; ds = xr.Dataset()",
        "import xdelnx, importlib.util; importlib.util.find_spec('xarray'); import xarray; ds = xarray.Dataset()",
    ],
)
def test_it_is_there(code):
    subprocess.run([sys.executable, "-c", f"{code}; ds.xdelnx.fit"], check=True)


def test_import_loads_no_xarray():
    code = "import xdelnx, sys; assert 'xarray' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# ---- a result as it is printed -------------------------------------------------------------------------------


def test_what_is_looked_for_comes_first(bulk, fitted):
    assert list(fitted.data_vars)[:7] == ["log2fc", "lfc_se", "ci_low", "ci_high", "stat", "pval", "padj"]
    assert next(iter(xd.test(bulk, fitted).data_vars)) == "log2fc"
    one = fitted.sel(contrast="condition[T.B]")
    assert one["padj"].dims == ("gene",)
    assert "condition[T.B]" in fitted._repr_html_()


@pytest.mark.parametrize("keep", [True, False])
def test_attributes_do_not_depend_on_what_arithmetic_keeps(bulk, fitted, keep):
    with xr.set_options(keep_attrs=keep):
        again = xd.fit(bulk, "~ batch + condition")
        tested = xd.test(bulk, again)
        shrunken = xd.shrink_lfc(again)
    xr.testing.assert_identical(again.drop_attrs(deep=False), fitted.drop_attrs(deep=False))
    for result in (again, tested, shrunken):
        assert all("long_name" in result[name].attrs for name in result.variables)
        assert "source" in result.attrs


# ---- describe ------------------------------------------------------------------------------------------------


def test_describe_counts_right(bulk, fitted):
    text = xd.describe(fitted)
    padj = fitted["padj"].values.ravel()
    found = (
        f"{(padj < 0.05).sum()} of {np.isfinite(padj).sum()} tested genes at a false discovery rate of 5 %"
    )
    first, second, *_ = text.splitlines()
    assert first == f"fit of ~ batch + condition: 16 samples x 400 genes, 1 contrast, {found}"
    up = int(((fitted["log2fc"] > 0) & (fitted["padj"] < 0.05)).sum())
    assert second.startswith(f"condition[T.B]: {found} ({up} up, ")
    factors = fitted["size_factor"].values
    assert f"size factors normed_sum, {factors.min():.2g} to {factors.max():.2g}" in text
    assert "caution" not in text


def test_describe_other_results(bulk, fitted):
    assert xd.describe(xd.test(bulk, fitted)).startswith(
        "test of ~ batch + condition: 400 genes, 1 contrast, "
    )
    markers = xd.describe(xd.rank_genes(bulk, "batch"))
    assert markers.startswith("marker genes: 400 genes, 2 contrasts\nbatch1: ")
    untested = xd.describe(xd.fit(bulk, "~ condition", contrasts=None))
    assert untested.startswith("fit of ~ condition: 16 samples x 400 genes\n")
    lazily = xd.describe(xd.fit(bulk, "~ batch + condition", compute=False))
    assert lazily == xd.describe(fitted)
    groups = xd.fit(bulk.assign(kind=("sample", ["a", "b"] * 8)), "~ condition", by="kind")
    assert "\nb: condition[T.B]: " in xd.describe(groups)


def test_describe_warns(fitted):
    odd = fitted.copy(deep=True)
    odd["prior_df"] = np.inf
    odd["status"][:3] = Status.DISPERSION_NOT_CONVERGED
    odd["size_factor"][0] = 100.0 * float(odd["size_factor"].max())
    text = xd.describe(odd)
    assert "caution: the prior has infinitely many degrees of freedom" in text
    assert "caution: 3 genes did not converge" in text
    assert "caution: size factors differ " in text


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [(3, TypeError, "received int"), (xr.Dataset(), ValueError, "no result of fit, test or rank_genes")],
)
def test_describe_refuses(given, kind, message):
    with pytest.raises(kind, match=message):
        xd.describe(given)

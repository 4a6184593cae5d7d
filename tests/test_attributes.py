"""What a result says of itself is true: comments, options, and what `test` needs of a fit."""

import json

import numpy as np
import pytest
import xarray as xr

from xdelnx import covariance, fit, simulate, test
from xdelnx.schema import COORDINATES, VARIABLES
from xdelnx.storage.io import write_store


@pytest.fixture(scope="module")
def ds():
    return simulate(12, 120, seed=1)


@pytest.mark.parametrize(
    ("options", "variable", "comment"),
    [
        ({}, "dispersion", "Cox-Reid adjusted maximum likelihood"),
        ({"cox_reid": False}, "dispersion", "maximum likelihood"),
        (
            {"overdispersion": "global"},
            "dispersion",
            "Cox-Reid adjusted maximum likelihood, one estimate for all genes",
        ),
        ({"overdispersion": 0.1}, "dispersion", "as given to the fit; 0 is Poisson"),
        (
            {"overdispersion": False},
            "dispersion_trend",
            "the overdispersion itself, which is the same for all genes",
        ),
        ({}, "dispersion_trend", None),
        ({}, "deviance", None),
        ({"ridge": 0.5}, "deviance", "with the ridge penalty added"),
        ({"overdispersion": 0.1, "shrinkage": False}, "dispersion", "as given to the fit; 0 is Poisson"),
    ],
)
def test_comments_say_what_an_option_made_of_a_variable(ds, options, variable, comment):
    assert fit(ds, "~ condition", **options)[variable].attrs.get("comment") == comment


@pytest.mark.parametrize(
    ("options", "recorded"),
    [
        ({}, {"overdispersion": True, "size_factors": "normed_sum", "offset": None, "contrasts": "last"}),
        ({"overdispersion": np.True_}, {"overdispersion": True}),
        ({"overdispersion": np.False_}, {"overdispersion": False}),
        ({"overdispersion": np.float32(0.5)}, {"overdispersion": 0.5}),
        ({"overdispersion": np.full(120, 0.5)}, {"overdispersion": "given"}),
        ({"overdispersion": xr.DataArray(0.5)}, {"overdispersion": 0.5}),
        ({"size_factors": None}, {"size_factors": "none"}),
        ({"size_factors": np.ones(12)}, {"size_factors": "given"}),
        ({"offset": np.ones(12)}, {"offset": "given"}),
        ({"offset": "size_factor_true"}, {"offset": "size_factor_true"}),
        ({"contrasts": None}, {"contrasts": None}),
        ({"contrasts": ["condition[T.B]", (0, 2.0)]}, {"contrasts": ["condition[T.B]", [0, 2.0]]}),
        ({"contrasts": {"twice": {"condition[T.B]": 2}}}, {"contrasts": {"twice": {"condition[T.B]": 2}}}),
        ({"contrasts": np.array([0.0, 2.0])}, {"contrasts": "array([0., 2.])"}),
    ],
)
def test_options_are_recorded_as_they_were_meant(ds, options, recorded):
    found = json.loads(fit(ds, "~ condition", **options).attrs["options"])
    assert recorded.items() <= found.items()


def test_everything_in_a_result_has_a_long_name(ds):
    result = fit(ds, "~ condition", offset=np.zeros((12, 120)))
    for each in (result, test(ds, result), covariance(ds, result, ["g1"])):
        variables = each.variables if isinstance(each, xr.Dataset) else {each.name: each, **each.coords}
        for name, variable in variables.items():
            assert variable.attrs["long_name"], name
            assert name in VARIABLES or name in COORDINATES
    assert result["offset"].attrs["units"] == "log"


# ---- what test needs of a fit ----------------------------------------------------------------------------


NEEDED = ["beta", "deviance", "design", "df2", "status", "library_size", "size_factor", "offset"]


@pytest.mark.parametrize("shrinkage", [True, False])
@pytest.mark.parametrize("shape", [(12,), (12, 120)])
def test_a_fit_that_lost_a_variable_is_refused(ds, shrinkage, shape):
    offset = np.random.default_rng(0).normal(0.0, 0.3, shape)
    result = fit(ds, "~ condition", offset=offset, shrinkage=shrinkage)
    needed = [*NEEDED, *(["dispersion_trend", "ql_dispersion_shrunken"] if shrinkage else ["dispersion"])]
    for name in needed:
        with pytest.raises(
            ValueError, match=f"not a whole fit, it lacks {name}; pass what xdelnx.fit returned"
        ):
            test(ds, result.drop_vars(name), "condition[T.B]")
        with pytest.raises(ValueError, match=f"not a whole fit, it lacks {name};"):
            covariance(ds, result.drop_vars(name))
    # and nothing else is needed
    least = test(ds, result[needed], "condition[T.B]")
    # refits begin elsewhere; both end within the decrement of the optimum
    np.testing.assert_allclose(least["pval"], result["pval"], rtol=1e-6)


# ---- a panel of the genes --------------------------------------------------------------------------------


def test_a_panel_of_genes_is_tested_alone(ds, tmp_path):
    result = fit(ds, "~ condition")
    write_store(result, tmp_path / "fit.zarr")
    whole = test(ds, result)
    for again in (result, xr.open_zarr(tmp_path / "fit.zarr")):
        for panel in (slice(50), [3, 70, 71]):
            part = test(ds.isel(gene=panel), again.isel(gene=panel))
            # blocks of other genes: sums in another order
            np.testing.assert_allclose(part["pval"], whole["pval"].isel(gene=panel), rtol=1e-10)
    swapped = ds.assign(counts=ds["counts"].copy(data=ds["counts"].values[::-1]))
    with pytest.raises(ValueError, match="not the counts the fit was made from"):
        test(swapped, result)
    more = ds.assign(counts=1000 * ds["counts"])
    with pytest.raises(ValueError, match="not the counts the fit was made from"):
        test(more.isel(gene=slice(50)), result.isel(gene=slice(50)))

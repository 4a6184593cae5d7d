"""A fit of each group of samples equals the fits of the groups, one by one."""

import json

import numpy as np
import pytest
import xarray as xr

import xdelnx as xd
from xdelnx.cli import main
from xdelnx.status import Status
from xdelnx.storage.stores import write_store


@pytest.fixture(scope="module")
def data():
    data = xd.simulate(42, 200, levels=("a", "b", "c"), covariate="age", seed=6)
    kind = np.array(["T", "B"], dtype=object)[np.arange(42) % 2]
    kind[:3] = "rare"
    kind[3] = "single"
    condition = data["condition"].values.copy()
    condition[(kind == "B") & (condition == "c")] = "b"  # a level that one group lacks
    data["condition"] = ("sample", condition, {"categories": ["a", "b", "c"]})
    data["kind"] = ("sample", kind, {"categories": ["T", "rare", "B", "single", "none"]})
    data["offset"] = ("sample", "gene"), np.random.default_rng(0).normal(0.0, 0.1, (42, 200))
    data["depth"] = "sample", np.linspace(0.5, 2.0, 42)
    return data


FEW = r"2 of 4 groups of 'kind' were not fitted and are NaN: rare \(.*condition.*\), single \(there is one sample"


@pytest.mark.parametrize("chunks", [None, {"gene": 60}])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"shrinkage": False, "adjust": "holm"},
        {"size_factors": "depth", "offset": "offset"},
        {"contrasts": ["age", "condition[T.b]"], "overdispersion": "global"},
        {"contrasts": None},
    ],
)
def test_groups_as_if_alone(data, chunks, options):
    whole = data if chunks is None else data.assign(counts=data["counts"].chunk(chunks))
    with pytest.warns(xd.XdelnxWarning, match=FEW) as caught:
        result = xd.fit(whole, "~ age + condition", by="kind", **options)
    assert caught[0].filename == __file__
    assert list(result["kind"].values) == ["T", "rare", "B", "single"]
    assert "sample" not in result.dims
    for kind in ("T", "B"):
        alone = xd.fit(whole.isel(sample=data["kind"] == kind), "~ age + condition", **options)
        found = result.sel(kind=kind)
        for name in set(alone.data_vars) - {"size_factor", "library_size", "design", "contrast_weight"}:
            inner = found[name].reindex_like(alone[name])
            # the same numbers in the same order; only blocks of genes may be cut otherwise
            np.testing.assert_allclose(inner, alone[name], rtol=1e-10, err_msg=name)
    assert (result["status"].sel(kind="rare") == Status.GROUP_NOT_FITTED).all()
    assert result["status"].dtype == np.int8
    assert result["beta"].sel(kind=["rare", "single"]).isnull().all()
    assert result["group_status"].values.tolist() == [0, 1, 0, 1]
    assert result["n_samples"].values.tolist() == [19, 3, 19, 1]
    assert result["group_note"].values[0] == ""
    assert "one sample" in result["group_note"].values[3]
    assert json.loads(result.attrs["options"])["by"] == "kind"


@pytest.mark.filterwarnings("ignore::xdelnx.XdelnxWarning")
def test_a_coefficient_that_one_group_lacks_is_nan_there(data):
    result = xd.fit(data, "~ age + condition", by="kind")
    lacking = result.sel(kind="B", coefficient="condition[T.c]")
    assert lacking["beta"].isnull().all()
    assert result.sel(kind="T", coefficient="condition[T.c]")["beta"].notnull().any()
    assert "condition" in result["contrast"].values  # the joint test, where there is one
    assert result["padj"].sel(kind="B", contrast="condition[T.b]").notnull().any()


@pytest.mark.filterwarnings("ignore::xdelnx.XdelnxWarning")
def test_a_level_in_the_middle_that_the_first_group_lacks():
    data = xd.simulate(24, 120, levels=("a", "b", "c"), seed=3)
    data["kind"] = "sample", np.array(["T", "U"], dtype=object)[np.arange(24) % 2]
    data = data.isel(sample=~((data["kind"] == "T") & (data["condition"] == "b")).values)
    result = xd.fit(data, "~ condition", by="kind")
    assert list(result["coefficient"].values) == ["Intercept", "condition[T.b]", "condition[T.c]"]
    assert list(result["contrast"].values) == ["condition[T.b]", "condition[T.c]", "condition"]
    for kind in ("T", "U"):
        alone = xd.fit(data.isel(sample=(data["kind"] == kind).values), "~ condition")
        found = result.sel(kind=kind, contrast=alone["contrast"].values)
        # the same numbers in the same order; only blocks of genes may be cut otherwise
        np.testing.assert_allclose(found["pval"], alone["pval"], rtol=1e-10)
    assert result["pval"].sel(kind="T", contrast="condition[T.b]").isnull().all()


@pytest.fixture(scope="module")
def without_first():
    """Group T lacks the first level of the condition, U that of the donor."""
    data = xd.simulate(48, 60, levels=("a", "b", "c"), seed=3)
    kind = np.array(["T", "U"], dtype=object)[np.arange(48) % 2]
    donor = np.array(["x", "y", "z"], dtype=object)[np.arange(48) // 2 % 3]
    data = data.assign(kind=("sample", kind), donor=("sample", donor))
    lacking = ((kind == "T") & (data["condition"] == "a")) | ((kind == "U") & (donor == "x"))
    return data.isel(sample=~lacking.values)


@pytest.mark.parametrize(
    ("design", "options", "refused"),
    [
        ("~ condition", {}, "condition = 'a'"),
        ("~ condition", {"contrasts": ["condition[T.c]"]}, "condition = 'a'"),
        ("~ condition", {"contrasts": {"c": {"condition[T.c]": 1}}}, "condition = 'a'"),
        ("~ condition", {"contrasts": "Intercept"}, "condition = 'a'"),
        ("~ condition", {"contrasts": "pairwise(condition)"}, None),
        ("~ condition", {"contrasts": "cond(condition='c') - cond(condition='b')"}, None),
        ("~ condition", {"contrasts": ["condition"]}, None),
        ("~ condition", {"contrasts": "~ 1"}, None),
        ("~ condition", {"contrasts": None}, None),
        ("~ condition", {"reference": {"condition": "b"}, "contrasts": "condition[T.c]"}, None),
        ("~ 0 + condition", {"contrasts": "condition[c] - condition[b]"}, None),
        ("~ donor + condition", {"reference": {"condition": "b"}, "contrasts": "condition[T.c]"}, None),
        (
            "~ donor * condition",
            {"reference": {"condition": "b"}, "contrasts": "condition[T.c]"},
            "donor = 'x'",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::xdelnx.XdelnxWarning")
def test_one_name_compares_the_same_levels_in_every_group(without_first, design, options, refused):
    result = xd.fit(without_first, design, by="kind", **options)
    notes = [note for note in result["group_note"].values if note]
    assert len(notes) == (refused is not None)
    assert not notes or f"no sample has {refused}, which others are compared with" in notes[0]
    assert set(result["group_status"].values) == ({0, 1} if notes else {0})


@pytest.mark.filterwarnings("ignore::xdelnx.XdelnxWarning")
def test_values_given_by_sample_go_to_their_group(data):
    names = xd.fit(data, "~ age", by="kind", size_factors="depth", offset="offset")
    values = xd.fit(data, "~ age", by="kind", size_factors=data["depth"][::-1], offset=data["offset"].values)
    np.testing.assert_array_equal(names["beta"], values["beta"])


@pytest.mark.filterwarnings("ignore::xdelnx.XdelnxWarning")
def test_lazily_stored_and_in_tables(data, tmp_path):
    result = xd.fit(data, "~ age + condition", by="kind")
    lazy = xd.fit(
        data.assign(counts=data["counts"].chunk(gene=60)), "~ age + condition", by="kind", compute=False
    )
    assert lazy["beta"].chunks
    write_store(lazy, tmp_path / "fit.zarr")
    with xr.open_zarr(tmp_path / "fit.zarr") as stored:
        for name in result.data_vars:
            if result[name].dtype == object:
                assert list(stored[name].values) == list(result[name].values)
            else:
                np.testing.assert_allclose(stored[name], result[name], rtol=1e-9, err_msg=name)
        table = xd.top_table(stored.sel(kind="T"), "condition[T.c]")
    assert table["pval"].notna().any()
    assert list(table["feature"]) == list(xd.top_table(result.sel(kind="T"), "condition[T.c]")["feature"])
    across = xd.adjust(result, across="kind")
    assert (across["padj"].isnull() == result["pval"].isnull()).all()


@pytest.mark.filterwarnings("always::xdelnx.XdelnxWarning")
def test_command_line(data, tmp_path, capsys):
    write_store(data, tmp_path / "counts.zarr")
    words = ["--design", "~ age", "--by", "kind", "--table", str(tmp_path / "genes.csv")]
    assert main(["fit", str(tmp_path / "counts.zarr"), str(tmp_path / "fit.zarr"), *words]) == 0
    err = capsys.readouterr().err
    assert "warning: 1 of 4 groups of 'kind' were not fitted and are NaN: single (there is one sample" in err
    lines = (tmp_path / "genes.csv").read_text().splitlines()
    assert lines[0] == "feature,log2fc,coef,stat,pval,padj,contrast,kind"
    assert len(lines) == 1 + 3 * 200
    fit = str(tmp_path / "fit.zarr")
    assert main(["test", str(tmp_path / "counts.zarr"), fit, str(tmp_path / "test.zarr")]) == 1

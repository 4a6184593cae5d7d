"""The table of a contrast: its order, its columns, and how a contrast is chosen."""

import numpy as np
import pytest
import xarray as xr

import xdelnx as xd
from xdelnx.verbs.tables import one_contrast


def result(contrasts=("treatment[T.B]",), n_genes=6):
    """Tests as `fit` returns them: a tie at p = 0, a tie in everything, and a gene without a count."""
    pval = np.array([0.2, 0.0, 0.0, 0.01, 0.2, np.nan])[:n_genes]
    stat = np.array([1.5, 900.0, 4000.0, 12.0, 1.5, np.nan])[:n_genes]
    per_gene = {
        "log2fc": np.sqrt(stat) / np.log(2),
        "coef": np.sqrt(stat),
        "stat": stat,
        "pval": pval,
        "padj": pval,
    }
    k = len(contrasts)
    return xr.Dataset(
        {name: (("contrast", "gene"), np.tile(values, (k, 1))) for name, values in per_gene.items()},
        {
            "gene": np.array(["b", "small", "large", "mid", "a", "none"], dtype=object)[:n_genes],
            "contrast": np.array(list(contrasts), dtype=object),
        },
    )


def test_columns_and_order():
    table = xd.top_table(result())
    assert list(table.columns) == ["feature", "log2fc", "coef", "stat", "pval", "padj"]
    # p-value first, then the size of the statistic, then the name; the gene without a test last
    assert table["feature"].tolist() == ["large", "small", "mid", "a", "b", "none"]
    assert table.index.tolist() == list(range(6))
    assert table.iloc[-1, 1:].isna().all()


def test_values_travel_with_their_gene():
    data = result()
    table = xd.top_table(data).set_index("feature")
    for gene in data["gene"].values:
        for name in table.columns:
            np.testing.assert_equal(table.loc[gene, name], data[name].sel(gene=gene).values[0])


@pytest.mark.parametrize(("n", "rows"), [(None, 6), (0, 0), (2, 2), (100, 6)])
def test_number_of_rows(n, rows):
    assert len(xd.top_table(result(), n=n)) == rows


def test_negative_number_of_rows():
    with pytest.raises(ValueError, match="received -1"):
        xd.top_table(result(), n=-1)


@pytest.mark.parametrize("n", [2.5, "3", True])
def test_number_of_rows_of_another_type(n):
    with pytest.raises(TypeError, match="n is a number of rows, 0 or more; received"):
        xd.top_table(result(), n=n)


def test_order_does_not_depend_on_the_order_of_genes():
    data = result()
    shuffled = data.isel(gene=np.random.default_rng(0).permutation(data.sizes["gene"]))
    assert xd.top_table(shuffled).equals(xd.top_table(data))


def test_lazy_result_and_selected_contrast():
    data = result(("a", "b"))
    expected = xd.top_table(data, "b")
    assert xd.top_table(data.chunk(gene=2), "b").equals(expected)
    assert xd.top_table(data.sel(contrast="b")).equals(expected)
    assert xd.top_table(data.sel(contrast="b"), "b").equals(expected)
    assert xd.top_table(data.sel(contrast="b").drop_vars("contrast"), "b").equals(expected)


def test_round_trip_through_zarr_keeps_the_table(tmp_path):
    data = result()
    data.to_zarr(tmp_path / "r.zarr", consolidated=False)
    with xr.open_zarr(tmp_path / "r.zarr", consolidated=False) as back:
        assert isinstance(back["gene"].values[0], str)  # of numpy.dtypes.StringDType, where xarray is new
        assert xd.top_table(back).equals(xd.top_table(data))


@pytest.mark.parametrize(
    ("data", "contrast", "message"),
    [
        (result(("a", "b")), None, "choose one with contrast=, out of a, b"),
        (result(("dose", "age")), "dos", "did you mean 'dose'"),
        (result(("dose", "age")), "zzz", "contrasts: dose, age"),
        (result(("dose", "age")).sel(contrast="age"), "dose", "holds 'age' alone; received contrast='dose'"),
        (xr.Dataset({"beta": ("gene", [1.0])}), None, "no tests: expected a variable 'pval', found beta"),
        (xr.Dataset(), None, "found none"),
    ],
)
def test_errors_say_what_is_there(data, contrast, message):
    with pytest.raises(ValueError, match=message):
        one_contrast(data, contrast)


def test_long_listings_are_cut():
    with pytest.raises(ValueError, match=r"\.\.\. \(45 in all\)"):
        one_contrast(result([f"c{k}" for k in range(45)]))

"""The pictures: what is in them, what is left out, and that no two names overlap."""

import warnings
from io import BytesIO

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex
from scipy import stats

from xdelnx import plot
from xdelnx.plot.placement import place_labels

mpl.use("Agg")

PER_GENE = ("dispersion", "dispersion_trend", "ql_dispersion", "ql_prior", "ql_dispersion_shrunken", "mean")
FIT_PLOTS = [plot.dispersion_histogram, plot.mean_dispersion, plot.ql_dispersion]
TEST_PLOTS = [plot.volcano, plot.ma, plot.pvalue_histogram]
COLOURS = ["#9A9A9A", "#0072B2", "#D55E00"]  # not significant, down, up


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def fit(n_genes=3_000, seed=0):
    """A fit's shape: 10 % of the genes changed, 5 % without a count, one without a count in a group."""
    rng = np.random.default_rng(seed)
    mean = rng.lognormal(4, 2, n_genes)
    trend = 0.05 + 2 / mean
    z = rng.normal(0, 3, n_genes) * (rng.random(n_genes) < 0.1) * 3 + rng.normal(size=n_genes)
    log2fc = z * 0.2 * rng.lognormal(0, 0.3, n_genes)
    pval = 2 * stats.norm.sf(np.abs(z))
    log2fc[0], pval[0] = -10.0, 1e-9
    padj = stats.false_discovery_control(pval)
    ql = rng.chisquare(26, n_genes) / 26
    vectors = dict(
        zip(
            PER_GENE,
            (trend * rng.lognormal(0, 0.5, n_genes), trend, ql, np.ones(n_genes), (ql + 1) / 2, mean),
            strict=True,
        )
    )
    vectors["dispersion"][5:10] = 0.0
    tests = {"log2fc": log2fc, "coef": log2fc * np.log(2), "stat": z**2, "pval": pval, "padj": padj}
    zero = np.arange(n_genes) % 20 == 19
    for name, values in (vectors | tests).items():
        values[zero] = 0.0 if name == "mean" else np.nan
    data = xr.Dataset({name: ("gene", values) for name, values in vectors.items()})
    data = data.assign({name: (("contrast", "gene"), values[None]) for name, values in tests.items()})
    data["prior_df"] = 11.0
    return data.assign_coords(
        gene=np.array([f"gene{k}" for k in range(n_genes)], dtype=object),
        contrast=np.array(["knockout"], dtype=object),
    )


def cloud(ax, colour=None):
    """Points drawn, (n, 2), of one colour or of all."""
    chosen = [c for c in ax.collections if colour is None or to_hex(c.get_facecolor()[0]).upper() == colour]
    return np.vstack([np.ma.filled(c.get_offsets(), np.nan) for c in chosen])


def names(ax):
    return [text for text in ax.texts if text.get_text().startswith("gene")]


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


@pytest.mark.parametrize("draw", FIT_PLOTS + TEST_PLOTS)
def test_axes_in_and_out(draw):
    data = fit()
    figure, axes = plt.subplots(1, 2)
    assert draw(data, ax=axes[1]) is axes[1]
    assert not axes[0].has_data()
    assert axes[1].has_data()
    assert axes[1].get_xlabel()
    assert axes[1].get_ylabel()
    assert draw(data).figure is not figure
    for form in ("png", "pdf", "svg"):
        figure.savefig(BytesIO(), format=form)


@pytest.mark.parametrize("draw", FIT_PLOTS + TEST_PLOTS)
def test_lazy_results_draw_the_same(draw):
    data = fit()
    images = []
    for source in (data, data.chunk(gene=700)):
        figure, ax = plt.subplots()
        draw(source, ax=ax)
        figure.savefig(image := BytesIO(), format="raw")
        images.append(image.getvalue())
    assert images[0] == images[1]


@pytest.mark.parametrize("draw", FIT_PLOTS + TEST_PLOTS)
def test_a_result_without_a_single_estimate_says_so(draw):
    data = fit()
    empty = data.map(lambda values: values * np.nan if "gene" in values.dims else values)
    assert "no gene to show" in [text.get_text() for text in draw(empty).texts]


@pytest.mark.parametrize("draw", FIT_PLOTS + TEST_PLOTS)
def test_ax_that_is_none(draw):
    with pytest.raises(TypeError, match="pass one"):
        draw(fit(), ax=plt.subplots(1, 2)[1])


@pytest.mark.parametrize("draw", FIT_PLOTS)
def test_a_result_without_dispersions_says_what_is_missing(draw):
    with pytest.raises(ValueError, match=r"dispersion.* which the result does not have; it has log2fc"):
        draw(fit().drop_vars(["dispersion", "ql_dispersion", "mean"])[["log2fc"]])


def test_a_grouped_result_asks_for_a_choice():
    grouped = xr.concat([fit(), fit(seed=1)], dim="cell_type")
    with pytest.raises(ValueError, match=r"'cell_type'.*select with"):
        plot.dispersion_histogram(grouped)


def test_dispersion_histogram_counts_every_gene():
    data = fit()
    ax = plot.dispersion_histogram(data)
    shown = sum(bar.get_height() for bar in ax.patches)
    assert shown == (data["dispersion"] > 0).sum()
    assert legend(ax)[-1] == f"{int((data['dispersion'] == 0).sum())} genes near 0, not shown"
    median = float(data["dispersion"].where(data["dispersion"] > 0).median())
    assert f"median {median:.3g}" in legend(ax)


def test_mean_dispersion_shows_every_gene_and_the_trend():
    data = fit()
    ax = plot.mean_dispersion(data)
    assert len(cloud(ax)) == data["dispersion"].notnull().sum()
    x, y = ax.lines[0].get_data()
    assert (np.diff(x) >= 0).all()
    np.testing.assert_array_equal(y, 0.05 + 2 / x)  # the trend the fit was made with
    assert ax.get_ylim()[0] == 1e-4


def test_mean_dispersion_without_a_trend():
    assert not plot.mean_dispersion(fit().drop_vars("dispersion_trend")).lines


@pytest.mark.parametrize(("prior_df", "text"), [(11.0, "prior df 11"), (np.inf, "prior df inf")])
def test_ql_dispersion_names_the_prior(prior_df, text):
    data = fit()
    data["prior_df"] = prior_df
    assert text in " ".join(legend(plot.ql_dispersion(data)))


@pytest.mark.parametrize("draw", [plot.volcano, plot.ma])
def test_colours_count_the_significant_genes(draw):
    data = fit().sel(contrast="knockout")
    ax = draw(data, fdr=0.01)
    hit = data["padj"] <= 0.01
    down, up = (int((hit & side).sum()) for side in (data["log2fc"] < 0, data["log2fc"] > 0))
    expected = [int(data["pval"].notnull().sum()) - down - up, down, up]
    assert [len(cloud(ax, colour)) for colour in COLOURS] == expected
    assert {f"{down} down", f"{up} up"} <= {text.get_text() for text in ax.texts}
    assert ax.get_title() == "knockout"


def test_points_stay_inside_the_axes():
    data = fit()
    data["pval"][0, :3] = 0.0  # underflow
    for draw in (plot.volcano, plot.ma):
        ax = draw(data)
        points, (left, right), (bottom, top) = cloud(ax), ax.get_xlim(), ax.get_ylim()
        assert np.isfinite(points).all()
        assert ((points > [left, bottom]) & (points < [right, top]))[:, [0, 1]].all()


def test_a_clipped_fold_change_does_not_stretch_the_axis():
    data = fit()
    largest = float(np.abs(data["log2fc"].where(np.abs(data["log2fc"]) < 10)).max())
    assert plot.volcano(data).get_xlim()[1] < 1.1 * largest


def test_the_most_significant_genes_are_named():
    data = fit()
    best = data["gene"].values[np.argsort(data["pval"].values[0])[:7]]
    assert {text.get_text() for text in names(plot.volcano(data, n_labels=7))} == set(best)


@pytest.mark.parametrize("draw", [plot.volcano, plot.ma])
def test_names_survive_a_round_trip_through_zarr(draw, tmp_path):
    data = fit(300)
    data.to_zarr(tmp_path / "r.zarr", consolidated=False)
    with xr.open_zarr(tmp_path / "r.zarr", consolidated=False) as back:
        drawn, expected = ([text.get_text() for text in draw(d, genes=["gene7"]).texts] for d in (back, data))
    assert drawn == expected
    assert "gene7" in drawn


def test_names_asked_for_join_the_best_and_insignificant_ones_are_not_named_alone():
    data = fit()
    data["padj"][:] = 1.0
    assert not names(plot.volcano(data))
    assert [text.get_text() for text in names(plot.volcano(data, genes=["gene7"]))] == ["gene7"]
    with pytest.raises(ValueError, match="no gene 'GLI3' among the 3,000"):
        plot.volcano(data, genes=["GLI3"])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("draw", [plot.volcano, plot.ma])
def test_names_overlap_neither_each_other_nor_the_edge(draw, seed):
    ax = draw(fit(seed=seed), n_labels=25)
    ax.figure.canvas.draw()
    boxes = [mpl.text.Text.get_window_extent(text) for text in names(ax)]  # without the leader line
    assert len(boxes) >= 20  # there is room for nearly all of them
    for k, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:k])
        assert ax.bbox.x0 <= box.x0
        assert box.x1 <= ax.bbox.x1
        assert ax.bbox.y0 <= box.y0
        assert box.y1 <= ax.bbox.y1


def test_ma_takes_the_mean_from_the_fit():
    data = fit()
    tests = data.drop_vars("mean")
    with pytest.raises(ValueError, match=r"pass mean=fit\['mean'\]"):
        plot.ma(tests)
    np.testing.assert_array_equal(cloud(plot.ma(tests, mean=data["mean"])), cloud(plot.ma(data)))


def test_a_joint_test_has_no_direction():
    data = fit()
    data["log2fc"][:] = np.nan
    with pytest.raises(ValueError, match=r"'knockout' is a joint test.*pvalue_histogram"):
        plot.volcano(data)
    assert plot.pvalue_histogram(data).has_data()


def test_one_of_several_contrasts():
    several = xr.concat(
        [fit(), fit(seed=1).assign_coords(contrast=["other"])],
        "contrast",
        data_vars="minimal",
        coords="minimal",
        compat="override",
    )
    with pytest.raises(ValueError, match="choose one with contrast="):
        plot.volcano(several)
    assert plot.volcano(several, "other").get_title() == "other"


def test_pvalue_histogram_shows_the_flat_part():
    data = fit()
    data["pval"][0] = np.linspace(0, 1, data.sizes["gene"])
    ax = plot.pvalue_histogram(data, bins=20)
    assert sum(bar.get_height() for bar in ax.patches) == data.sizes["gene"]
    np.testing.assert_allclose(ax.lines[0].get_ydata(), data.sizes["gene"] / 20, rtol=1e-3)  # flat all over


def test_large_clouds_are_rasterised():
    assert not any(c.get_rasterized() for c in plot.mean_dispersion(fit(3_000)).collections)
    assert plot.mean_dispersion(fit(25_000)).collections[0].get_rasterized()


def test_nothing_warns_on_a_tiny_fit():
    tiny = fit(3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for draw in FIT_PLOTS + TEST_PLOTS:
            draw(tiny).figure.canvas.draw()


def test_labels_without_room_are_left_out():
    anchors = np.full((30, 2), 50.0)
    places = place_labels(anchors, np.full((30, 2), 25.0), np.array([0.0, 0.0, 100.0, 100.0]), anchors)
    placed = places[np.isfinite(places).all(1)]
    assert (
        1 <= len(placed) <= 9
    )  # a field of 100 x 100 holds at most 16 such labels, and the points are in it
    gaps = np.abs(placed[:, None] - placed[None]).max(-1) + 100 * np.eye(len(placed))
    assert gaps.min() >= 25

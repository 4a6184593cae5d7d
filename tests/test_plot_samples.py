"""Pictures of samples and genes: what is where, against computations of another kind."""

import itertools

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib import pyplot as plt
from scipy import stats
from scipy.spatial.distance import pdist, squareform

import xdelnx as xd
from xdelnx import plot
from xdelnx.algorithms.ordination import classical_scaling, leading_distances, principal_components
from xdelnx.plot.columns import MARKERS, PALETTE, colour_by

mpl.use("Agg")


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def model(bulk):
    return xd.fit(bulk, "~ batch + age + condition")


def cloud(ax):
    return np.vstack([np.ma.filled(c.get_offsets(), np.nan) for c in ax.collections])


def texts(ax):
    return [text.get_text() for text in ax.texts]


# ---------------------------------------------------------------- the algorithms


def test_principal_components_are_the_eigenvectors_of_the_covariance():
    values = np.random.default_rng(0).normal(size=(9, 30))
    scores, shares = principal_components(values, 3)
    eigenvalues = np.linalg.eigvalsh(np.cov(values.T))[::-1]
    np.testing.assert_allclose(scores.var(axis=0, ddof=1), eigenvalues[:3], rtol=1e-10)
    np.testing.assert_allclose(shares, eigenvalues[:3] / eigenvalues.sum(), rtol=1e-10)
    np.testing.assert_allclose(np.cov(scores.T) - np.diag(eigenvalues[:3]), 0.0, atol=1e-10)


def test_leading_distances_by_brute_force():
    values = np.random.default_rng(1).normal(size=(6, 40))
    found = leading_distances(values, 7)
    for i, j in itertools.permutations(range(6), 2):
        top = sorted((values[i] - values[j]) ** 2)[-7:]
        assert found[i, j] == pytest.approx(np.sqrt(np.mean(top)), rel=1e-12)
    every = squareform(pdist(values)) / np.sqrt(40)
    np.testing.assert_allclose(leading_distances(values, 100), every, rtol=1e-12)


def test_scaling_gives_points_of_a_plane_back():
    plane = np.random.default_rng(2).normal(size=(8, 2))
    found, shares = classical_scaling(squareform(pdist(plane)), 2)
    np.testing.assert_allclose(pdist(found), pdist(plane), rtol=1e-9)
    assert shares.sum() == pytest.approx(1.0)


def test_too_few_dimensions_are_zero():
    assert principal_components(np.array([[1.0, 2.0], [3.0, 4.0]]), 4)[0].shape == (2, 4)
    assert not classical_scaling(np.zeros((3, 3)), 2)[0].any()


# ---------------------------------------------------------------- samples


def test_pca_shows_the_scores_of_the_most_variable_genes(bulk):
    ax = plot.pca(bulk, n_genes=100, names=False)
    values = xd.normalize(bulk).values
    chosen = np.argsort(-values.var(axis=0))[:100]
    scores, shares = principal_components(values[:, chosen], 2)
    np.testing.assert_allclose(np.abs(cloud(ax)), np.abs(scores), rtol=1e-9)
    assert f"{shares[0]:.1%}" in ax.get_xlabel()


def test_pca_tells_conditions_apart(bulk):
    points = cloud(plot.pca(bulk, names=False, n_genes=400))
    b = (bulk["condition"] == "B").values
    assert stats.ttest_ind(points[b], points[~b]).pvalue.min() < 0.01


@pytest.mark.parametrize("draw", [plot.pca, plot.mds])
def test_lazy_counts_draw_the_same(draw, bulk):
    np.testing.assert_allclose(cloud(draw(bulk.chunk(gene=90))), cloud(draw(bulk)), rtol=1e-9)


@pytest.mark.parametrize("draw", [plot.pca, plot.mds])
def test_colours_shapes_and_names(draw, bulk):
    _, axes = plt.subplots(1, 2, figsize=(12, 5))
    ax = draw(bulk, "condition", shape="batch", ax=axes[1])
    assert ax is axes[1]
    assert not axes[0].has_data()
    titles = [box.get_title().get_text() for box in ax.findobj(mpl.legend.Legend)]
    assert sorted(titles) == ["batch", "condition"]
    assert set(texts(ax)) <= set(bulk["sample"].values)
    assert len(texts(ax)) >= 12  # 16 samples, and there is room for most names
    assert not texts(draw(bulk, "condition", names=False))


def test_numbers_have_a_colour_bar(bulk):
    figure = plot.pca(bulk, "age").figure
    assert [axes.get_ylabel() for axes in figure.axes] == [figure.axes[0].get_ylabel(), "age"]


def test_more_levels_than_colours_get_markers():
    column = pd.Series([f"level {k:02d}" for k in range(20)])
    colours = colour_by(column, 20)
    assert len({*zip(colours.values, colours.markers, strict=True)}) == 20
    assert colours.markers[:8] == ["o"] * 8
    assert colours.markers[8:16] == [MARKERS[1]] * 8
    with pytest.raises(ValueError, match="has 20 levels, and 8 can be told apart by colour alone"):
        colour_by(column, 20, alone=False)


def test_missing_levels_and_numbers_are_grey():
    grey = colour_by(pd.Series(["a", None, "b"]), 3)
    assert grey.levels == ["a", "b", "missing"]
    assert grey.values[1] not in PALETTE
    assert colour_by(pd.Series([1.0, np.nan]), 2).values[1, :3] == pytest.approx(0.73)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"color": "condtion"},
            "color='condtion' names no column of the samples; did you mean 'condition'",
        ),
        ({"shape": "age"}, "has 16 levels, and there are 8 markers"),
        ({"n_genes": 0}, "n_genes is a whole number, 1 or more"),
        ({"components": (1, 40)}, "16 samples have 15 components"),
        ({"components": 2}, "components are two numbers"),
        ({"method": "tpm"}, "unknown method 'tpm'"),
    ],
)
def test_what_pca_refuses(bulk, arguments, message):
    with pytest.raises(ValueError, match=message):
        plot.pca(bulk, **arguments)


def test_mds_refuses_thousands_of_cells():
    with pytest.raises(ValueError, match="600 samples"):
        plot.mds(xr.Dataset({"counts": (("sample", "gene"), np.ones((600, 2), int))}))


# ---------------------------------------------------------------- one gene


def test_gene_counts_show_each_count_and_the_fit_of_each_level(bulk):
    model = xd.fit(bulk, "~ condition")
    ax = plot.gene_counts(bulk, model, "g7")
    y = (bulk["counts"] / model["size_factor"]).sel(gene="g7").values
    np.testing.assert_allclose(np.sort(cloud(ax)[: len(y), 1]), np.sort(y), rtol=1e-12)
    new = pd.DataFrame({"condition": ["A", "B"]})
    expected = xd.predict(bulk, model, new, genes="g7", scale="link")
    low, mean, high = _errorbar(ax)
    np.testing.assert_allclose(mean, np.exp(expected["prediction"].values[:, 0]), rtol=1e-9)
    half = stats.t.ppf(0.975, float(model["df2"])) * expected["prediction_se"].values[:, 0]
    np.testing.assert_allclose(np.log(high / mean), half, rtol=1e-6)
    np.testing.assert_allclose(np.log(mean / low), half, rtol=1e-6)


def _errorbar(ax):
    container = ax.containers[0]
    low, high = np.array([segment[:, 1] for segment in container.lines[2][0].get_segments()]).T
    return low, container.lines[0].get_ydata(), high


def test_gene_counts_along_a_covariate_show_a_curve(bulk, model):
    ax = plot.gene_counts(bulk, model, "g7", "age", color="condition")
    (line,) = ax.lines
    grid, mean = line.get_data()
    assert grid[[0, -1]] == pytest.approx([float(bulk["age"].min()), float(bulk["age"].max())])
    usual = {name: bulk[name].to_series().mode()[0] for name in ("batch", "condition")}
    expected = xd.predict(bulk, model, pd.DataFrame({"age": grid, **usual}), genes="g7")
    np.testing.assert_allclose(mean, expected["prediction"].values[:, 0], rtol=1e-9)
    slope = model["beta"].sel(gene="g7", coefficient="age")
    np.testing.assert_allclose(np.diff(np.log(mean)) / np.diff(grid), slope, rtol=1e-6)


def test_a_covariate_of_whole_numbers_has_a_smooth_curve(bulk):
    whole = bulk.assign(day=("sample", np.arange(16) % 4))
    line = plot.gene_counts(whole, xd.fit(whole, "~ day"), "g7").lines[0]
    assert np.unique(np.diff(np.log(line.get_ydata())).round(9)).size == 1
    factor = plot.gene_counts(whole, xd.fit(whole, "~ C(day)"), "g7")
    assert [tick.get_text() for tick in factor.get_xticklabels()] == ["0", "1", "2", "3"]


def test_gene_counts_of_a_design_without_a_formula(bulk):
    matrix = pd.DataFrame({"one": 1.0, "age": bulk["age"].values}, index=bulk["sample"].values)
    model = xd.fit(bulk, matrix, contrasts="age")
    ax = plot.gene_counts(bulk, model, "g7", "age")
    assert len(_errorbar(ax)[1]) == 16
    with pytest.raises(ValueError, match="design names no column"):
        plot.gene_counts(bulk, model, "g7")


@pytest.mark.parametrize("options", [{"cluster": "batch"}, {"shrinkage": False}, {"contrasts": None}])
def test_gene_counts_of_other_fits(options):
    data = xd.simulate(16, 120, n_batches=8, seed=2)
    assert plot.gene_counts(data, xd.fit(data, "~ condition", **options), "g7").containers


def test_genes_without_counts_have_no_fit(bulk):
    empty = bulk.copy()
    empty["counts"] = bulk["counts"].copy()
    empty["counts"][:, 0] = 0
    empty["counts"][(bulk["condition"] == "A").values, 1] = 0
    model = xd.fit(empty, "~ condition")
    assert not plot.gene_counts(empty, model, str(bulk["gene"][0].values)).containers
    ax = plot.gene_counts(empty, model, str(bulk["gene"][1].values))
    assert np.isfinite(ax.get_ylim()).all()


# ---------------------------------------------------------------- heat map


def shown(ax):
    return np.ma.filled(ax.images[0].get_array())


def labels(ticks):
    return [tick.get_text() for tick in ticks]


def test_heatmap_shows_scaled_values_of_the_best_genes(bulk, model):
    ax = plot.heatmap(bulk, model, n_genes=20, color=["condition", "age"])
    genes, samples = labels(ax.get_yticklabels()), labels(ax.get_xticklabels())
    assert set(genes) == set(xd.top_table(model, n=20)["feature"])
    values = xd.normalize(bulk).sel(gene=genes, sample=samples).values.T
    np.testing.assert_allclose(shown(ax), stats.zscore(values, axis=1, ddof=1), rtol=1e-9, atol=1e-12)


def test_clustering_puts_like_beside_like(bulk, model):
    clustered, plain = (shown(plot.heatmap(bulk, model, n_genes=40, cluster=on)) for on in (True, False))
    steps = [np.linalg.norm(np.diff(values, axis=0), axis=1).mean() for values in (clustered, plain)]
    assert steps[0] < 0.9 * steps[1]


def test_without_clustering_genes_are_by_p_value_and_samples_by_column(bulk, model):
    ax = plot.heatmap(bulk, model, n_genes=10, color="condition", cluster=False)
    assert labels(ax.get_yticklabels()) == xd.top_table(model, n=10)["feature"].tolist()
    order = bulk["condition"].sel(sample=labels(ax.get_xticklabels())).values
    assert (order == np.sort(order)).all()


def test_heatmap_of_genes_asked_for_and_of_the_most_variable(bulk):
    assert set(labels(plot.heatmap(bulk, genes=["g1", "g2", "g3"]).get_yticklabels())) == {"g1", "g2", "g3"}
    most = xd.normalize(bulk).var("sample").to_series().nlargest(5).index
    assert set(labels(plot.heatmap(bulk, n_genes=5).get_yticklabels())) == set(most)


def test_heatmap_draws_into_axes_given(bulk):
    _, axes = plt.subplots(1, 2, layout="constrained")
    assert plot.heatmap(bulk, genes=["g1"], ax=axes[1]) is axes[1]


def test_heatmap_without_a_gene_to_choose(bulk, model):
    untested = model.assign(pval=model["pval"] * np.nan)
    with pytest.raises(ValueError, match="no gene of the result has a p-value"):
        plot.heatmap(bulk, untested)


# ---------------------------------------------------------------- names from the data


def test_names_are_text_and_not_mathematics(bulk):
    odd = bulk.isel(gene=slice(0, 60)).assign_coords(
        gene=[r"$\frac$", "_hidden", *(f"g{k}" for k in range(58))]
    )
    odd["condition"] = odd["condition"].str.replace("A", "$a^$").str.replace("B", "_b")
    model = xd.fit(odd, "~ condition")
    for ax in (
        plot.gene_counts(odd, model, r"$\frac$", color="condition"),
        plot.heatmap(odd, genes=[r"$\frac$", "_hidden"], color="condition"),
        plot.pca(odd, "condition"),
        plot.volcano(model, genes=[r"$\frac$"]),
    ):
        ax.figure.canvas.draw()

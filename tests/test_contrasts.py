"""Contrasts: every way to write one gives the same weights, and a bad one says what is allowed."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from xdelnx.designs.contrasts import resolve_contrasts
from xdelnx.designs.design import build_design, design_from_result, design_to_attrs
from xdelnx.errors import XdelnxWarning

N = 24
FORMULA = "~ batch + treatment"
NAMES = ("Intercept", "batch[T.2]", "treatment[T.B]", "treatment[T.C]")


@pytest.fixture
def samples():
    rng = np.random.default_rng(7)
    return pd.DataFrame(
        {
            "treatment": list("ABC") * 8,
            "batch": (["1"] * 3 + ["2"] * 3) * 4,
            "age": rng.uniform(20, 60, N),
            "flag": [True, True, False, False] * 6,
            "cell type": ["T cell", "B cell"] * 12,
            "day": [0, 0, 0, 2, 2, 2, 10, 10] * 3,
        },
        index=[f"s{i}" for i in range(N)],
    )


def weights_of(samples, formula, contrast=None, *, reference=None, **kwargs):
    design = build_design(samples, formula, reference=reference)
    return resolve_contrasts(design, contrast, samples=samples, **kwargs)


def one(samples, formula, contrast=None, **kwargs):
    (found,) = weights_of(samples, formula, contrast, **kwargs)
    return found


# ---- what each way of writing gives


@pytest.mark.parametrize("contrast", [None, "last"])
def test_the_last_term(samples, contrast):
    found = weights_of(samples, FORMULA, contrast)
    assert [entry.name for entry in found] == ["treatment[T.B]", "treatment[T.C]", "treatment"]
    assert [entry.weights.tolist() for entry in found] == [
        [[0, 0, 1, 0]],
        [[0, 0, 0, 1]],
        [[0, 0, 1, 0], [0, 0, 0, 1]],
    ]


def test_the_last_term_of_one_coefficient(samples):
    assert [entry.name for entry in weights_of(samples, "~ treatment + batch")] == ["batch[T.2]"]
    matrix = np.column_stack([np.ones(N), np.arange(N)])
    assert [entry.name for entry in weights_of(samples, matrix)] == ["x1"]


def test_the_last_term_of_an_interaction(samples):
    found = weights_of(samples, "~ treatment * batch")
    assert found[-1].name == "treatment:batch"
    assert found[-1].weights.shape == (2, 6)


def test_intercept_alone(samples):
    assert weights_of(samples, "~ 1", "last") == ()
    assert one(samples, "~ 1", "Intercept").weights.tolist() == [[1.0]]
    with pytest.raises(ValueError, match="intercept alone"):
        weights_of(samples, "~ 1", None)


@pytest.mark.parametrize("formula", ["~ 0 + treatment", "~ 0 + batch:treatment"])
def test_group_means_are_pointed_out(samples, formula):
    with pytest.warns(XdelnxWarning, match="holds the intercept"):
        weights_of(samples, formula)


@pytest.mark.parametrize("shift", [2e3, 1e7, 1e9])
def test_a_covariate_far_from_zero_holds_no_intercept(samples, shift):
    """The year of birth, a time in seconds: nearly the same number in every sample. Warnings are errors here."""
    dated = samples.assign(time=shift + np.arange(len(samples)))
    assert [entry.name for entry in weights_of(dated, "~ treatment + time")] == ["time"]
    assert [entry.name for entry in weights_of(dated, "~ 0 + time")] == ["time"]


def test_an_intercept_in_the_last_place_is_pointed_out(samples):
    matrix = pd.DataFrame({"slope": np.arange(float(len(samples))), "mean": 1.0}, index=samples.index)
    with pytest.warns(XdelnxWarning, match=r"'mean', holds the intercept: .* Name the coefficient to test$"):
        weights_of(samples, matrix)


SAME = [
    "treatment[T.C] - treatment[T.B]",
    " - treatment[T.B]+treatment[T.C] ",
    "`treatment[T.C]` - `treatment[T.B]`",
    "(2 * treatment[T.C] - treatment[T.B] * 2) / 2",
    "0.5*treatment[T.C] - treatment[T.B] + 5e-1 * treatment[T.C]",
    "cond(treatment='C') - cond(treatment='B')",
    "cond(treatment='C', batch='2') - cond(treatment='B', batch=2)",
    {"treatment[T.C]": 1, "treatment[T.B]": -1},
    [0, 0, -1, 1],
    (0, 0, -1.0, 1),
    np.array([0, 0, -1, 1]),
    [[0, 0, -1, 1]],
    pd.Series({"treatment[T.B]": -1, "treatment[T.C]": 1}),
    pd.DataFrame({"treatment[T.C]": [1.0], "treatment[T.B]": [-1.0]}),
    xr.DataArray([1.0, -1, 0, 0], coords={"coefficient": ["treatment[T.C]", "treatment[T.B]", *NAMES[:2]]}),
    xr.DataArray([0.0, 0, -1, 1], dims="coefficient"),
]


@pytest.mark.parametrize("contrast", SAME, ids=lambda contrast: type(contrast).__name__)
def test_ways_to_write_one_contrast(samples, contrast):
    found = one(samples, FORMULA, contrast)
    # thirds and halves do not occur: exact but for the sums of cond(), which are rounding
    np.testing.assert_allclose(found.weights, [[0, 0, -1, 1]], rtol=0, atol=1e-12)
    if isinstance(contrast, str):
        assert found.name == contrast.strip()
    else:
        assert found.name == "-treatment[T.B] + treatment[T.C]"


def test_names_of_weights_can_be_read_back(samples):
    rng = np.random.default_rng(0)
    for _ in range(20):
        weights = rng.integers(-4, 5, size=4) / 4
        if weights.any():
            found = one(samples, FORMULA, weights)
            np.testing.assert_array_equal(one(samples, FORMULA, found.name).weights, found.weights)


def test_a_term_is_a_joint_test(samples):
    found = one(samples, FORMULA, "treatment")
    assert found.name == "treatment"
    assert found.weights.tolist() == [[0, 0, 1, 0], [0, 0, 0, 1]]
    assert one(samples, FORMULA, np.eye(4)[2:]).name == "treatment"


def test_several(samples):
    found = weights_of(
        samples, FORMULA, ["treatment[T.B]", "cond(treatment='C') - cond(treatment='B')", "~ batch"]
    )
    assert [entry.weights.shape for entry in found] == [(1, 4), (1, 4), (2, 4)]
    labels = {
        "B": "treatment[T.B]",
        "C vs B": {"treatment[T.C]": 1, "treatment[T.B]": -1},
        "any": np.eye(4)[2:],
    }
    assert [entry.name for entry in weights_of(samples, FORMULA, labels)] == list(labels)


@pytest.mark.parametrize(
    "name", ["age", "I(age ** 2)", "bs(day, df=3)[2]", "cell type[T.T cell]", "flag[T.True]:age"]
)
def test_awkward_names_in_expressions(samples, name):
    samples["day"] = np.arange(N)[::-1] % 7
    design = build_design(samples, "~ `cell type` + flag * age + I(age ** 2) + bs(day, df=3)")
    found = resolve_contrasts(design, f"2*{name} - flag[T.True]/4")[0]
    expected = np.zeros(len(design.names))
    expected[design.names.index(name)] = 2
    expected[design.names.index("flag[T.True]")] -= 0.25
    np.testing.assert_array_equal(found.weights[0], expected)


def test_names_that_look_like_numbers_need_backticks(samples):
    matrix = pd.DataFrame({"1": np.ones(N), "2": np.arange(N)}, index=samples.index)
    assert one(samples, matrix, "2").weights.tolist() == [[0, 1]]
    assert one(samples, matrix, "2 * `2` - `1`").weights.tolist() == [[-1, 2]]
    with pytest.raises(ValueError, match="linear combination"):
        one(samples, matrix, "2 - `1`")


# ---- cond()


@pytest.mark.parametrize(
    ("formula", "left", "right"),
    [
        (FORMULA, {"treatment": "C"}, {"treatment": "B"}),
        ("~ treatment * batch", {"treatment": "C", "batch": "2"}, {"treatment": "A", "batch": "1"}),
        ("~ treatment * age", {"treatment": "B", "age": 30.0}, {"treatment": "A", "age": 30.0}),
        ("~ treatment * age", {"treatment": "B"}, {"treatment": "A"}),
        ("~ C(treatment, contr.treatment(base='C')) * batch", {"batch": "2"}, {"batch": "1"}),
        ("~ C(treatment, contr.sum) + batch", {"treatment": "B"}, {"treatment": "C"}),
    ],
)
def test_cond_as_in_formulaic_contrasts(samples, formula, left, right):
    formulaic_contrasts = pytest.importorskip("formulaic_contrasts")
    theirs = formulaic_contrasts.FormulaicContrasts(samples, formula)
    expected = theirs.cond(**left) - theirs.cond(**right)
    text = " - ".join(f"cond({', '.join(f'{k}={v!r}' for k, v in side.items())})" for side in (left, right))
    # both evaluate the same functions on the same numbers
    np.testing.assert_allclose(one(samples, formula, text).weights[0], expected, rtol=1e-12, atol=1e-12)
    # and the Series they give is understood as it is
    np.testing.assert_allclose(one(samples, formula, expected).weights[0], expected, rtol=1e-12)


def test_cond_of_an_observed_sample_is_its_row(samples):
    formula = "~ bs(age, df=3) * batch + flag + C(day) + treatment : batch + `cell type`"
    for name in ("day", "cell type", "flag"):
        samples[name] = samples[name].to_numpy()[np.random.default_rng(len(name)).permutation(N)]
    design = build_design(samples, formula)
    for i in (0, 5, 17):
        values = {name: column.tolist()[i] for name, column in samples.items()}
        text = ", ".join(f"`{name}`={value!r}" for name, value in values.items())
        found = resolve_contrasts(design, f"cond({text})", samples=samples)[0]
        np.testing.assert_allclose(found.weights[0], design.matrix[i], rtol=1e-12, atol=1e-12)


def test_a_column_as_factor_and_as_number(samples):
    samples["day"] += 1
    formula = "~ C(day) + flag:age + flag:scale(day)"
    with pytest.raises(ValueError, match=r"flag\[True\]:scale\(day\) = "):
        build_design(samples, formula)
    formula = "~ C(day) + I(age * day)"
    assert build_design(samples, formula).names[1:3] == ("C(day)[T.3]", "C(day)[T.11]")
    difference = one(samples, formula, "cond(day=11) - cond(day=1)").weights[0]
    np.testing.assert_allclose(difference, [0, 0, 1, 10 * samples["age"].mean()], rtol=1e-12)
    np.testing.assert_array_equal(one(samples, formula, "cond(age=2)").weights[0], [1, 0, 0, 2])
    with pytest.raises(ValueError, match="no level 2; levels of 'day': 1, 3, 11"):
        one(samples, formula, "cond(day=2)")


def test_columns_inside_functions_default_to_their_mean(samples):
    found = one(samples, "~ log(age) * treatment", "cond(treatment='B') - cond(treatment='A')")
    expected = np.array([0, 0, 1, 0, np.log(samples["age"].mean()), 0])
    np.testing.assert_allclose(found.weights[0], expected, rtol=1e-12)


CODINGS = [
    ("~ batch + treatment", None),
    ("~ batch + treatment", {"treatment": "C", "batch": "2"}),
    ("~ 0 + treatment + batch", None),
    ("~ batch + C(treatment, contr.sum)", None),
    ("~ batch + C(treatment, contr.helmert)", None),
    ("~ C(batch, Treatment('2')) + C(treatment, contr.poly)", None),
]


@pytest.mark.parametrize(("formula", "reference"), CODINGS)
def test_a_difference_of_groups_does_not_depend_on_the_coding(samples, formula, reference):
    y = np.random.default_rng(3).normal(size=N)
    design = build_design(samples, formula, reference=reference)
    beta = np.linalg.lstsq(design.matrix, y, rcond=None)[0]
    found = resolve_contrasts(design, "cond(treatment='C') - cond(treatment='B')", samples=samples)[0]
    dummies = np.column_stack([samples["treatment"] == level for level in "ABC"] + [samples["batch"] == "2"])
    by_hand = np.linalg.lstsq(dummies.astype(float), y, rcond=None)[0]
    # least squares of two bases of one space: rounding times a condition below 10
    np.testing.assert_allclose(found.weights @ beta, by_hand[2] - by_hand[1], rtol=1e-10)


# ---- reduced models


def restricted_residual(matrix, weights, y):
    """Residual sum of squares under weights @ beta = 0, by Lagrange multipliers."""
    p, q = matrix.shape[1], len(weights)
    system = np.block([[matrix.T @ matrix, weights.T], [weights, np.zeros((q, q))]])
    beta = np.linalg.solve(system, np.concatenate([matrix.T @ y, np.zeros(q)]))[:p]
    return ((y - matrix @ beta) ** 2).sum()


@pytest.mark.parametrize(
    ("formula", "reduced", "q"),
    [
        (FORMULA, "~ batch", 2),
        (FORMULA, "~ 0 + batch", 2),
        (FORMULA, "~ 1", 3),
        ("~ treatment * batch", "~ treatment + batch", 2),
        ("~ 0 + treatment + batch", "~ batch", 2),
        ("~ C(treatment, contr.sum) * batch", "~ batch", 4),
        ("~ poly(age, 3) + batch", "~ poly(age, 2) + batch", 1),
        ("~ bs(age, df=4) + batch", "~ age + batch", 3),
        ("~ scale(age) + flag", "~ age", 1),
        ("~ 0 + treatment", "~ 1", 2),
    ],
)
def test_reduced_formula_is_the_restricted_fit(samples, formula, reduced, q):
    y = np.random.default_rng(5).normal(size=N)
    design = build_design(samples, formula)
    found = resolve_contrasts(design, reduced, samples=samples)[0]
    assert found.name == reduced
    assert found.weights.shape == (q, len(design.names))
    smaller = build_design(samples, reduced).matrix
    beta = np.linalg.lstsq(smaller, y, rcond=None)[0]
    expected = ((y - smaller @ beta) ** 2).sum()
    # normal equations of splines and powers: condition 1e8 at worst
    np.testing.assert_allclose(restricted_residual(design.matrix, found.weights, y), expected, rtol=1e-6)
    for same in (
        resolve_contrasts(design, None, samples=samples, reduced=reduced)[0],
        resolve_contrasts(design, None, samples=samples, reduced=smaller)[0],
    ):
        np.testing.assert_allclose(same.weights, found.weights, rtol=0, atol=1e-12)


@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e7])
@pytest.mark.parametrize("shift", [0.0, 1e6])
def test_units_of_a_covariate_do_not_change_the_reduced_model(samples, factor, shift):
    samples["age"] = (samples["age"] + shift) * factor
    found = one(samples, "~ age + treatment + batch", reduced="~ age + batch")
    assert found.weights.tolist() == [[0, 0, 1, 0, 0], [0, 0, 0, 1, 0]]
    assert one(samples, "~ age + treatment", reduced="~ treatment").weights.tolist() == [[0, 1, 0, 0]]


def test_reduced_keeps_the_reference(samples):
    found = one(samples, "~ flag + treatment", reduced="~ flag", reference={"treatment": "C", "flag": True})
    assert found.weights.tolist() == [[0, 0, 1, 0], [0, 0, 0, 1]]


def test_everything_can_be_left_out(samples):
    np.testing.assert_array_equal(one(samples, FORMULA, "~ 0").weights, np.eye(4))


# ---- bad contrasts: what the message has to say

ALLOWED = "coefficients: Intercept, batch[T.2], treatment[T.B], treatment[T.C]"
BAD = [
    ("treatment[T.D]", ("'treatment[T.D]' is not a coefficient", "did you mean 'treatment[T.", ALLOWED)),
    ("treatment[T.B] - treatment[T.D]", ("'treatment[T.D]' in the contrast", ALLOWED)),
    ("tretment", ("not a coefficient", ALLOWED, "or a term: Intercept, batch, treatment")),
    ("", ("not a coefficient", ALLOWED)),
    ("1", ("is a number", ALLOWED)),
    ("batch[T.2] batch[T.2]", ("cannot read", ALLOWED)),
    ("batch[T.2] = treatment[T.B]", ("cannot read", ALLOWED)),
    ("batch[T.2], treatment[T.B]", ("give a list",)),
    ("treatment[T.B] - 1", ("linear combination",)),
    ("treatment[T.B] * treatment[T.C]", ("linear combination",)),
    ("treatment[T.B] / 0", ("linear combination",)),
    ("treatment[T.B] ** 2", ("linear combination",)),
    ("1e999 * treatment[T.B]", ("not finite",)),
    ("9" * 400 + " * treatment[T.B]", ("too large",)),
    ("(" * 900 + "treatment[T.B]" + ")" * 900, ("cannot read",)),
    ("-" * 9_000 + "treatment[T.B]", ("nested",)),
    ("+".join(["treatment[T.B]"] * 5000), ("too long",)),
    ("treatment[T.B] - treatment[T.B]", ("is zero for every coefficient",)),
    ("__import__('os').getcwd()", ("not a coefficient",)),
    ("cond(treatment='D') - cond()", ("no level 'D'", "levels of 'treatment': A, B, C")),
    ("cond(treat='B')", ("'treat' is not a column of the formula", "did you mean 'treatment'")),
    ("cond(age=3)", ("'age' is not a column of the formula", "batch, treatment")),
    ("cond(treatment=B)", ("a level in quotes", "B")),
    ("cond('B')", ("takes column='level'",)),
    ("cond(**{'treatment': 'B'})", ("takes column='level'",)),
    ("cond(treatment='B') - cond(treatment='B')", ("is zero for every coefficient",)),
    ("~ batch + treatment", ("leaves nothing out",)),
    ("~ batch * treatment", ("not nested", "batch[T.2]:treatment[T.B]")),
    ("~ age", ("not nested", "age", "Intercept, batch[T.2]")),
    ("~ bath", ("did you mean 'batch'",)),
    ([], ("no contrast",)),
    ({}, ("no contrast",)),
    ([0, 0, 1], ("shape (3,)", "4 coefficients", "Intercept, batch[T.2]")),
    ([0, 0, 0, 0], ("is zero",)),
    ([0, 0, np.nan, 1], ("not finite",)),
    (np.eye(4)[:, 2:], ("transpose it",)),
    (np.ones((2, 2, 4)), ("shape (2, 2, 4)",)),
    ([[0, 0, 1, 0], [0, 0, 2, 0]], ("not independent",)),
    ([[0, 0, 1, 0], [0, 0, 0, 0]], ("is zero",)),
    ({"treatment[T.D]": 1}, ("'treatment[T.D]' is not a coefficient", ALLOWED)),
    (pd.Series({"x": 1.0}), ("'x' is not a coefficient", ALLOWED)),
    (pd.DataFrame({"x": [1.0]}), ("'x' is not a coefficient", ALLOWED)),
    (pd.DataFrame({"batch[T.2]": []}), ("no rows",)),
    ({"all": "last"}, ("stands for 3 contrasts",)),
    ({1: "batch[T.2]"}, ("labels of contrasts are text",)),
    ({"a": "treatment[T.D]"}, ("not a coefficient",)),
    (["batch[T.2]", "batch[T.2]"], ("more than once: batch[T.2]",)),
    (["batch[T.2]", "tretment"], ("not a coefficient",)),
]


@pytest.mark.parametrize(("contrast", "words"), BAD, ids=lambda value: str(value)[:30])
def test_bad_contrasts(samples, contrast, words):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        weights_of(samples, FORMULA, contrast)
    assert all(word in str(error.value) for word in words), str(error.value)
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize("contrast", [3, 1.5, True, {"batch[T.2]": True}, {"a", "b"}, object()])
def test_what_is_no_contrast_at_all(samples, contrast):
    with pytest.raises(TypeError, match="a contrast is text, weights"):
        weights_of(samples, FORMULA, contrast)


def test_reduced_and_contrast_exclude_each_other(samples):
    with pytest.raises(ValueError, match="give one of them"):
        weights_of(samples, FORMULA, "treatment", reduced="~ batch")
    with pytest.raises(ValueError, match="no '~'"):
        weights_of(samples, FORMULA, reduced="batch")
    with pytest.raises(TypeError, match="a design is a formula"):
        weights_of(samples, FORMULA, reduced=3)


def test_metadata_have_to_be_those_of_the_fit(samples):
    design = build_design(samples, FORMULA)
    text = "cond(treatment='B') - cond(treatment='A')"
    other = samples.assign(treatment=list("CBA") * 8)
    for wrong in (other, samples.iloc[::-1], samples.iloc[:20]):
        for contrast in (text, "~ batch"):
            with pytest.raises(ValueError, match="the data that was fitted"):
                resolve_contrasts(design, contrast, samples=wrong)
    with pytest.raises(ValueError, match="needs the sample metadata"):
        resolve_contrasts(design, text)
    with pytest.raises(ValueError, match="needs the sample metadata"):
        resolve_contrasts(design, "~ batch")
    with pytest.raises(ValueError, match="made from a formula"):
        weights_of(samples, np.eye(N)[:, :2], text)


@pytest.mark.parametrize("text", ["cond(age=400) - cond(age=30)", "cond(age='x')", "cond(age=True)"])
def test_values_out_of_range(samples, text):
    with pytest.raises(ValueError, match=r"within the range|holds numbers"):
        one(samples, "~ bs(age, df=4)", text)


def test_logarithm_out_of_range(samples):
    with pytest.raises(ValueError, match="not finite"):
        one(samples, "~ log(age)", "cond(age=-1)")


# ---- after a round trip


def test_contrasts_of_a_fit_read_back(samples):
    design = build_design(samples, "~ flag + treatment", reference={"flag": "True"})
    fit = xr.Dataset(
        {"design": (("sample", "coefficient"), design.matrix)},
        coords={"coefficient": list(design.names)},
        attrs=design_to_attrs(design),
    )
    back = design_from_result(fit)
    for contrast in (None, "treatment", "cond(flag=False) - cond(flag=True)", "~ flag", "flag[T.False] / 2"):
        for a, b in zip(
            resolve_contrasts(back, contrast, samples=samples),
            resolve_contrasts(design, contrast, samples=samples),
            strict=True,
        ):
            assert a.name == b.name
            np.testing.assert_array_equal(a.weights, b.weights)
    difference = one(samples, "~ flag", "cond(flag=False) - cond(flag=True)", reference={"flag": "True"})
    assert difference.weights.tolist() == [[0, 1]]


# ---- all pairs -------------------------------------------------------------------------------------------


def test_pairwise_is_every_level_against_every_earlier_one(samples):
    found = weights_of(samples, FORMULA, "pairwise(treatment)")
    assert [contrast.name for contrast in found] == [
        "treatment: B - A",
        "treatment: C - A",
        "treatment: C - B",
    ]
    for contrast, text in zip(
        found,
        ["treatment[T.B]", "treatment[T.C]", "treatment[T.C] - treatment[T.B]"],
        strict=True,
    ):
        np.testing.assert_array_equal(contrast.weights, one(samples, FORMULA, text).weights)


def test_pairwise_does_not_depend_on_the_reference_level(samples):
    """Weights differ with the coding; applied to any predictor of the samples they ask for the same."""
    predictor = samples["treatment"].map({"A": 0.3, "B": -1.1, "C": 2.0}).to_numpy() + (
        samples["batch"] == "2"
    )
    wanted = {"B - A": -1.4, "C - A": 1.7, "C - B": 3.1}
    for reference in (None, {"treatment": "C"}, {"treatment": "B"}):
        design = build_design(samples, FORMULA, reference=reference)
        beta = np.linalg.lstsq(design.matrix, predictor, rcond=None)[0]
        for contrast in resolve_contrasts(design, "pairwise(treatment)", samples=samples):
            high, low = contrast.name.removeprefix("treatment: ").split(" - ")
            sign = 1.0 if f"{high} - {low}" in wanted else -1.0
            value = wanted[f"{high} - {low}"] if sign > 0 else -wanted[f"{low} - {high}"]
            assert (contrast.weights @ beta).item() == pytest.approx(value, abs=1e-12)  # rounding


def test_pairwise_with_an_interaction_is_at_the_reference_of_the_other(samples):
    formula = "~ treatment * flag"
    pairs = weights_of(samples, formula, "pairwise(treatment)")
    text = "cond(treatment='C', flag='False') - cond(treatment='B', flag='False')"
    np.testing.assert_array_equal(pairs[-1].weights, one(samples, formula, text).weights)


def test_pairwise_of_columns_with_spaces_and_of_coded_numbers(samples):
    (found,) = weights_of(samples, "~ `cell type`", "pairwise(`cell type`)")
    assert found.name == "cell type: T cell - B cell"
    names = [contrast.name for contrast in weights_of(samples, "~ C(day)", "pairwise(day)")]
    assert names == ["day: 2 - 0", "day: 10 - 0", "day: 10 - 2"]


def test_pairwise_among_other_contrasts(samples):
    found = weights_of(samples, FORMULA, ["batch[T.2]", "pairwise(treatment)"])
    assert len(found) == 4


@pytest.mark.parametrize(
    ("formula", "contrast", "message"),
    [
        (
            FORMULA,
            "pairwise(age)",
            "'age' is not a factor of the formula '~ batch [+] treatment'; its factors",
        ),
        (FORMULA, "pairwise(treatmant)", "did you mean 'treatment'"),
        ("~ age", "pairwise(age)", "'age' is not a factor"),
    ],
)
def test_pairwise_of_what_is_no_factor(samples, formula, contrast, message):
    with pytest.raises(ValueError, match=message):
        weights_of(samples, formula, contrast)


def test_pairwise_needs_a_formula(samples):
    design = build_design(samples, np.column_stack([np.ones(N), samples["age"]]))
    with pytest.raises(ValueError, match="needs a design made from a formula"):
        resolve_contrasts(design, "pairwise(treatment)", samples=samples)

"""Design matrices: what formulas make, what they refuse, and how a result keeps them."""

import json
import warnings

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from xdelnx.designs.design import build_design, dependencies, design_from_result, design_to_attrs
from xdelnx.messages import closest, listing

N = 12


@pytest.fixture
def samples():
    return pd.DataFrame(
        {
            "treatment": list("ABC") * 4,
            "batch": ["1"] * 6 + ["2"] * 6,
            "age": np.linspace(20.0, 60.0, N) ** 1.1,
            "day": [0, 2, 10] * 4,
            "flag": [True, False, False, True] * 3,
            "cell type": list("xxyy") * 3,
            "dose": pd.Categorical(list("hml") * 4, categories=["l", "m", "h", "never"]),
        },
        index=[f"s{i}" for i in range(N)],
    )


# ---- what a formula makes


def test_coding_by_hand(samples):
    design = build_design(samples, "~ treatment + age")
    b, c = (samples["treatment"].to_numpy() == level for level in "BC")
    expected = np.column_stack([np.ones(N), b, c, samples["age"]])
    np.testing.assert_array_equal(design.matrix, expected)
    assert design.names == ("Intercept", "treatment[T.B]", "treatment[T.C]", "age")
    assert design.terms == {"Intercept": (0,), "treatment": (1, 2), "age": (3,)}
    assert design.matrix.dtype == np.float64


@pytest.mark.parametrize(
    "formula",
    [
        "~ treatment",
        "~ batch + treatment",
        "~ 0 + treatment",
        "~ treatment - 1",
        "~ treatment * age",
        "~ batch / treatment",
        "~ age + batch:age",
        "~ bs(age, df=4) + batch",
        "~ I(age ** 2) + np.log(age)",
        "~ C(day)",
        "~ C(treatment, Sum)",
        "~ center(age) * batch",
    ],
)
def test_same_columns_as_patsy(samples, formula):
    patsy = pytest.importorskip("patsy")
    expected = np.asarray(patsy.dmatrix(formula, samples))
    design = build_design(samples, formula)
    # the same span, whatever the order of the columns: each projector is exact to rounding
    assert design.matrix.shape == expected.shape
    q, _ = np.linalg.qr(design.matrix)
    np.testing.assert_allclose(q @ (q.T @ expected), expected, rtol=0, atol=1e-9 * np.abs(expected).max())


def test_booleans_are_factors(samples):
    assert build_design(samples, "~ flag").names == ("Intercept", "flag[T.True]")
    design = build_design(samples, "~ flag", reference={"flag": "True"})
    assert design.names == ("Intercept", "flag[T.False]")
    np.testing.assert_array_equal(design.matrix[:, 1], ~samples["flag"].to_numpy())
    as_bool = build_design(samples, "~ flag", reference={"flag": True})
    assert as_bool.names == design.names
    assert as_bool.reference == {"flag": "True"}


@pytest.mark.parametrize("dtype", [object, "string", "category", "boolean", bool])
def test_boolean_columns_of_any_type(samples, dtype):
    samples["flag"] = samples["flag"].astype(dtype)
    assert build_design(samples, "~ flag").names[1] == "flag[T.True]"


def test_categorical_keeps_its_order_and_drops_levels_without_samples(samples):
    assert build_design(samples, "~ dose").names == ("Intercept", "dose[T.m]", "dose[T.h]")
    assert build_design(samples, "~ dose", reference={"dose": "h"}).names[1:] == ("dose[T.l]", "dose[T.m]")


def test_numbers_become_a_factor_with_levels_in_numeric_order(samples):
    assert build_design(samples, "~ C(day)").names[1:] == ("C(day)[T.2]", "C(day)[T.10]")
    by_number = build_design(samples, "~ C(day)", reference={"day": 10})
    by_text = build_design(samples, "~ C(day)", reference={"day": "10"})
    assert by_number.names == by_text.names == ("Intercept", "C(day)[T.0]", "C(day)[T.2]")


def test_names_with_spaces(samples):
    assert build_design(samples, "~ `cell type`").names == ("Intercept", "cell type[T.y]")


def test_number_types(samples):
    for dtype in ("int8", "uint16", "float32", "Int64", "Float64", object):
        samples["number"] = pd.Series(range(N), index=samples.index).astype(dtype)
        np.testing.assert_array_equal(build_design(samples, "~ number").matrix[:, 1], np.arange(N))


def test_the_samples_are_not_changed(samples):
    before = samples.copy(deep=True)
    build_design(samples, "~ C(day) + flag + bs(age, df=3)", reference={"flag": "True"})
    pd.testing.assert_frame_equal(samples, before)


@pytest.mark.parametrize(
    "formula", ["~ treatment + age", "~ treatment * flag", "~ cr(age, df=3, constraints='center')"]
)
def test_order_of_the_samples(samples, formula):
    order = np.random.default_rng(0).permutation(N)
    shuffled = build_design(samples.iloc[order], formula).matrix
    # knots and means are sums in another order: rounding only
    np.testing.assert_allclose(shuffled, build_design(samples, formula).matrix[order], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("transform", [lambda age: 1e6 * age, lambda age: age / 1e6, lambda age: age + 1e5])
def test_scale_and_centre_of_a_covariate_do_not_change_the_rank(samples, transform):
    samples["age"] = transform(samples["age"])
    assert build_design(samples, "~ treatment + age").names[-1] == "age"
    samples["copy"] = samples["age"] * 3 - 2
    with pytest.raises(ValueError, match=r"copy = -2 \* Intercept \+ 3 \* age"):
        build_design(samples, "~ age + copy")


# ---- ready matrices


def test_ready_matrices(samples):
    matrix = np.column_stack([np.ones(N), np.arange(N)])
    frame = pd.DataFrame(matrix, index=samples.index, columns=["one", "slope"])
    array = xr.DataArray(
        matrix.T,
        dims=("coefficient", "sample"),
        coords={"coefficient": ["one", "slope"], "sample": samples.index},
    )
    assert build_design(samples, matrix).names == ("x0", "x1")
    for design in (
        frame,
        array,
        frame.iloc[::-1],
        frame.reset_index(drop=True),
        array.isel(sample=slice(None, None, -1)),
    ):
        built = build_design(samples, design)
        np.testing.assert_array_equal(built.matrix, matrix)
        assert built.names == ("one", "slope")
        assert built.formula is None
        assert built.terms == {"one": (0,), "slope": (1,)}


def test_matrix_of_booleans(samples):
    design = build_design(samples, pd.DataFrame({"one": 1, "flag": samples["flag"]}))
    np.testing.assert_array_equal(design.matrix[:, 1], samples["flag"])


# ---- bad input: what the message has to say

BAD_FORMULAS = {
    "~ tretment": ("tretment", "did you mean 'treatment'", "columns of the samples: treatment, batch, age"),
    "~ Treatment": ("did you mean 'treatment'",),
    "~ celltype": ("did you mean '`cell type`'",),
    "~ log(agee)": ("'agee'", "did you mean 'age'"),
    "~ C(treat)": ("'treat'", "treatment"),
    "treatment": ("no '~'", "'~ treatment'"),
    "": ("no '~'",),
    "~": ("empty", "'~ 1'"),
    "y ~ treatment": ("'y' on its left side", "'~ treatment'"),
    "~ treatment | batch": ("'|' is not allowed",),
    "~ .": ("'.' is not allowed", "name each column"),
    "~ treatment +": ("cannot read the formula", "'~ a + b'"),
    "~ treatment batch": ("cannot read the formula",),
    "~ (treatment": ("cannot read the formula",),
    "~ 0": ("no columns", "'~ 1'"),
    "~ log(treatment)": ("'log(treatment)'", "which is a factor", "A, B, C"),
    "~ log(age - 30)": ("'log(age - 30)'", "not finite", "s0"),
    "~ missing": ("'missing'", "2 of 12 samples: s3, s7", "never dropped silently"),
    "~ nothing": ("'nothing'", "12 of 12 samples"),
    "~ infinite": ("'infinite' is not finite in 1 of 12 samples: s0",),
    "~ same": ("every sample has same = 'z'", "nothing to compare"),
    "~ treatment * same": ("every sample has same = 'z'",),
    "~ constant": ("full rank", "constant = 7 * Intercept"),
    "~ name": ("residual degrees of freedom", "its own level of 'name'"),
    "~ treatment * batch * flag": ("residual degrees of freedom", "12 coefficients from 12 samples"),
    "~ bs(age, df=11)": ("residual degrees of freedom: 12 samples for 12 coefficients",),
    "~ treatment + twin": ("full rank", "of 5 coefficients only 3", "twin[T.Q] = treatment[T.B]"),
    "~ batch * half": ("full rank", "batch[T.2]:half[T.r]"),
    "~ cr(age, df=3)": ("full rank", "constraints='center'"),
    "~ mixed": ("a mixture of text and numbers",),
    "~ date": ("datetime64", "turn it into numbers"),
    "~ twice": ("several columns called 'twice'",),
    "~ C(treatment, levels=['A'])": ("`reference`",),
    "~ C(treatment, contr.nothing)": ("contr.treatment",),
    "~ C(day, contr.treatment(base=2))": ("levels of a factor are text",),
    "~ (treatment + batch + age + flag) ** 10": ("more than 10000 terms",),
    "~ (treatment + batch + age + flag) ** 99999999": ("'**99999999' is not allowed; powers go up to 10",),
    "~ age ** 99999999": ("powers go up to 10",),
    "~ (treatment + age)^999": ("powers go up to 10",),
    "~ age ** 99999999999999999999999": ("powers go up to 10",),
    "~ 3:age": ("'3' is not allowed", "write I(2 * column)"),
    "~ 0:age": ("a number alone is 0 or 1",),
    "~ ``": ("'``' is not allowed; name a column there",),
    "~ age + {}": ("'{}' is not allowed",),
    "~ log(age, where=False)": ("log() takes one argument",),
    "~ np.exp(age, dtype='f2')": ("np.exp() takes one argument",),
    "~ bs(age, knots=[" + "50," * 101 + "])": ("up to 100 knots go to a spline",),
    "~ " + " * ".join(["treatment", "batch", "age", "flag", "day", "dose"] * 3): ("more than 10000 terms",),
    "~ " + "+".join(["age"] * 5000): ("too long",),
    "~ bs(age, df=1000000)": ("whole numbers up to 100",),
}


@pytest.fixture
def bad_samples(samples):
    samples["missing"] = [None if i in (3, 7) else "ab"[i % 2] for i in range(N)]
    samples["nothing"] = np.nan
    samples["infinite"] = [np.inf] + [1.0] * 11
    samples["same"] = "z"
    samples["constant"] = 7
    samples["name"] = samples.index
    samples["twin"] = samples["treatment"].map(dict(zip("ABC", "PQR", strict=True)))
    samples["half"] = ["l"] * 6 + ["r"] * 6
    samples["mixed"] = [1, "a"] * 6
    samples["date"] = pd.date_range("2020-01-01", periods=N)
    samples["twice"] = 1.0
    return pd.concat([samples, samples[["twice"]]], axis=1)


@pytest.mark.parametrize("formula", BAD_FORMULAS, ids=lambda formula: formula[:40])
def test_bad_formulas(bad_samples, formula):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        build_design(bad_samples, formula)
    for words in BAD_FORMULAS[formula]:
        assert words in str(error.value)
    assert "\x1b" not in str(error.value)


@pytest.mark.parametrize(
    ("formula", "reference", "words"),
    [
        ("~ treatment", {"treatment": "D"}, ("no level 'D'", "levels of 'treatment' with samples: A, B, C")),
        ("~ treatment", {"treatment": "a"}, ("did you mean 'A'",)),
        ("~ treatment", {"tretment": "A"}, ("'tretment' is not a column", "did you mean 'treatment'")),
        ("~ treatment", {"batch": "1"}, ("'batch' is not used by", "factors of the formula: treatment")),
        ("~ treatment + age", {"age": "1"}, ("holds numbers", "C(age)")),
        ("~ dose", {"dose": "never"}, ("no level 'never'", "l, m, h")),
        ("~ C(treatment, Treatment('B'))", {"treatment": "A"}, ("twice",)),
    ],
)
def test_bad_references(samples, formula, reference, words):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        build_design(samples, formula, reference=reference)
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize(
    ("design", "words"),
    [
        (np.ones(N), "two dimensions"),
        (np.ones((N - 1, 1)), "11 rows for 12 samples"),
        (np.ones((N, 0)), "no columns"),
        (np.column_stack([np.ones(N), np.full(N, np.nan)]), "not finite in column x1"),
        (np.ones((N, 2)), "x1 = x0"),
        (np.zeros((N, 1)), "x0 = 0 in every sample"),
        (np.random.default_rng(0).normal(size=(N, N)), "no residual degrees of freedom"),
        (pd.DataFrame({"a": ["x"] * N}), "does not hold numbers"),
        (pd.DataFrame(np.eye(N)[:, :2], columns=["a", "a"]), "same name: a"),
        (pd.DataFrame({"a": np.ones(N)}, index=[f"t{i}" for i in range(N)]), "no row for s0, s1"),
        (xr.DataArray(np.ones((N, 1)), dims=("sample", "column")), r"\(sample, coefficient\)"),
    ],
)
def test_bad_matrices(samples, design, words):
    with pytest.raises(ValueError, match=words):
        build_design(samples, design)


def test_wrong_types(samples):
    with pytest.raises(TypeError, match="a design is a formula"):
        build_design(samples, ["treatment"])
    with pytest.raises(TypeError, match="reference is a mapping"):
        build_design(samples, "~ treatment", reference="A")
    with pytest.raises(ValueError, match="go with a formula"):
        build_design(samples, np.ones((N, 1)), reference={"treatment": "A"})


@pytest.mark.parametrize("n", [0, 1])
@pytest.mark.parametrize("design", ["~ treatment", "~ 1", "~ age", None])
def test_too_few_samples(samples, n, design):
    few = samples.iloc[:n]
    with pytest.raises(ValueError, match="one sample" if n else "no samples"):
        build_design(few, np.ones((n, 1)) if design is None else design)


# ---- a formula runs nothing but its transforms


@pytest.mark.parametrize(
    "attack",
    [
        "~ age + touch()",
        "~ {touch()}",
        "~ {__import__('pathlib').Path('TARGET').touch()}",
        "~ f(__import__('pathlib').Path('TARGET').touch())",
        "~ log(__import__('pathlib').Path('TARGET').touch())",
        "~ log(age, out=__import__('pathlib').Path('TARGET').touch())",
        "~ C(treatment, __import__('pathlib').Path('TARGET').touch())",
        "~ {(lambda: __import__('pathlib').Path('TARGET').touch())()()}",
        "~ I((lambda: __import__('pathlib').Path('TARGET').touch())()())",
        "~ I([__import__('pathlib').Path('TARGET').touch() for _ in [1]][0])",
        "{__import__('pathlib').Path('TARGET').touch()()} ~ age",
        "~ age ~ {__import__('pathlib').Path('TARGET').touch()()}",
        "~ np.save('TARGET', age)",
        "~ np.lib.format.open_memmap('TARGET', mode='w+', shape=(1,))",
        "~ I(age.to_csv('TARGET'))",
        "~ age.to_csv('TARGET')",
        "~ I(f'{age.to_csv(\"TARGET\")}')",
        "~ bs(age, df=age.to_csv('TARGET'))",
        "~ bs(age, _context=1)",
        "~ bs(age, **{'df': 3})",
        "~ C(age.__class__)",
        "~ {age.__class__.__mro__}",
        "~ {9 ** 9 ** 9 ** 9}",
        "~ {(9 ** 9) * age}",
        "~ I('a' * 999999999)",
        "~ I(age if age else age)",
        "~ I(age := 3)",
        "~ hashed(treatment, levels=3)",
        "~ Q('treatment')",
        "~ `__import__('os')`",
    ],
)
def test_formulas_run_no_code(samples, tmp_path, attack):
    target = tmp_path / "touched"
    with pytest.raises(ValueError, match="formula"):
        build_design(samples, attack.replace("TARGET", target.as_posix()))
    assert not target.exists()


@given(st.text(alphabet="agetrmn~+-*/:()[]{}`'\"., 0192^|%=@!&_\\\n", max_size=40))
@settings(max_examples=300, deadline=None)
def test_any_text_is_a_formula_or_a_clear_error(text):
    samples = pd.DataFrame({"a": list("xy") * 6, "age": np.arange(12.0) ** 1.5})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # Python's, about the text itself
        try:
            design = build_design(samples, "~" + text)
        except ValueError:
            return
    assert np.linalg.matrix_rank(design.matrix) == len(design.names)


# ---- rank


@given(st.integers(0, 10**6), st.integers(2, 6), st.integers(1, 8))
@settings(max_examples=100, deadline=None)
def test_dependencies_are_as_many_as_numpy_says_and_true(seed, n, p):
    rng = np.random.default_rng(seed)
    matrix = rng.integers(-1, 2, size=(n, p)).astype(float)
    names = tuple(f"v{j}" for j in range(p))
    found = dependencies(matrix, names)
    assert len(found) == p - np.linalg.matrix_rank(matrix)
    columns = dict(zip(names, matrix.T, strict=True))
    for equation in found:
        left, right = equation.split(" = ")
        value = 0.0 if right == "0 in every sample" else eval(right, {}, columns)  # noqa: S307
        # the printed weights have six digits
        np.testing.assert_allclose(columns[left], value, rtol=0, atol=1e-4)


def test_rank_does_not_depend_on_units():
    rng = np.random.default_rng(1)
    matrix = rng.normal(size=(20, 4))
    matrix[:, 3] = matrix[:, 0] - 2 * matrix[:, 2]
    units = np.array([1e-9, 1e9, 1.0, 1e5])
    assert len(dependencies(matrix * units, tuple("abcd"))) == 1
    matrix[:, 3] += 1e-6 * rng.normal(size=20)
    assert dependencies(matrix * units, tuple("abcd")) == []


# ---- in a result


def as_result(design):
    return xr.Dataset(
        {"design": (("sample", "coefficient"), design.matrix)},
        coords={"coefficient": list(design.names)},
        attrs=design_to_attrs(design),
    )


@pytest.mark.parametrize(
    "formula", ["~ treatment * age", "~ 0 + flag", "~ bs(age, df=4) + `cell type`", None]
)
def test_round_trip_through_zarr(samples, tmp_path, formula):
    reference = {"flag": "True"} if formula == "~ 0 + flag" else None
    design = build_design(samples, np.eye(N)[:, :3] if formula is None else formula, reference=reference)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Zarr's, about its string type
        as_result(design).to_zarr(tmp_path / "fit.zarr")
        back = design_from_result(xr.open_zarr(tmp_path / "fit.zarr"))
    np.testing.assert_array_equal(back.matrix, design.matrix)
    assert back.matrix.dtype == np.float64
    assert (back.names, back.formula, back.terms, back.reference) == (
        design.names,
        design.formula,
        design.terms,
        design.reference,
    )


def test_attributes_are_plain_text(samples):
    attrs = design_to_attrs(build_design(samples, "~ treatment", reference={"treatment": "C"}))
    assert attrs["design_formula"] == "~ treatment"
    assert json.loads(attrs["design_reference"]) == {"treatment": "C"}
    assert all(isinstance(value, str) for value in attrs.values())
    assert "design_formula" not in design_to_attrs(build_design(samples, np.ones((N, 1))))


def test_not_a_result():
    with pytest.raises(ValueError, match=r"not the result of `fit`.*counts"):
        design_from_result(xr.Dataset({"counts": (("sample", "gene"), np.ones((2, 2)))}))


# ---- words


def test_closest_and_listing():
    assert closest("Condtion", ["batch", "condition"], "columns").startswith("did you mean 'condition'?")
    assert closest("zzz", ["batch"], "columns") == "columns: batch"
    assert listing([]) == "none"
    assert listing(range(30), 2) == "0, 1, ... (30 in all)"

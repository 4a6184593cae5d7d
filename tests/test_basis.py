"""The basis spans the design, and the arrow-shaped algebra is that of ordinary matrices."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from xdelnx.algorithms.basis import basis_of, complement, distinct_rows, layout_of
from xdelnx.designs.design import build_design
from xdelnx.kernels import linear as linear_kernels

DONORS = 12


@pytest.fixture(scope="module")
def samples():
    rng = np.random.default_rng(0)
    n = 10 * DONORS
    return pd.DataFrame(
        {
            "donor": pd.Categorical(np.repeat([f"d{i:02}" for i in range(DONORS)], 10)),
            "condition": np.tile(["a", "b"], n // 2),
            "dose": np.tile([0.0, 1.0, 2.5, 2.5, 7.0], n // 5),
            "age": rng.normal(40, 10, n),
        }
    )


# formula -> groups whose indicators the design spans, at most
DESIGNS = {
    "~ 1": 1,
    "~ condition": 2,
    "~ 0 + condition": 2,
    "~ age": 0,
    "~ donor + condition": DONORS,
    "~ condition + donor": DONORS,
    "~ donor * condition": 2 * DONORS,
    "~ donor + condition + age": DONORS,
    "~ condition * age": 2,
    "~ donor + dose:condition": DONORS,
    "~ C(donor, contr.sum) + condition": 2,  # the coding hides the donors' indicators, not the space
}


@pytest.mark.parametrize(("formula", "groups"), DESIGNS.items())
def test_basis_spans_the_design(samples, formula, groups):
    design = build_design(samples, formula).matrix
    layout = layout_of(design)
    basis = basis_of(layout)
    assert basis.groups == groups
    assert basis.size == design.shape[1]
    # rounding of a least-squares solution with condition numbers up to about 1e3
    np.testing.assert_allclose(layout.design @ basis.to_coefficients, basis.rows, atol=1e-11)
    gram = basis.rows.T @ (layout.sizes[:, None] * basis.rows)
    rest = basis.size - groups
    np.testing.assert_allclose(gram[groups:, groups:], np.eye(rest), atol=1e-12)
    np.testing.assert_allclose(gram[:groups, groups:], 0.0, atol=1e-11)


def test_layout_puts_every_sample_into_its_kind(samples):
    design = build_design(samples, "~ donor + condition").matrix
    layout = layout_of(design)
    kinds = np.repeat(np.arange(layout.sizes.size), layout.sizes)
    np.testing.assert_array_equal(design[layout.order], layout.design[kinds])
    assert layout.starts[-1] == len(samples)


@pytest.mark.parametrize("formula", ["~ donor + condition", "~ condition * age", "~ donor + condition + age"])
def test_reduced_basis_is_what_the_contrast_leaves(samples, formula):
    model = build_design(samples, formula)
    weights = np.zeros((1, len(model.names)))
    weights[0, model.names.index("condition[T.b]")] = 1.0
    layout = layout_of(model.matrix)
    basis = basis_of(layout, complement(weights))
    assert basis.size == len(model.names) - 1
    np.testing.assert_allclose(weights @ basis.to_coefficients, 0.0, atol=1e-12)  # rounding
    np.testing.assert_allclose(layout.design @ basis.to_coefficients, basis.rows, atol=1e-11)


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("formula", [*DESIGNS])
def test_arrow_algebra_is_that_of_matrices(samples, formula, dense):
    basis = basis_of(layout_of(build_design(samples, formula).matrix), dense=dense)
    rng = np.random.default_rng(1)
    weight = rng.gamma(2.0, 1.0, (5, basis.rows.shape[0]))
    information = weight @ basis.products
    matrices = np.einsum("gk,ki,kj->gij", weight, basis.rows, basis.rows)
    rhs = rng.normal(size=(5, basis.size))
    vectors = rng.normal(size=(3, basis.size))
    # condition numbers below 1e3: rounding of either side stays below 1e-11
    np.testing.assert_allclose(
        linear_kernels.solve_arrow(information, rhs, basis.groups),
        np.linalg.solve(matrices, rhs[..., None])[..., 0],
        rtol=1e-10,
        atol=1e-11,
    )
    np.testing.assert_allclose(
        linear_kernels.quadratic_forms(information, vectors, basis.groups),
        np.einsum("vi,gij,vj->gv", vectors, np.linalg.inv(matrices), vectors),
        rtol=1e-10,
    )


@pytest.mark.parametrize("formula", ["~ donor + condition", "~ condition * age", "~ age", "~ condition"])
def test_log_determinant_derivatives_are_finite_differences(samples, formula):
    basis = basis_of(layout_of(build_design(samples, formula).matrix))
    mu = np.random.default_rng(2).gamma(2.0, 1.0, (4, basis.rows.shape[0]))

    def weight(theta):
        return mu / (1.0 + theta * mu)

    def log_determinant(theta):
        return np.linalg.slogdet(np.einsum("gk,ki,kj->gij", weight(theta), basis.rows, basis.rows))[1]

    theta, step = 0.7, 1e-4
    packed = [weight(theta) ** power @ basis.products for power in (1, 2, 3)]
    derivatives = linear_kernels.log_determinant_derivatives(*packed, basis.groups)
    up, here, down = (log_determinant(theta + shift) for shift in (step, 0.0, -step))
    # central differences: step^2 in truncation; rounding 1e-14 / step^2 = 1e-6 in the second
    np.testing.assert_allclose(derivatives[:, 0], (up - down) / (2 * step), rtol=1e-6)
    np.testing.assert_allclose(derivatives[:, 1], (up - 2 * here + down) / step**2, rtol=1e-4)


def test_a_direction_without_information_has_no_step():
    information = np.array([[0.0, 4.0]])  # two groups, the first without any
    step = linear_kernels.solve_arrow(information, np.array([[1.0, 2.0]]), 2)
    np.testing.assert_array_equal(step, [[0.0, 0.5]])
    forms = linear_kernels.quadratic_forms(information, np.array([[1.0, 0.0], [0.0, 2.0]]), 2)
    np.testing.assert_array_equal(forms, [[np.inf, 1.0]])
    flat = np.array([[1.0, 1.0, 1.0]])  # a matrix of ones, packed: its second pivot is zero
    np.testing.assert_array_equal(linear_kernels.quadratic_forms(flat, np.eye(2), 0), [[1.0, np.inf]])


def test_thousands_of_kinds_take_no_square_of_memory():
    # each sample a kind of its own: 20,000 x 20,000 numbers would be 3 GB
    rng = np.random.default_rng(0)
    design = np.column_stack([np.ones(20_000), rng.normal(size=20_000), rng.integers(0, 2, 20_000)])
    tracemalloc.start()
    basis_of(layout_of(design))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100e6


@given(
    arrays.arrays(
        float,
        st.tuples(st.integers(1, 30), st.integers(1, 4)),
        elements=st.sampled_from([0.0, -0.0, 1.0, -2.5, 1e-300, 1e300]),
    )
)
def test_distinct_rows(rows):
    """As numpy.unique finds and sorts them."""
    found, which = distinct_rows(rows)
    expected, place = np.unique(rows, axis=0, return_inverse=True)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(which, place.reshape(-1))


def test_distinct_rows_without_columns():
    found, which = distinct_rows(np.zeros((3, 0)))
    assert found.shape == (1, 0)
    assert which.tolist() == [0, 0, 0]

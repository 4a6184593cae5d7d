"""The algorithms run on any namespace of the array API standard: here its strict one, with the same numbers."""

from dataclasses import replace

import array_api_strict as strict
import numpy as np
import pytest

from xdelnx.algorithms.dispersion import estimate_dispersion, moment_dispersion
from xdelnx.algorithms.glm import fit_coefficients, start_from_data, start_from_fit
from xdelnx.algorithms.observations import NonZeroObservations
from xdelnx.algorithms.tiles import Block, tiles
from xdelnx.algorithms.zeros import sample_scale
from xdelnx.kernels.backend import CPU, Backend


class StrictBackend(Backend):
    """Arrays of the strict namespace; the kernels get them as NumPy and give them back."""

    def __init__(self):
        super().__init__(strict, "strict")

    def kernel(self, name):
        function = CPU.kernel(name)

        def call(*arguments):
            result = function(*(self.host(argument) for argument in arguments))
            return tuple(map(self.strict, result)) if isinstance(result, tuple) else self.strict(result)

        return call

    def host(self, value):
        return np.asarray(value) if isinstance(value, type(strict.zeros(0))) else value

    def strict(self, value):
        return strict.asarray(value) if isinstance(value, np.ndarray) else value

    def to_numpy(self, values):
        return self.host(values)


def problem(make_problem, backend, name, **options):
    rng = np.random.default_rng(0)
    n, highest = (400, -1.0) if name == "non-zeros" else (16, 6.0)
    columns = [np.ones(n), np.arange(n) % 2, rng.normal(size=n)]
    design = np.stack(columns if name == "covariate" else columns[:2], 1)
    scale = rng.lognormal(0.0, 0.3, n)
    mean = np.exp(rng.uniform(-1.0, highest, (60, 1)))
    y = rng.poisson(mean * scale * rng.gamma(3.0, 1.0 / 3.0, (60, n)))
    y = y[y.any(1)]
    y[0, design[:, 1] == 1] = 0  # separated
    made = make_problem(y, design, scale, backend=backend, **options)
    if name != "non-zeros":
        return made
    return replace(made, observations=non_zeros(made.layout, y, scale, backend))


def non_zeros(layout, y, scale, backend):
    """The non-zero counts of all genes, which a device without nodes visits, in arrays of a backend."""
    block = Block(y.T, sample_scale(scale[layout.order], layout.starts))
    visiting = Backend(np, "visiting")
    visiting.at_nodes = False
    (tile,) = tiles(visiting, layout, block)
    assert isinstance(tile.observations, NonZeroObservations)
    assert tile.genes.size == len(y)
    found = tile.observations
    zeros = replace(
        found.zeros,
        backend=backend,
        **{name: backend.asarray(getattr(found.zeros, name)) for name in ("y", "scale", "weights")},
    )
    names = "values", "scale", "kind_scale", "kind_sizes"
    arrays = {name: backend.asarray(getattr(found, name)) for name in names}
    return replace(found, backend=backend, zeros=zeros, bounds=backend.indices(found.bounds), **arrays)


@pytest.mark.parametrize("ridge", [None, 0.5])
@pytest.mark.parametrize("name", ["factor", "covariate", "non-zeros"])
def test_coefficients_and_dispersions(make_problem, name, ridge):
    results = []
    for backend in (CPU, StrictBackend()):
        weights = None if ridge is None else ridge * np.arange(3 if name == "covariate" else 2)
        model, observations = (
            getattr(problem(make_problem, backend, name, ridge=weights), part)
            for part in ("model", "observations")
        )
        theta = moment_dispersion(observations, 1.0)
        found = fit_coefficients(model, observations, theta, start_from_data(model, observations, theta))
        m = model.mean(found.b)
        dispersions = [
            estimate_dispersion(model, observations, m, theta, cox_reid=cox_reid)
            for cox_reid in (True, False)
        ]
        rows = backend.xp.arange(theta.shape[0])
        weight = observations.fisher(m, theta, rows)
        again = fit_coefficients(
            model, observations, theta, start_from_fit(model, model.log_mean(found.b), weight)
        )
        variance = model.quadratic_forms(model.information(weight), backend.asarray(np.eye(model.size)))
        deviance = model.penalised(observations.deviance(m, theta, rows), found.b)
        results.append(
            [
                backend.to_numpy(values)
                for values in (
                    found.b,
                    found.converged,
                    found.iterations,
                    again.b,
                    variance,
                    deviance,
                    *(part for d in dispersions for part in (d.theta, d.converged)),
                )
            ]
        )
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-12)  # the same operations, perhaps in another order

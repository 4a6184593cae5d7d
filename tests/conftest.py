"""Shared by all tests: where compiled code is kept, how hypothesis runs, and a few small problems.

Numba's cache on disk does not notice a change in a function that a kernel calls. So the tests keep
theirs under a name that changes with the sources; it has to be set before Numba is imported.
"""

from __future__ import annotations

import hashlib
import os
import signal
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
_COMPILED = [
    *(ROOT / "xdelnx" / "scalars").glob("*.py"),
    *(ROOT / "xdelnx" / "kernels").glob("*.py"),
    ROOT / "xdelnx" / "algorithms" / "trend.py",
]
_DIGEST = hashlib.sha256(b"".join(source.read_bytes() for source in sorted(_COMPILED))).hexdigest()[:16]
os.environ["NUMBA_CACHE_DIR"] = str(ROOT / ".cache" / "numba" / _DIGEST)

# Jobs in a shell's background ignore Ctrl-C, and so would the commands that the tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import hypothesis  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

# The same examples in every run; HYPOTHESIS_PROFILE=explore looks for new ones.
hypothesis.settings.register_profile("repeatable", deadline=None, derandomize=True)
hypothesis.settings.register_profile("explore", deadline=None, max_examples=1000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


def pytest_collection_modifyitems(config, items):
    """Leave out what takes many minutes, unless it is asked for."""
    if "stress" in config.option.markexpr:
        return
    left_out = [item for item in items if item.get_closest_marker("stress")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture
def stopping():
    """Context of a number: inside, a fit ends as by Ctrl-C when it has written so many results of blocks."""
    from xdelnx.chunks import journal

    @contextmanager
    def context(results):
        left, write = [results], journal.computed

        def computed(*arguments):
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            return write(*arguments)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(journal, "computed", computed)
            yield

    return context


@dataclass(frozen=True)
class Problem:
    """Counts and a design as the algorithms take them; genes in rows, samples ordered by kind."""

    design: np.ndarray  # (sample, coefficient), in the caller's order
    layout: Any
    basis: Any
    model: Any
    observations: Any

    def beta(self, b: np.ndarray) -> np.ndarray:
        """Coefficients (gene, coefficient) of the design from the parameters of the basis."""
        return b @ self.basis.to_coefficients.T

    def deviance(self, b: np.ndarray, theta: np.ndarray) -> np.ndarray:
        return self.observations.deviance(self.model.mean(b), theta, np.arange(theta.size))


@pytest.fixture(scope="session")
def make_problem():
    """Function of counts (gene, sample), design (sample, coefficient) and scale (sample,) or (gene, sample)."""
    from xdelnx.algorithms.basis import basis_of, layout_of
    from xdelnx.algorithms.glm import Model
    from xdelnx.algorithms.observations import DenseObservations
    from xdelnx.algorithms.penalties import Ridge, make_penalty
    from xdelnx.kernels.backend import CPU

    def make(counts, design, scale=None, *, dense=False, ridge=None, backend=CPU):
        counts, design = np.atleast_2d(np.asarray(counts, float)), np.asarray(design, float)
        scale = np.ones(counts.shape[1]) if scale is None else np.asarray(scale, float)
        layout = layout_of(design)
        basis = basis_of(layout, dense=dense or ridge is not None)
        ridge = None if ridge is None else Ridge(np.diag(ridge), np.zeros(design.shape[1]))
        model = Model(backend, basis, make_penalty(basis, ridge, design.shape[0]))
        y = np.ascontiguousarray(counts[:, layout.order])
        by_kind = np.ascontiguousarray(np.atleast_2d(scale)[:, layout.order])
        arrays = (backend.asarray(values) for values in (y, by_kind, np.ones((1, y.shape[1]))))
        observations = DenseObservations(backend, *arrays, layout.starts)
        return Problem(design, layout, basis, model, observations)

    return make


@pytest.fixture(scope="session")
def bulk():
    """16 samples of two conditions, two batches and a covariate; 400 genes, some without a count."""
    from xdelnx import simulate

    return simulate(16, 400, n_batches=2, covariate="age", seed=3)

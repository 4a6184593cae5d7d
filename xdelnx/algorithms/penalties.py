"""Ridge penalties on the design's coefficients, written in a basis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xdelnx.algorithms.basis import Basis
from xdelnx.algorithms.glm import Penalty


@dataclass(frozen=True)
class Ridge:
    """``n ||root (beta - target)||^2`` is added to the deviance of n samples.

    Parameters
    ----------
    root
        (row, coefficient): Lambda; diagonal where each coefficient is drawn to its target on its own.
    target
        (coefficient,) what coefficients are drawn to, natural log.
    """

    root: np.ndarray
    target: np.ndarray


def make_penalty(
    basis: Basis, ridge: Ridge | None, n_samples: float | None, at: np.ndarray | None = None
) -> Penalty | None:
    """Half the gradient of ``n ||Lambda (at + beta - target)||^2`` in the basis; ``at`` (coefficient,), None for 0.

    ``n_samples`` is the weight of all samples, None where that differs between genes.
    """
    if ridge is None:
        return None
    scaled = ridge.root @ basis.to_coefficients
    there = ridge.root @ ((np.zeros(ridge.target.size) if at is None else at) - ridge.target)
    n = 1.0 if n_samples is None else n_samples
    return Penalty(
        n * scaled.T @ scaled, -n * scaled.T @ there, n * float(there @ there), per_weight=n_samples is None
    )

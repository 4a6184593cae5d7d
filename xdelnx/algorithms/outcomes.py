"""How each gene's fit ended, from what its passes say."""

from __future__ import annotations

import numpy as np

from xdelnx.status import Status


def status_of_test(status: np.ndarray, reduced_converged: np.ndarray) -> np.ndarray:
    """Status (gene,) of a test: that of the fit, or that a reduced fit did not converge where this is graver."""
    graver = [
        *(Status.ALL_ZERO, Status.NOT_ESTIMABLE, Status.UNREADABLE),
        Status.COEFFICIENTS_NOT_CONVERGED,
    ]
    failed = ~reduced_converged & ~np.isin(status, graver)
    return np.where(failed, np.int8(Status.REDUCED_NOT_CONVERGED), status).astype(np.int8)


def status_of_fit(refit: dict[str, np.ndarray], first: dict[str, np.ndarray]) -> np.ndarray:
    """Status (gene,) of a fit, of the results of both passes: the first that applies, from the gravest."""
    none = np.isnan(first["mean"])
    conditions = [
        none & ~first.get("estimable", np.ones(none.shape, dtype=bool)),
        none,
        ~(first["coefficients_converged"] & refit["converged"]),
        ~refit["reduced_converged"],
        ~first["dispersion_converged"],
        refit["separated"],
    ]
    statuses = [
        Status.NOT_ESTIMABLE,
        Status.ALL_ZERO,
        Status.COEFFICIENTS_NOT_CONVERGED,
        Status.REDUCED_NOT_CONVERGED,
        Status.DISPERSION_NOT_CONVERGED,
        Status.SEPARATED,
    ]
    return np.select(conditions, [np.int8(s) for s in statuses], np.int8(Status.OK)).astype(np.int8)

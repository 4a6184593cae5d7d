"""The centre of values of which many differ from it, more to one side than to the other.

A robust centre such as Tukey's biweight is drawn to that side, by up to half an error of a single gene where
30 % of the genes go up. Here what differs has a distribution of its own: values are the centre, or the centre plus a
half-normal effect up or down of one of a few scales, each with its known normal error; shares of these components and
centre are what makes all values together most likely (deconvolution with a point mass, as Stephens 2017 for effects
around 0).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from xdelnx.algorithms.mixture import NEGLIGIBLE, mixed, most_likely_weights

SCALES = 6  # of effects, from the errors' to twice the largest value
MOST_GENES = 5_000  # of which the surest decide: they know most of what all know, in a fraction of the time
EVIDENCE = 10.0  # log likelihood that sides of their own must gain
STEP, STEPS = 0.25, 8  # in median errors: how far the centre is sought
CLEAR = 2.0  # standard errors, less than which the centre does not move
GAIN = 1e-6  # log likelihood that the weights may leave: the slope is to be a smooth function of the centre


@dataclass(frozen=True)
class Components:
    """Of each value, relative to the largest: densities and their slopes in the centre, (gene, component).

    The components are the centre itself, then the effects up by scale, then those down.
    """

    density: np.ndarray
    slope: np.ndarray

    def slope_of_log(self, weights: np.ndarray) -> np.ndarray:
        """Slope of each value's log likelihood in the centre: (gene,)."""
        return mixed(self.slope, weights) / mixed(self.density, weights)


def moved_centre(x: np.ndarray, variance: np.ndarray, start: float) -> tuple[float, float] | None:
    """Centre of values (gene,) with known variances, and its standard error; None where ``start`` is as good.

    Where effects are alike to both sides that is so; ``start`` has the smaller error then.
    """
    if x.size > MOST_GENES:
        surest = np.argsort(variance, kind="stable")[:MOST_GENES]
        x, variance = x[surest], variance[surest]
    error = float(np.sqrt(np.median(variance)))
    scales = np.geomspace(error, max(2.0 * np.abs(x - start).max(), 4.0 * error), SCALES)
    if _gain_of_sides(components(x - start, variance, scales)) < EVIDENCE:
        return None

    def slope(at: float) -> float:
        parts = components(x - at, variance, scales)
        return float(np.sum(parts.slope_of_log(most_likely_weights(parts.density, GAIN))))

    at = _root_uphill(slope, start, STEP * error)
    if at is None:
        return None
    uncertainty = _error(components(x - at, variance, scales))
    return (at, uncertainty) if abs(at - start) > CLEAR * uncertainty else None


def components(residual: np.ndarray, variance: np.ndarray, scales: np.ndarray) -> Components:
    """Components of values less their centre.

    A half-normal effect of scale s with a normal error of variance v has the density
    ``2 normal(r; v + s^2) Phi(r s / sqrt(v (v + s^2)))``.
    """
    r, v = residual[:, None], variance[:, None]
    wide = v + scales**2
    steep = scales / np.sqrt(v * wide)
    logs = -0.5 * (r**2 / np.hstack([v, wide]) + np.log(np.hstack([v, wide])))
    normal = np.exp(logs - logs.max(axis=1, keepdims=True))
    alone, both = normal[:, :1], 2.0 * normal[:, 1:]
    up = ndtr(r * steep)
    edge = both * steep * np.exp(-0.5 * (r * steep) ** 2) / np.sqrt(2.0 * np.pi)
    fall = both * r / wide
    return Components(
        np.hstack([alone, both * up, both * (1.0 - up)]),
        np.hstack([alone * r / v, fall * up - edge, fall * (1.0 - up) + edge]),
    )


def _gain_of_sides(parts: Components) -> float:
    """Log likelihood that components up and down of different weights have more than those of equal ones."""
    up, down = np.split(parts.density[:, 1:], 2, axis=1)
    alike = np.hstack([parts.density[:, :1], 0.5 * (up + down)])
    sides, both = (
        float(np.sum(np.log(mixed(density, most_likely_weights(density, GAIN)))))
        for density in (parts.density, alike)
    )
    return sides - both


def _root_uphill(slope: Callable[[float], float], start: float, step: float) -> float | None:
    """Return where a function's slope is 0, uphill from a start; None if not within some steps."""
    from scipy.optimize import brentq

    at, rise = start, slope(start)
    for _ in range(STEPS):
        beyond = at + np.copysign(step, rise)
        rise_there = slope(beyond)
        if rise * rise_there <= 0.0:
            return float(brentq(slope, at, beyond, xtol=1e-12))
        at, rise = beyond, rise_there
    return None


def _error(parts: Components) -> float:
    """Standard error of the centre where the weights are estimated too: from what they do not explain of its slopes."""
    weights = most_likely_weights(parts.density, GAIN)
    slopes = parts.slope_of_log(weights)
    shares = parts.density[:, weights > NEGLIGIBLE] / mixed(parts.density, weights)[:, None]
    rest = slopes - shares @ np.linalg.lstsq(shares, slopes, rcond=None)[0]
    return float(1.0 / np.sqrt(np.sum(rest**2)))

"""Where to put labels beside their points, so that no two of them overlap.

Plain geometry in pixels; nothing here knows what is being drawn.
"""

from __future__ import annotations

import numpy as np

# Candidate positions around a point: rings of growing radius (in text heights), the sides first.
_RADII = (0.9, 1.5, 2.3, 3.4, 5.0, 7.0, 9.5, 12.5, 16.0)
_UP = range(15, 91, 15)
_ANGLES = np.deg2rad([0, 180] + [angle for up in _UP for angle in (up, 180 - up, -up, up - 180)])
_LEADER_STEPS = np.linspace(0.0, 1.0, 15)[:, None]


def place_labels(
    anchors: np.ndarray, sizes: np.ndarray, bounds: np.ndarray, points: np.ndarray
) -> np.ndarray:
    """Find a place for each label near its anchor.

    Greedy: labels are placed in the order given, each at the candidate that covers the fewest points, the
    nearer the better. A label never overlaps an earlier one or its leader line, and never leaves the bounds.

    Parameters
    ----------
    anchors
        (k, 2) the labelled points.
    sizes
        (k, 2) width and height of the labels.
    bounds
        (4,) left, bottom, right, top of the space.
    points
        (m, 2) points that are better left uncovered.

    Returns
    -------
    numpy.ndarray
        (k, 2) centres of the labels; NaN where there was no room.
    """
    centres = np.full((len(anchors), 2), np.nan)
    boxes = np.empty((0, 4))
    leaders = np.empty((0, 2))
    for k, (anchor, size) in enumerate(zip(anchors, sizes, strict=True)):
        candidates = _candidates(anchor, size)
        outlines = np.hstack([candidates - size / 2, candidates + size / 2])
        lines = anchor + _LEADER_STEPS[:, None] * (candidates - anchor)  # (step, candidate, 2)
        blocked = (outlines[:, :2] < bounds[:2]).any(1) | (outlines[:, 2:] > bounds[2:]).any(1)
        blocked |= _overlap(outlines, boxes) | (_covered(outlines, leaders) > 0)
        blocked |= np.array([_covered(boxes, lines[:, c]).sum() > 0 for c in range(len(candidates))])
        if blocked.all():
            continue
        near = points[(np.abs(points - anchor) < size + np.abs(candidates - anchor).max(0)).all(1)]
        anchors_too = np.vstack([near, anchors])
        cost = (
            _covered(outlines, anchors_too)
            + np.linspace(0, 8, len(candidates))
            + np.where(blocked, np.inf, 0)
        )
        best = int(np.argmin(cost))
        centres[k] = candidates[best]
        boxes = np.vstack([boxes, outlines[best]])
        leaders = np.vstack([leaders, lines[:, best]])
    return centres


def _candidates(anchor: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Centres of a label whose box starts a little off the anchor, the nearest first."""
    direction = np.column_stack([np.cos(_ANGLES), np.sin(_ANGLES)])
    reach = np.abs(direction * size / 2).max(1)[:, None]
    return np.vstack([anchor + direction * (reach + radius * size[1]) for radius in _RADII])


def _overlap(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(k,) whether a box overlaps any of the others."""
    apart = (boxes[:, None, 2:] <= others[None, :, :2]) | (boxes[:, None, :2] >= others[None, :, 2:])
    return np.any(~apart.any(-1), axis=1)


def _covered(boxes: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(k,) how many of the points each box covers."""
    inside = (points[None] >= boxes[:, None, :2]) & (points[None] <= boxes[:, None, 2:])
    return inside.all(-1).sum(1)

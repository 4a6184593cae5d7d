"""Whole pictures against small grey ones that were looked at (validation/baseline_pictures.py makes them)."""

import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib import pyplot as plt

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "validation"))

import baseline_pictures

NAMES = sorted(np.load(baseline_pictures.BASELINE))
TOLERANCE = 0.02  # of the grey scale, on average: fonts, and half a pixel of layout, are under 0.01


@pytest.fixture(scope="module")
def pictures():
    return baseline_pictures.pictures()


def baseline(name):
    return np.load(baseline_pictures.BASELINE)[name] / 255.0


@pytest.mark.parametrize("name", NAMES)
def test_the_picture_is_the_one_that_was_looked_at(name, pictures):
    found = baseline_pictures.thumbnail(pictures[name]())
    plt.close("all")
    difference = np.abs(found - baseline(name)).mean()
    assert difference < TOLERANCE, (
        f"{name} differs by {difference:.3f}: draw it, look, and make a new baseline"
    )


def test_every_picture_has_a_baseline(pictures):
    assert sorted(pictures) == NAMES


def test_the_tolerance_tells_pictures_apart():
    pairs = [(a, b) for a in NAMES for b in NAMES if a < b]
    apart = [np.abs(baseline(a) - baseline(b)).mean() for a, b in pairs]
    assert min(apart) > TOLERANCE

"""Pictures of a page: drawn by `xdelnx.plot`, and put into it as data."""

from __future__ import annotations

import base64
from collections.abc import Callable
from io import BytesIO
from typing import Any

from xdelnx.plot.markup import Html, element

DPI = 110


def picture(draw: Callable[[], Any], alt: str, caption: str = "") -> Html:
    """Draw a picture and write it as a figure with its alternative text.

    Parameters
    ----------
    draw
        Draws into a new figure and returns the Axes.
    alt
        What the picture shows, for those who do not see it.
    caption
        Beneath it; by default the alternative text.
    """
    return element("figure", image(draw, alt), element("figcaption", caption or alt))


def image(draw: Callable[[], Any], alt: str) -> Html:
    """Draw a picture and write it as an image."""
    import matplotlib as mpl

    with mpl.rc_context({"interactive": False}):
        import matplotlib.pyplot as plt

        figure = draw().get_figure(root=True)
        written = BytesIO()
        figure.savefig(written, format="png", dpi=DPI)
        width, height = figure.get_size_inches() * 96
        plt.close(figure)
    data = base64.b64encode(written.getvalue()).decode()
    return element(
        "img",
        src=f"data:image/png;base64,{data}",
        alt=alt,
        width=round(width),
        height=round(height),
    )

"""Notebooks as pages: text and code as they are, outputs and pictures as they were stored."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any


def pages(folder: Path, images: Path) -> dict[str, str]:
    """Page of every notebook in a folder; their pictures are written to another."""
    images.mkdir(parents=True, exist_ok=True)
    return {f"examples/{path.stem}.md": page(path, images) for path in sorted(folder.glob("*.ipynb"))}


def page(path: Path, images: Path) -> str:
    """One notebook in Markdown."""
    parts = []
    for number, cell in enumerate(json.loads(path.read_text(encoding="utf-8"))["cells"]):
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source.replace("](../docs/", "](../../"))
        elif source:
            parts.append(f"```python\n{source}\n```")
            parts += [
                _output(output, images / f"{path.stem}-{number}-{i}.png")
                for i, output in enumerate(cell["outputs"])
            ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _output(output: dict[str, Any], picture: Path) -> str:
    data = output.get("data", {})
    if "image/png" in data:
        picture.write_bytes(base64.b64decode(data["image/png"]))
        return f"![output of the cell above]({picture.name})"
    html = "".join(data.get("text/html", ()))
    if "<table" in html and "xr-wrap" not in html:  # of pandas: that of xarray brings a page of styles
        bare = re.sub(r"<style.*?</style>", "", html, flags=re.S)
        return "```{raw} html\n" + bare.replace('border="1" class="dataframe"', 'class="docutils"') + "\n```"
    text = "".join(output.get("text", data.get("text/plain", ())))
    return f"```text\n{text.rstrip()}\n```" if text.strip() else ""

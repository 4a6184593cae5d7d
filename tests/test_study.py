"""The calibration study: what it draws and measures, and that a tiny form of it runs, stops, and goes on."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from validation.study import __main__ as command
from validation.study import grid, measures, page, running
from validation.study.drawing import Drawn, draw
from validation.study.grid import Cell
from validation.study.methods import METHODS, Outcome

TINY = Cell("tiny", 4)


def test_names_of_cells_are_unique():
    names = [cell.name for cell in grid.GRID]
    assert len(set(names)) == len(names)


def test_draws_are_of_the_seed_and_the_cell():
    first, again, other = draw(TINY, 1), draw(TINY, 1), draw(TINY, 2)
    np.testing.assert_array_equal(first.counts, again.counts)
    assert first.counts.shape != other.counts.shape or (first.counts != other.counts).any()
    assert first.counts.any(axis=0).all()


def test_counts_are_around_what_they_should_be():
    """Fold changes between the mean counts of many samples, to a few per cent by the law of large numbers."""
    drawn = draw(replace(TINY, group=400, dispersion="flat"), 3)
    second = np.arange(800) >= 400
    scaled = drawn.counts / drawn.factors[:, None]
    observed = np.log2(scaled[second].mean(axis=0)) - np.log2(scaled[~second].mean(axis=0))
    strong = scaled.mean(axis=0) > 20
    error = (observed - drawn.lfc)[strong]
    assert abs(np.median(error)) < 0.01
    assert np.std(error) < 0.06  # sqrt(2 * (0.1 + 1 / 60) / 400) / log 2 = 0.035, more for a few genes


def test_thinning_makes_the_effect_that_is_asked_for(tmp_path):
    import pandas as pd

    rng = np.random.default_rng(0)
    lines = np.repeat(["n1", "n2", "n3", "n4"], 2)
    table = pd.DataFrame(rng.poisson(20_000, (4_000, 8)), columns=[f"s{i}" for i in range(8)])
    table.to_csv(tmp_path / "counts.csv.gz")
    pd.DataFrame({"celltype": lines}, pd.Index(table.columns, name="sample")).to_csv(tmp_path / "obs.csv")
    cell = Cell("real", 4, design="paired", model="real")
    drawn = draw(cell, 0, tmp_path)
    second = (drawn.samples["condition"] == "B").to_numpy()
    assert (drawn.samples[second]["pair"].value_counts() == 1).all()
    observed = np.log2(drawn.counts[second].sum(axis=0) / drawn.counts[~second].sum(axis=0))
    np.testing.assert_allclose(
        observed, drawn.lfc, atol=0.06
    )  # five standard errors of 80,000 counts in each group
    assert draw(replace(cell, signal="none"), 0, tmp_path).changed.sum() == 0


def test_measures_of_a_known_outcome():
    lfc = np.array([0.0, 0.0, 1.0, -2.0])
    drawn = Drawn(np.ones((2, 4), dtype=np.int32), None, "~ x", lfc, np.ones(2), np.ones(4))  # type: ignore[arg-type]
    outcome = Outcome(
        pval=np.array([0.5, 1e-9, 1e-9, np.nan]),
        seconds=1.0,
        lfc=np.array([0.0, 1.0, 1.0, np.nan]),
        low=np.array([-1.0, 0.5, 0.9, np.nan]),
        high=np.array([1.0, 1.5, 1.1, np.nan]),
        shrunken=np.array([0.0, 0.5, 1.0, np.nan]),
        s_value=np.array([0.5, 0.01, 0.01, np.nan]),
    )
    other = Outcome(pval=np.array([1e-9, 0.5, 1e-8, 0.1]), seconds=1.0)
    found = measures.measured("xdelnx", drawn, outcome, other)
    expected = {"null below 0.05": 0.5, "fdr": 0.5, "power": 0.5, "hits": 2.0, "tested": 0.75}
    expected |= {
        "error": np.sqrt(1 / 3),
        "error shrunken": np.sqrt(0.25 / 3),
        "coverage": 2 / 3,
        "false signs": 0.5,
        "shared hits": 1 / 3,
        "rank correlation": -np.sqrt(3.0) / 2.0,  # of ranks 3, 1.5, 1.5 and 1, 3, 2
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_the_ranking_is_worth_what_its_top_holds():
    """Nineteen changed genes, one that is not, one changed, then five of each: 5 % of 20 and 1 of 21 are false."""
    changed = np.repeat([True, False, True, False, True], [19, 1, 1, 5, 5])
    pval = np.linspace(1e-6, 0.9, 31)
    assert measures.power_of_ranks(pval, changed) == 20 / 25
    assert measures.power_of_ranks(pval**3, changed) == 20 / 25  # of no p-value, only of their order
    assert measures.power_of_ranks(pval[::-1], changed) == 5 / 25
    assert measures.power_of_ranks(np.where(changed, np.nan, pval), changed) == 0.0


def test_every_method_runs_and_a_second_call_does_nothing(tmp_path, monkeypatch, capsys):
    cells = [
        Cell("two", 3),
        Cell("bound", 3, signal="boundary", outliers=True),
        Cell("cells", 80, kind="cells", design="donors"),
    ]
    monkeypatch.setattr(Cell, "n_genes", property(lambda _: 150))
    monkeypatch.setitem(grid.FORMS, "small", (cells, 1))
    monkeypatch.setattr(page, "GRID", cells)
    monkeypatch.setattr(running, "run", _here)
    arguments = ["--form", "small", "--out", str(tmp_path), "--ours-alone"]
    command.main(arguments)
    results = running.read(tmp_path / "results.jsonl")
    assert {row["method"] for row in results} == set(METHODS)
    assert all(0.0 <= row["fdr"] <= 1.0 and row["tested"] > 0.5 for row in results)
    written = (tmp_path / "study.md").read_text()
    assert "## False discovery rate" in written
    with (tmp_path / "results.jsonl").open("a") as out:
        out.write('{"cell": "two", "se')  # as a run that was cut off leaves it
    command.main(arguments)
    assert len(running.read(tmp_path / "results.jsonl")) == len(results)


def _here(todo, path, workers=None):
    """Do the tasks in this process: what is patched is patched here alone."""
    with Path(path).open("a") as out:
        for task in todo:
            out.writelines(json.dumps(row) + "\n" for row in running.rows(task))


def test_a_page_without_any_signal(tmp_path, monkeypatch):
    cell = Cell("tiny, no signal", 5, signal="none")
    monkeypatch.setattr(page, "GRID", [cell])
    monkeypatch.setattr(Cell, "n_genes", property(lambda _: 150))
    found = [
        row for seed in (0, 1) for row in running.rows(running.Task(cell, (seed,), ("xdelnx",), None, None))
    ]
    page.write(found, tmp_path, {}, {})
    written = (tmp_path / "study.md").read_text()
    assert "## Fraction of the p-values" in written
    assert "## Power" not in written


def test_the_small_form_keeps_what_it_promises(tmp_path, capfd):
    """The command as it is, of minutes on one core; seeds are fixed, so that this is no matter of luck."""
    command.main(["--form", "small", "--out", str(tmp_path), "--ours-alone"])
    results = running.read(tmp_path / "results.jsonl")
    cells, sets = grid.FORMS["small"]
    wanted = {(cell.name, seed) for cell in cells for seed in range(sets)}
    assert {(row["cell"], row["seed"]) for row in results} == wanted
    promised = list(page.bars(page.summaries(results), "xdelnx invariant"))
    assert len(promised) == 11  # three bars in four cells, one of them without a rate of false discoveries
    assert all(kept for *_, kept in promised), promised
    rates = [
        row["fdr"] for row in results if (row["cell"], row["method"]) == ("5 a group composition", "xdelnx")
    ]
    assert np.mean(rates) > 0.3  # that is what it is to find
    assert "done in" in capfd.readouterr().err

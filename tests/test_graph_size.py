"""What a scheduler is sent: arrays that every block needs are in a graph once, not in the task of each block.

Of 10 million cells, numbers by sample are 80 MB, and a fit of 30,000 genes then has 600 blocks or more.
"""

import warnings

import cloudpickle
import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from xdelnx import filter_by_expression, fit, normalize, pseudobulk, rank_genes
from xdelnx.algorithms.survey import checked, join, look
from xdelnx.chunks import blocks

DOUBLE = 8  # bytes
VERBS = {
    "fit": lambda data: fit(data, "~ condition"),
    "weights": lambda data: fit(data, "~ condition", weights="one_to_two", offset="one_to_two"),
    "covariate": lambda data: fit(data, "~ condition + one_to_two"),
    "filter": filter_by_expression,
    "log-CPM": lambda data: normalize(data).compute(),
    "acosh": lambda data: normalize(data, method="acosh").compute(),
    "ranks": lambda data: rank_genes(data, "condition"),
    "pseudobulk": lambda data: pseudobulk(data, ["condition"]).compute(),
}


def bytes_sent(verb, samples, genes, blocks):
    """Bytes of the tasks of each graph that a verb has computed, pickled one by one."""
    counts = da.random.default_rng(1).poisson(5.0, (samples, genes), chunks=(samples, genes // blocks))
    columns = {"condition": np.repeat(["A", "B"], samples // 2), "one_to_two": np.linspace(1.0, 2.0, samples)}
    data = xr.Dataset(
        {"counts": (("sample", "gene"), counts)}, {k: ("sample", v) for k, v in columns.items()}
    )
    sent = []

    def get(graph, keys, **_):
        graph = dict(graph.optimize().__dask_graph__())
        sent.append(sum(len(cloudpickle.dumps(task)) for task in graph.values()))
        return dask.get(graph, keys)

    with dask.config.set(scheduler=get):
        verb(data)
    return np.array(sent)


def copies(verb, small, large):
    """How much more of what ``large`` has more of is sent for eight blocks than for two, in bytes by graph."""
    few, many = (bytes_sent(verb, *large, blocks) - bytes_sent(verb, *small, blocks) for blocks in (2, 8))
    return abs(many - few).max()


@pytest.mark.parametrize("name", VERBS)
def test_numbers_by_sample_are_sent_once(name):
    """One copy a block would be six copies more; half of one is left for the numbers of bytes that numbers take."""
    assert copies(VERBS[name], (600, 16), (1600, 16)) < 1000 * DOUBLE / 2


def test_numbers_by_gene_are_sent_once():
    """The overdispersions of all genes, of which each block of the second pass takes its own."""
    assert copies(VERBS["fit"], (20, 400), (20, 1200)) < 800 * DOUBLE / 2


# ---- what comes back of each block ------------------------------------------------------------------------


@pytest.mark.parametrize(("largest", "size"), [(3, 1), (300, 2), (70_000, 4), (2**40, 8), (0.5, 8)])
def test_totals_of_a_block_take_few_bytes(largest, size):
    """Those of a block of 10 million cells are 10 to 20 MB and not 80."""
    counts = np.zeros((50, 4), dtype=np.float64 if largest == 0.5 else np.int64)
    counts[7, 2] = largest
    assert look(counts).totals.nbytes == 50 * size


@settings(max_examples=30)
@given(st.data())
def test_totals_do_not_depend_on_blocks(data):
    """Also where they pass what the types of 8, 16 and 32 bits hold: sums of whole numbers are exact."""
    largest = data.draw(st.sampled_from([1, 200, 60_000, 2**31]))
    counts = np.random.default_rng(data.draw(st.integers(0, 99))).integers(0, largest + 1, (9, 24))
    counts = counts.astype(data.draw(st.sampled_from(["int64", "uint32", "float64"])))
    cuts = sorted(data.draw(st.lists(st.integers(1, 23), max_size=6, unique=True)))
    found = join([look(part) for part in np.split(counts, cuts, axis=1)])
    totals = checked(found, np.arange(24)).totals
    assert totals.dtype == np.float64
    assert (totals == [sum(map(int, row)) for row in counts]).all()


def test_many_samples_are_no_large_graph(monkeypatch):
    """A cluster warns where counts are sent with the graph, not where there is a number for each of many samples."""
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr(blocks, "LARGE_GRAPH_BYTES", 0)
    lazy = da.random.default_rng(1).poisson(5.0, (1000, 300), chunks=(1000, 100))
    data = xr.Dataset({"counts": (("sample", "gene"), lazy), "condition": ("sample", np.arange(1000) % 2)})
    options = {"n_workers": 1, "processes": False, "dashboard_address": ":0"}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster):
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "Sending large graph")
            there = fit(data, "~ condition")
        with pytest.warns(UserWarning, match="Sending large graph"):
            fit(data.compute(), "~ condition")
    assert (there["library_size"] == data["counts"].sum("gene").compute()).all()

"""What a scheduler is sent: arrays that every block needs are in a graph once, not in the task of each block.

Of 10 million cells, numbers by sample are 80 MB, and a fit of 30,000 genes then has 600 blocks or more.
"""

import cloudpickle
import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr

from xdelnx import filter_by_expression, fit, normalize, pseudobulk, rank_genes

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

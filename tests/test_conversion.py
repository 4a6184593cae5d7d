"""Every kind of file gives the counts that were put in, to the last one, in the memory that was said."""

import gzip
import os
import shutil
import subprocess
import sys
import tracemalloc

import anndata as ad
import dask
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io
import scipy.sparse as sp
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import xdelnx as xd
from xdelnx import XdelnxWarning, progress
from xdelnx.cli import main
from xdelnx.storage.conversion import as_bytes, convert
from xdelnx.storage.pieces import ENTRY_BYTES, Tally
from xdelnx.storage.readers.arrays import Compressed
from xdelnx.storage.spill import Spill
from xdelnx.storage.stores import open_counts, write_store

pytestmark = pytest.mark.filterwarnings("ignore:Writing zarr v2")

N, G = 30, 70


def names(prefix, size):
    return [f"{prefix}{i}" for i in range(size)]


@pytest.fixture
def counts():
    rng = np.random.default_rng(1)
    counts = rng.negative_binomial(0.3, 0.1, (N, G))
    counts[3], counts[:, 5] = 0, 0  # a sample and a gene without a count
    return counts


def anndata_of(matrix, **more):
    obs = pd.DataFrame({"batch": ["a", "b"] * (N // 2)}, index=names("s", N))
    return ad.AnnData(matrix, obs=obs, var=pd.DataFrame(index=names("g", G)), **more)


# ---------------------------------------------------------------- files of every kind


def _h5ad(matrix, folder, **more):
    path = folder / "a.h5ad"
    n_samples, n_genes = matrix.shape
    obs, var = pd.DataFrame(index=names("s", n_samples)), pd.DataFrame(index=names("g", n_genes))
    ad.AnnData(matrix, obs=obs, var=var).write_h5ad(path, **more)
    return path


def _anndata_zarr(matrix, folder):
    path = folder / "a.zarr"
    n_samples, n_genes = matrix.shape
    obs, var = pd.DataFrame(index=names("s", n_samples)), pd.DataFrame(index=names("g", n_genes))
    ad.AnnData(matrix, obs=obs, var=var).write_zarr(
        path, chunks=(2, 3) if isinstance(matrix, np.ndarray) else None
    )
    return path


def _ten_x(counts, folder, version=3):
    path = folder / "a.h5"
    matrix = sp.csc_matrix(counts.T)  # features x barcodes
    n_samples, n_genes = counts.shape
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix" if version == 3 else "GRCh38")
        group["data"], group["indices"], group["indptr"] = (
            matrix.data,
            matrix.indices.astype("i8"),
            matrix.indptr,
        )
        group["shape"], group["barcodes"] = matrix.shape, np.array(names("s", n_samples), dtype="S")
        ids, symbols = np.array(names("g", n_genes), dtype="S"), np.array(names("S", n_genes), dtype="S")
        if version == 2:
            group["genes"], group["gene_names"] = ids, symbols
        else:
            group["features/id"], group["features/name"] = ids, symbols
            group["features/feature_type"] = np.full(n_genes, b"Gene Expression")
            group["features/_all_tag_keys"] = np.array([b"genome"])
    return path


def _ten_x_2(counts, folder):
    return _ten_x(counts, folder, version=2)


def _matrix_market(counts, folder, order=None, zipped=True):
    """A folder of Cell Ranger 3, its lines in any order."""
    matrix = sp.coo_matrix(counts.T)
    order = np.arange(matrix.nnz) if order is None else order
    n_samples, n_genes = counts.shape
    lines = zip(matrix.row[order] + 1, matrix.col[order] + 1, matrix.data[order], strict=True)
    files = {
        "matrix.mtx": "%%MatrixMarket matrix coordinate integer general\n%metadata_json: {}\n"
        f"{n_genes} {n_samples} {matrix.nnz}\n" + "".join(f"{i} {j} {x}\n" for i, j, x in lines),
        "barcodes.tsv": "".join(f"{name}\n" for name in names("s", n_samples)),
        "features.tsv": "".join(f"g{i}\tS{i}\tGene Expression\n" for i in range(n_genes)),
    }
    for name, text in files.items():
        (folder / name).write_bytes(text.encode()) if not zipped else (folder / f"{name}.gz").write_bytes(
            gzip.compress(text.encode())
        )
    return folder


def _shuffled(counts, folder):
    order = np.random.default_rng(0).permutation(np.count_nonzero(counts))
    return _matrix_market(counts, folder, order, zipped=False)


def _table(counts, folder, suffix=".csv"):
    path = folder / f"a{suffix}"
    frame = pd.DataFrame(counts.T, index=names("g", counts.shape[1]), columns=names("s", counts.shape[0]))
    frame.to_csv(path, sep="\t" if "tsv" in suffix else ",")
    return path


def _labelled(dims, counts):
    coords = {
        dim: np.array(names(dim[0], size), dtype=object) for dim, size in zip(dims, counts.shape, strict=True)
    }
    return xr.Dataset({"counts": (dims, counts)}, coords)


def _store(counts, folder, chunks=(7, 11)):
    path = folder / "x.zarr"
    _labelled(("sample", "gene"), counts).to_zarr(path, encoding={"counts": {"chunks": chunks}})
    return path


def _sharded(counts, folder):
    path = folder / "x.zarr"
    data = _labelled(("gene", "sample"), counts.T)
    data.to_zarr(path, encoding={"counts": {"chunks": (2, 3), "shards": (4, 6)}})
    return path


FILES = {
    "h5ad csr": lambda x, f: _h5ad(sp.csr_matrix(x.astype("f4")), f),
    "h5ad csr gzip": lambda x, f: _h5ad(sp.csr_matrix(x), f, compression="gzip"),
    "h5ad csc": lambda x, f: _h5ad(sp.csc_matrix(x.astype("i4")), f),
    "h5ad dense": lambda x, f: _h5ad(x.astype("f8"), f),
    "h5ad dense in chunks": lambda x, f: _h5ad(x.astype("f4"), f, compression="gzip"),
    "zarr csr": lambda x, f: _anndata_zarr(sp.csr_matrix(x), f),
    "zarr csc": lambda x, f: _anndata_zarr(sp.csc_matrix(x), f),
    "zarr dense": lambda x, f: _anndata_zarr(x.astype("f4"), f),
    "10x": _ten_x,
    "10x version 2": _ten_x_2,
    "Matrix Market": _matrix_market,
    "Matrix Market in any order": _shuffled,
    "csv": _table,
    "tsv.gz": lambda x, f: _table(x, f, ".tsv.gz"),
    "xarray": _store,
    "xarray by gene": lambda x, f: _store(x, f, (x.shape[0], 3)),
    "xarray in shards": _sharded,
    "AnnData": lambda x, f: ad.AnnData(
        sp.csr_matrix(x),
        obs=pd.DataFrame(index=names("s", x.shape[0])),
        var=pd.DataFrame(index=names("g", x.shape[1])),
    ),
}


@pytest.mark.parametrize("memory", ["1GB", 60 * ENTRY_BYTES])
@pytest.mark.parametrize("kind", FILES)
def test_every_file_gives_its_counts(kind, memory, counts, tmp_path):
    """Also in pieces of at most 60 counts, fewer than most genes and some samples have."""
    folder = tmp_path / "in"
    folder.mkdir()
    source = FILES[kind](counts, folder)
    found = convert(source, tmp_path / "out.zarr", memory=memory)
    np.testing.assert_array_equal(found["counts"], counts)
    assert found["counts"].dtype == np.uint8
    assert found["counts"].chunks == ((N,), (5,) * 14)  # all samples of a sixteenth of the genes
    assert list(found["sample"].values) == names("s", N)
    assert list(found["gene"].values) == names("g", G)
    assert sorted(os.listdir(tmp_path)) == ["in", "out.zarr"]


@st.composite
def matrices(draw):
    """Sparse counts of any size up to 300 million, with empty rows and columns among them."""
    n_samples, n_genes = draw(st.integers(1, 12)), draw(st.integers(1, 40))
    seed, density = draw(st.integers(0, 1000)), draw(st.sampled_from([0.02, 0.2, 1.0]))
    largest = draw(st.sampled_from([1, 255, 256, 65_535, 65_536, 300_000_000]))
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, largest, (n_samples, n_genes), endpoint=True)
    counts *= rng.random((n_samples, n_genes)) < density
    counts[draw(st.integers(0, n_samples - 1)), draw(st.integers(0, n_genes - 1))] = largest
    return counts, largest


@pytest.mark.parametrize(
    "kind", ["h5ad csr", "h5ad csc", "zarr dense", "10x", "Matrix Market in any order", "csv", "xarray"]
)
@given(matrix=matrices(), entries=st.integers(1, 200))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_matrix_in_any_pieces(kind, tmp_path, matrix, entries):
    counts, largest = matrix
    if kind in ("h5ad csr", "zarr dense"):  # which are of 32-bit floating point
        counts = counts.astype("f4").astype("i8")
    for name in ("in", "out.zarr"):
        shutil.rmtree(tmp_path / name, ignore_errors=True)
    (tmp_path / "in").mkdir()
    found = convert(FILES[kind](counts, tmp_path / "in"), tmp_path / "out.zarr", memory=entries * ENTRY_BYTES)
    np.testing.assert_array_equal(found["counts"], counts)
    assert found["counts"].dtype == np.min_scalar_type(largest)


# ---------------------------------------------------------------- sparse matrices that are not tidy


def _raw_csr(folder, data, indices, indptr, shape=(3, 4), kind="csr_matrix"):
    path = _h5ad(sp.csr_matrix(shape, dtype="f4"), folder)
    with h5py.File(path, "r+") as file:
        for name, values in (("data", data), ("indices", indices), ("indptr", indptr)):
            del file["X"][name]
            file["X"][name] = values
        file["X"].attrs["encoding-type"] = kind
    return path


@pytest.mark.parametrize("entries", [1, 100])
@pytest.mark.parametrize("dtype", ["u1", "f4", "f2", ">i4", "i8"])
def test_unsorted_repeated_and_zero_entries(tmp_path, entries, dtype):
    """Repeated entries are added up in a type that holds the sum, as SciPy does with wide types."""
    data = np.array([200, 100, 3, 0, 250, 250], dtype=dtype)
    indices, indptr = [3, 3, 0, 1, 2, 2], [0, 3, 4, 6]
    path = _raw_csr(tmp_path, data, np.array(indices, dtype="i8"), np.array(indptr, dtype="i4"))
    found = convert(path, tmp_path / "x.zarr", memory=entries * ENTRY_BYTES)["counts"]
    expected = sp.csr_array((data.astype("i8"), indices, indptr), shape=(3, 4)).toarray()
    assert expected.max() == 500
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.uint16


@pytest.mark.parametrize("entries", [1, 3, 100])
def test_lines_that_stand_twice_are_added_up(tmp_path, entries):
    """Also if they are read apart from each other."""
    lines = "2 3 5\n1 1 200\n2 2 1\n1 1 100\n1 2 0\n"
    (tmp_path / "matrix.mtx").write_text(f"%%MatrixMarket matrix coordinate integer general\n2 3 5\n{lines}")
    (tmp_path / "barcodes.tsv").write_text("a\nb\nc\n")
    (tmp_path / "genes.tsv").write_text("g\tG\nh\tH\n")
    found = convert(tmp_path / "matrix.mtx", tmp_path / "x.zarr", memory=entries * 3 * ENTRY_BYTES)
    expected = scipy.io.mmread(tmp_path / "matrix.mtx", spmatrix=False).toarray().T
    np.testing.assert_array_equal(found["counts"], expected)
    assert found["counts"].dtype == np.uint16
    assert list(found["name"].values) == ["G", "H"]


def test_the_users_arrays_stay_as_they_are(tmp_path):
    matrix = sp.csc_matrix(([1.0, 2.0, 3.0], [1, 0, 0], [0, 3, 3]), shape=(2, 2))
    before = [getattr(matrix, name).copy() for name in ("data", "indices", "indptr")]
    adata = ad.AnnData(matrix)
    found = convert(adata, tmp_path / "x.zarr")["counts"]
    np.testing.assert_array_equal(found, [[5, 0], [1, 0]])
    for name, array in zip(("data", "indices", "indptr"), before, strict=True):
        np.testing.assert_array_equal(getattr(adata.X, name), array)


class _Far:
    """Entries of which only those from a place on exist, as in a file with more than 2^31 of them."""

    def __init__(self, start, values):
        self.start, self.values = start, np.asarray(values)
        self.dtype, self.shape = self.values.dtype, (start + len(values),)

    def __getitem__(self, part):
        assert part.start >= self.start
        return self.values[part.start - self.start : part.stop - self.start]


def test_places_beyond_32_bits():
    start = 2**31 + 5
    indptr = np.array([0, start, start + 2, start + 3])
    matrix = Compressed(
        _Far(start, [7, 9, 300]), _Far(start, [2, 0, 1]), indptr, (3, 3), by_sample=True, where="X"
    )
    piece = matrix._piece(1, 3, 1.0)
    np.testing.assert_array_equal(piece.columns.toarray(), [[0, 0, 0], [9, 0, 7], [0, 300, 0]])


def test_fractions_in_some_pieces(tmp_path):
    """The type is that of the source as soon as one count is a fraction, wherever it stands."""
    counts = np.ones((20, 6), dtype="f4")
    counts[7, 2] = 70.5
    found = convert(ad.AnnData(sp.csr_matrix(counts)), tmp_path / "x.zarr", memory=6 * ENTRY_BYTES)["counts"]
    np.testing.assert_array_equal(found, counts)
    assert found.dtype == np.float32


# ---------------------------------------------------------------- in bounded memory


def test_memory_is_bounded(tmp_path):
    """CSR of 2.4 million entries, whose transpose in memory takes 48 MB at least, with 6 MB.

    Beside them there are the places of the samples (8 bytes for each), the names of 20,000 samples and 1,200 genes,
    and two blocks of 75 genes, 1.5 MB each, in up to four copies: 12 MB. NumPy tells tracemalloc of its arrays.
    """
    rng = np.random.default_rng(0)
    n_samples, n_genes, per_sample = 20_000, 1_200, 120
    indices = np.sort(rng.integers(0, n_genes, (n_samples, per_sample)), axis=1)  # some stand twice
    data = rng.integers(1, 3, indices.size).astype("f4")
    indptr = np.arange(n_samples + 1) * per_sample
    path = _raw_csr(tmp_path, data, indices.ravel(), indptr, shape=(n_samples, n_genes))
    convert(path, tmp_path / "first.zarr")  # loads and compiles
    peaks = {}
    for memory in ("6MB", "1GB"):
        tracemalloc.start()
        found = convert(path, tmp_path / "x.zarr", memory=memory, overwrite=True)
        peaks[memory] = tracemalloc.get_traced_memory()[1] / 1e6
        tracemalloc.stop()
    assert peaks["6MB"] < 25
    assert peaks["1GB"] > 48  # so that the bound is one
    expected = sp.csr_array((data, indices.ravel(), indptr), shape=(n_samples, n_genes))
    np.testing.assert_array_equal(found["counts"].sum("sample", dtype="i8"), expected.sum(axis=0))
    np.testing.assert_array_equal(found["counts"].sum("gene", dtype="i8"), expected.sum(axis=1))
    np.testing.assert_array_equal(found["counts"][5000], expected[[5000]].toarray()[0])


@pytest.mark.stress
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="Linux tells the memory of a process")
def test_memory_of_the_whole_process(tmp_path):
    """50 million entries, 0.4 GB as CSR and 4 GB as a dense array: 0.5 GB and --memory, seen from outside."""
    rng = np.random.default_rng(0)
    n_samples, n_genes, per_sample = 100_000, 10_000, 500
    steps = rng.integers(1, 2 * n_genes // per_sample, (n_samples, per_sample), dtype="i4")
    indices = np.cumsum(steps, axis=1, dtype="i4") % n_genes
    data = rng.integers(1, 4, indices.size).astype("f4")
    indptr = np.arange(n_samples + 1) * per_sample
    path = _raw_csr(tmp_path, data, indices.ravel(), indptr, shape=(n_samples, n_genes))
    by_gene = np.bincount(indices.ravel(), weights=data, minlength=n_genes)
    code = (
        "import sys; from xdelnx.cli import main; status = main(sys.argv[1:]); "
        "print(*[line.split()[1] for line in open('/proc/self/status') if 'VmHWM' in line]); sys.exit(status)"
    )
    words = ["convert", str(path), str(tmp_path / "x.zarr"), "--memory", "200MB"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    peak = int(done.stdout) / 1e6
    print(f"peak resident memory {peak:.2f} GB")
    assert peak < 0.7
    np.testing.assert_array_equal(
        open_counts(tmp_path / "x.zarr")["counts"].sum("sample", dtype="i8"), by_gene
    )


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("2GB", 2e9),
        ("1.5 gb", 1.5e9),
        ("64k", 64e3),
        ("3MiB", 3 * 2**20),
        (5000, 5000),
        ("12", 12),
        ("7B", 7),
    ],
)
def test_amounts_of_memory(words, expected):
    assert as_bytes(words) == expected


# ---------------------------------------------------------------- what comes along


def test_layers_and_raw(counts, tmp_path):
    rng = np.random.default_rng(2)
    layers = {
        "spliced": sp.csr_matrix(counts // 2),
        "scaled": rng.normal(size=(N, G)),
        "big": sp.csc_matrix(counts * 1000),
    }
    whole = anndata_of(sp.csr_matrix(counts * 3))
    adata = whole[:, :50].copy()
    adata.raw = whole
    for name, layer in layers.items():
        adata.layers[name] = layer[:, :50]
    adata.write_h5ad(tmp_path / "a.h5ad")
    adata.write_zarr(tmp_path / "a.zarr")
    for source in (adata, tmp_path / "a.h5ad", tmp_path / "a.zarr"):
        found = convert(
            source, tmp_path / "x.zarr", layer="big", layers=["spliced", "scaled"], overwrite=True
        )
        np.testing.assert_array_equal(found["counts"], 1000 * counts[:, :50])
        np.testing.assert_array_equal(found["spliced"], counts[:, :50] // 2)
        np.testing.assert_array_equal(found["scaled"], layers["scaled"][:, :50])
        assert found["spliced"].dtype == np.uint8
        assert found["scaled"].dtype == np.float64
        found = convert(source, tmp_path / "x.zarr", raw=True, overwrite=True)
        np.testing.assert_array_equal(found["counts"], 3 * counts)
        assert found.sizes["gene"] == G
        assert list(found["batch"].values[:2]) == ["a", "b"]


def test_a_store_is_carried_whole(counts, tmp_path):
    """Everything but the chunks: metadata with its attributes, further variables of samples and genes."""
    ds = xd.simulate(12, 40, n_batches=2, seed=3).rename(counts="umis")
    ds["offset"] = ds["umis"] * 0.25 - 1.0
    ds = ds.assign_attrs(title="mine").transpose("gene", "sample")
    ds.to_zarr(tmp_path / "a.zarr", encoding={name: {"chunks": (9, 5)} for name in ("umis", "offset")})
    found = convert(tmp_path / "a.zarr", tmp_path / "x.zarr", layer="umis").load()
    expected = ds.rename(umis="counts").transpose("sample", "gene")
    xr.testing.assert_equal(found, expected)
    assert found.attrs["title"] == "mine"
    assert found["batch"].attrs == ds["batch"].attrs
    again = convert(tmp_path / "x.zarr", tmp_path / "y.zarr", layers=["offset"]).load()
    xr.testing.assert_identical(again, found)


def test_features_of_ten_x(counts, tmp_path):
    path = _ten_x(counts, tmp_path)
    with h5py.File(path, "r+") as file:
        kinds = file["matrix/features/feature_type"][:].astype("S30")
        kinds[-3:] = b"Antibody Capture"
        del file["matrix/features/feature_type"]
        file["matrix/features/feature_type"] = kinds
        file["matrix/features/genome"] = np.full(G, b"GRCh38")
    with pytest.warns(
        XdelnxWarning, match="several types: Gene Expression .67 features., Antibody Capture .3"
    ) as caught:
        found = convert(path, tmp_path / "x.zarr")
    assert caught[0].filename == __file__
    assert list(found["name"].values) == names("S", G)
    assert list(found["genome"].values) == ["GRCh38"] * G
    genes = found.sel(gene=found["feature_type"] == "Gene Expression")  # as the warning says
    np.testing.assert_array_equal(genes["counts"], counts[:, :-3])


def test_metadata_beside_a_matrix(counts, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    _matrix_market(counts, folder)
    obs = pd.DataFrame({"ko": np.arange(N) % 2 == 0}, index=names("s", N)).iloc[::-1]
    genes = pd.DataFrame({"length": np.arange(G)}, index=names("g", G)).iloc[::-1]
    genes.to_csv(tmp_path / "genes.csv")
    found = convert(folder, tmp_path / "x.zarr", samples=obs, genes=tmp_path / "genes.csv")
    np.testing.assert_array_equal(found["counts"], counts)
    np.testing.assert_array_equal(found["ko"], np.arange(N) % 2 == 0)
    np.testing.assert_array_equal(found["length"], np.arange(G))
    assert list(found["feature_type"].values) == ["Gene Expression"] * G


@pytest.mark.parametrize("turned", [False, True])
def test_a_matrix_with_given_names(counts, tmp_path, turned):
    """What lies in rows is told by the numbers of names; real numbers and comments are read, too."""
    matrix = sp.coo_matrix(counts if turned else counts.T).astype(float)
    scipy.io.mmwrite(tmp_path / "m.mtx", matrix, comment="made\nhere", field="real")
    obs, var = pd.DataFrame({"x": range(N)}, index=names("s", N)), pd.DataFrame(index=names("g", G))
    found = convert(tmp_path / "m.mtx", tmp_path / "x.zarr", samples=obs, genes=var, memory=99 * ENTRY_BYTES)
    np.testing.assert_array_equal(found["counts"], counts)
    np.testing.assert_array_equal(found["x"], range(N))
    assert list(found["gene"].values) == names("g", G)


def test_names_beside_a_matrix_with_a_prefix(counts, tmp_path):
    _matrix_market(counts, tmp_path)
    for name in ("matrix.mtx.gz", "barcodes.tsv.gz", "features.tsv.gz"):
        (tmp_path / name).rename(tmp_path / f"GSM1_{name}")
    found = convert(tmp_path / "GSM1_matrix.mtx.gz", tmp_path / "x.zarr")
    np.testing.assert_array_equal(found["counts"], counts)


def test_metadata_of_genes_in_a_table(counts, tmp_path):
    path = _table(counts, tmp_path)
    about = pd.DataFrame({"length": [5.0] * G}, index=names("g", G)).iloc[::-1]
    found = convert(path, tmp_path / "x.zarr", genes=about)
    np.testing.assert_array_equal(found["length"], [5.0] * G)
    frame = pd.DataFrame(counts.T, index=names("g", G), columns=names("s", N)).astype("Int64")
    np.testing.assert_array_equal(convert(frame, tmp_path / "y.zarr")["counts"], counts)


def test_large_counts_can_be_fitted(tmp_path):
    """Unsigned integers of every size: a fit of them is that of the same numbers in floating point."""
    for largest in (200, 60_000, 3_000_000_000):
        rng = np.random.default_rng(largest)
        counts = np.r_[rng.poisson(20, (1, 40)), rng.poisson(5, (9, 40))] * (largest // 60)
        ds = convert(
            pd.DataFrame(counts.T, index=names("g", 40), columns=names("s", 10)), tmp_path / f"{largest}.zarr"
        )
        assert ds["counts"].dtype == np.min_scalar_type(counts.max())
        ds["x"] = "sample", [0.0, 1.0] * 5
        same = ds.assign(counts=ds["counts"].astype(float))
        # the same numbers, summed in the same order
        xr.testing.assert_allclose(xd.fit(ds, "~ x")["pval"], xd.fit(same, "~ x")["pval"], rtol=1e-9)


@pytest.mark.parametrize("scheduler", ["synchronous", "processes"])
def test_schedulers(scheduler, counts, tmp_path):
    with dask.config.set(scheduler=scheduler):
        found = convert(anndata_of(sp.csr_matrix(counts)), tmp_path / "x.zarr", memory=500 * ENTRY_BYTES)
    np.testing.assert_array_equal(found["counts"].compute(scheduler="synchronous"), counts)


# ---------------------------------------------------------------- files that are damaged, and other mistakes


def _with(change):
    """A change of an h5ad."""

    def damaged(counts, folder):
        path = _h5ad(sp.csr_matrix(counts.astype("f4")), folder, compression="gzip")
        with h5py.File(path, "r+") as file:
            change(file)
        return path

    return damaged


def _set(name, values):
    def change(file):
        del file[name]
        file[name] = values(file) if callable(values) else values

    return _with(change)


def _put(name, place, value):
    def change(file):
        file[name][place] = value

    return _with(change)


def _cut(make, name, share=0.6):
    def damaged(counts, folder):
        path = make(counts, folder)
        path = path / name if name else path
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
        return folder if name else path

    return damaged


def _corrupt_chunk(counts, folder):
    path = _h5ad(sp.csr_matrix(counts.astype("f4")), folder, compression="gzip")
    with h5py.File(path) as file:
        chunk = file["X/indices"].id.get_chunk_info(0)
    text = bytearray(path.read_bytes())
    text[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(chunk.size)
    path.write_bytes(text)
    return path


def _mtx(text, header="2 3 2"):
    def made(counts, folder):
        (folder / "matrix.mtx").write_text(
            f"%%MatrixMarket matrix coordinate integer general\n{header}\n{text}"
        )
        (folder / "barcodes.tsv").write_text("a\nb\nc\n")
        (folder / "genes.tsv").write_text("g\tG\nh\tH\n")
        return folder

    return made


def _mtx_header(line, size="2 3 2"):
    def made(counts, folder):
        folder = _mtx("1 1 1\n2 2 2\n", size)(counts, folder)
        text = (folder / "matrix.mtx").read_text().splitlines()
        (folder / "matrix.mtx").write_text("\n".join([line, *text[1:]]))
        return folder

    return made


def _text(name, text):
    def made(counts, folder):
        (folder / name).write_bytes(text)
        return folder / name

    return made


def _two_genomes(counts, folder):
    path = _ten_x_2(counts, folder)
    with h5py.File(path, "r+") as file:
        file.copy("GRCh38", "mm10")
    return path


def _no_names(counts, folder):
    _matrix_market(counts, folder)
    (folder / "barcodes.tsv.gz").unlink()
    return folder


def _too_few_names(counts, folder):
    _matrix_market(counts, folder)
    (folder / "barcodes.tsv.gz").write_bytes(gzip.compress(b"a\nb\n"))
    return folder


def _hdf5(counts, folder):
    with h5py.File(folder / "a.h5", "w") as file:
        file["x"] = 1
    return folder / "a.h5"


def _text_store(counts, folder):
    xr.Dataset({"counts": (("sample", "gene"), np.full((2, 2), "x", dtype=object))}).to_zarr(
        folder / "x.zarr"
    )
    return folder / "x.zarr"


def _zarr_chunk(array, change):
    """An AnnData in Zarr with a chunk of one of its arrays changed."""

    def damaged(counts, folder):
        path = FILES["zarr csr"](counts, folder)
        (chunk,) = (
            file
            for file in (path / array).rglob("*")
            if file.is_file() and not file.name.startswith((".z", "zarr."))
        )
        change(chunk)
        return path

    return damaged


SMALL = {"memory": 60 * ENTRY_BYTES}
BAD = {
    "index too large": (
        _put("X/indices", 40, G + 3),
        {},
        ValueError,
        rf"sample \d+ .from 0. has a count of gene {G + 3}, and there are {G}$",
    ),
    "index negative": (_put("X/indices", 40, -1), SMALL, ValueError, "has a count of gene -1, and there are"),
    "places fall": (
        _put("X/indptr", 4, 9999),
        {},
        ValueError,
        "X is damaged or not complete: the places where its samples begin do not rise",
    ),
    "places do not begin at 0": (_put("X/indptr", 0, 1), {}, ValueError, "do not rise from 0"),
    "places too few": (
        _set("X/indptr", np.array([0, 1])),
        {},
        ValueError,
        "it has 30 samples and 2 places where they begin",
    ),
    "entries lost": (
        _set("X/data", np.ones(5, "f4")),
        {},
        ValueError,
        r"it should have [\d,]+ entries and has 5$",
    ),
    "no indices": (
        _with(lambda f: f["X"].pop("indices")),
        {},
        ValueError,
        "a.h5ad: X is damaged: it has no indices",
    ),
    "text": (
        _set("X/data", lambda f: np.full(f["X/indices"].shape, b"a")),
        {},
        TypeError,
        r"X holds values of the type \|S1, and counts are real numbers",
    ),
    "names lost": (
        _with(lambda f: f.pop("var")),
        {},
        ValueError,
        "neither of AnnData nor of 10x: it has X, ",
    ),
    "NaN": (
        _put("X/data", [40, 41], np.nan),
        SMALL,
        ValueError,
        r"NaN or infinite counts: 2, in \d genes? \(",
    ),
    "infinite": (_put("X/data", 40, np.inf), {}, ValueError, r"NaN or infinite counts: 1, in 1 gene \("),
    "negative": (
        _put("X/data", 40, -2),
        SMALL,
        ValueError,
        r"negative counts: 1, in 1 gene \(g\d+\); pass raw counts",
    ),
    "every count zero": (
        lambda x, f: _h5ad(sp.csr_matrix(x * 0.0), f),
        {},
        ValueError,
        "every count of the 70 genes is zero",
    ),
    "h5ad cut": (
        _cut(FILES["h5ad csr"], ""),
        {},
        OSError,
        "a.h5ad cannot be read, so the file is damaged or not complete; copy it again",
    ),
    "empty h5ad": (_text("a.h5ad", b""), {}, ValueError, "a.h5ad is empty: was it copied in full"),
    "no HDF5": (
        _text("a.h5ad", b"<html>"),
        {},
        ValueError,
        "a.h5ad is no HDF5 file, as those of AnnData and 10x are",
    ),
    "one column": (
        _text("a.csv", b"gene\ng1\n"),
        {},
        ValueError,
        "a.csv has one column; a table of counts has",
    ),
    "semicolons": (
        _text("a.csv", b"gene;s1;s2\ng1;1;2\n"),
        {},
        ValueError,
        r"a.csv has semicolons between its columns, where a .csv has commas; save it with these",
    ),
    "workbook": (
        _text("a.csv", b"PK\x03\x04\x14\x00\xb2"),
        {},
        ValueError,
        r"a.csv is an Excel workbook, whatever its name says; save it in Excel as CSV",
    ),
    "tabs": (
        _text("a.csv", b"gene\ts1\ng1\t1\n"),
        {},
        ValueError,
        r"has tabs between .* name it by what it has",
    ),
    "10x cut": (_cut(_ten_x, ""), {}, OSError, "a.h5 cannot be read, so the file is damaged or not complete"),
    "chunk corrupt": (
        _corrupt_chunk,
        {},
        OSError,
        "a.h5ad: X, samples 0 to 29, cannot be read, so the file is damaged",
    ),
    "zarr chunk lost": (
        _zarr_chunk("X/indices", os.unlink),
        {},
        ValueError,
        "a.zarr: X/indices is not complete: it has 0 of its 1 chunks; copy it again",
    ),
    "zarr chunk cut": (
        _zarr_chunk("X/data", lambda chunk: os.truncate(chunk, 40)),
        {},
        OSError,
        "a.zarr: X, samples 0 to 29, cannot be read, so the file is damaged or not complete",
    ),
    "shape": (
        _with(lambda f: f["X"].attrs.modify("shape", [N, G + 1])),
        {},
        ValueError,
        "has 30 samples x 71 genes, and there are names of 30 and 70",
    ),
    "mtx.gz cut": (
        _cut(_matrix_market, "matrix.mtx.gz"),
        {},
        OSError,
        "matrix.mtx.gz cannot be read, so it is damaged or not complete; copy it again",
    ),
    "mtx cut": (
        _mtx("1 1 1\n"),
        {},
        ValueError,
        "matrix.mtx has 1 counts, and its header announces 2; it is not complete",
    ),
    "mtx without counts": (_mtx(""), {}, ValueError, "has 0 counts, and its header announces 2"),
    "mtx too long": (
        _mtx("1 1 1\n2 2 1\n2 3 1\n"),
        {},
        ValueError,
        "has 3 counts, and its header announces 2",
    ),
    "mtx row": (
        _mtx("1 1 1\n3 2 1\n"),
        {},
        ValueError,
        "matrix.mtx, line 4: expected a row from 1 to 2, a column from 1 to 3 and a count, received '3 2 1'",
    ),
    "mtx row 0": (
        _mtx("0 1 1\n1 2 1\n"),
        {"memory": ENTRY_BYTES},
        ValueError,
        "line 3: expected a row from 1 to 2",
    ),
    "mtx words": (
        _mtx("1 1 1\n1 x 1\n"),
        {"memory": ENTRY_BYTES},
        ValueError,
        "line 4: expected .*, received '1 x 1'",
    ),
    "mtx half a line": (_mtx("1 1 1\n2 2"), {}, ValueError, "line 4: .*, received '2"),
    "mtx four numbers": (_mtx("1 1 1\n2 2 1 1\n"), {}, ValueError, "line 4: .*, received '2"),
    "mtx negative": (_mtx("1 1 1\n2 2 -1\n"), {}, ValueError, r"negative counts: 1, in 1 gene \(h\)"),
    "mtx sizes": (
        _mtx_header("%%MatrixMarket matrix coordinate integer general", "2 3"),
        {},
        ValueError,
        "line 2: expected numbers of rows, columns and counts, received '2 3'",
    ),
    "mtx dense": (
        _mtx_header("%%MatrixMarket matrix array integer general"),
        {},
        ValueError,
        "holds a matrix that is array integer general; counts are coordinate",
    ),
    "mtx symmetric": (
        _mtx_header("%%MatrixMarket matrix coordinate real symmetric"),
        {},
        ValueError,
        "coordinate real symmetric; counts are",
    ),
    "mtx that is none": (_mtx_header("1 2 3"), {}, ValueError, "does not begin with the line %%MatrixMarket"),
    "mtx without names": (
        _no_names,
        {},
        ValueError,
        "no names of samples beside .*: it needs barcodes.tsv .also .gz. in its folder, or samples=, a table",
    ),
    "mtx names too few": (
        _too_few_names,
        {},
        ValueError,
        "has 70 rows and 30 columns, and there are names of 70 genes and 2 samples",
    ),
    "csv.gz cut": (
        _cut(lambda x, f: _table(x, f, ".csv.gz"), ""),
        {},
        OSError,
        "a.csv.gz cannot be read, so it is damaged or not complete",
    ),
    "csv row too long": (
        _text("c.csv", b",s,t\ng,1,2\nh,3,4\ni,1,2,3\n"),
        {},
        ValueError,
        "c.csv is no table, or is damaged: .*Expected 3 fields in line 4, saw 4",
    ),
    "csv not text": (_text("c.csv", b",s,t\ng,1,\xff\xfe\n"), {}, OSError, "c.csv cannot be read"),
    "csv negative": (
        _text("c.csv", b",s,t\ng,1,2\nh,3,-4\n"),
        {"memory": 1},
        ValueError,
        r"negative counts: 1, in 1 gene \(h\)",
    ),
    "two genomes": (
        _two_genomes,
        {},
        ValueError,
        "a.h5 has matrices of several genomes .GRCh38, mm10.; write each to a file",
    ),
    "other HDF5": (
        _hdf5,
        {},
        ValueError,
        "a.h5 is an HDF5 file, but neither of AnnData nor of 10x: it has x",
    ),
    "store of text": (_text_store, {}, TypeError, "counts holds values of the type"),
    "folder": (
        lambda x, f: f,
        {},
        ValueError,
        "in is not a Zarr store that can be read; known are AnnData",
    ),
    "other file": (
        _text("notes.doc", b"x"),
        {},
        ValueError,
        "cannot convert .*notes.doc; known are AnnData .* 10x .* Matrix Market .* tables",
    ),
    "empty file": (_text("c.csv", b""), {}, ValueError, "c.csv is empty"),
    "no such layer": (
        FILES["h5ad csr"],
        {"layers": ["umi"]},
        ValueError,
        "the AnnData has no layer 'umi'; it has none",
    ),
    "layer twice": (
        FILES["h5ad csr"],
        {"layer": "a", "layers": ["a"]},
        ValueError,
        "layers names a twice, or what layer= names",
    ),
    "layer of a reserved name": (
        FILES["h5ad csr"],
        {"layers": ["gene"]},
        ValueError,
        "layers= cannot carry gene, a name that the store needs",
    ),
    "no raw": (FILES["h5ad csr"], {"raw": True}, ValueError, "the AnnData has no .raw; leave out raw"),
    "raw and a layer": (
        FILES["h5ad csr"],
        {"raw": True, "layer": "a"},
        ValueError,
        "raw takes the counts of .raw, with genes of its own",
    ),
    "raw of 10x": (
        _ten_x,
        {"raw": True},
        ValueError,
        "raw=True is for an AnnData; a 10x file has one matrix",
    ),
    "raw of a table": (
        _table,
        {"raw": True},
        ValueError,
        "raw=True is for an AnnData; a table of counts has one matrix",
    ),
    "layer of 10x": (
        _ten_x,
        {"layer": "a"},
        ValueError,
        "layer='a' names a layer of an AnnData; a 10x file has one",
    ),
    "layer of Matrix Market": (
        _matrix_market,
        {"layer": "a"},
        ValueError,
        "a Matrix Market file has one matrix",
    ),
    "samples of a store": (
        _store,
        {"samples": "o.csv"},
        ValueError,
        "samples='o.csv' is for tables of counts; a store",
    ),
    "genes of AnnData": (
        FILES["h5ad csr"],
        {"genes": pd.DataFrame()},
        ValueError,
        "genes= is for tables of counts; an AnnData has its own in .var",
    ),
    "variable of a store": (
        _store,
        {"layer": "Counts"},
        ValueError,
        "x.zarr has no variable 'Counts'; did you mean 'counts'",
    ),
    "genes of other names": (
        _table,
        {"genes": pd.DataFrame({"x": [1]}, index=["y"])},
        ValueError,
        "70 of the 70 genes in the table of counts are not in the table of genes: g0, ",
    ),
    "memory": (
        _table,
        {"memory": "lots"},
        ValueError,
        "memory='lots' is no amount of memory; give bytes, or words such as '2GB'",
    ),
    "memory of 0": (_table, {"memory": 0}, ValueError, "memory=0 is no amount of memory"),
    "memory of two points": (_table, {"memory": "1.2.3GB"}, ValueError, "is no amount of memory"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_named_and_leave_nothing(case, counts, tmp_path):
    make, options, error, message = BAD[case]
    (tmp_path / "in").mkdir()
    source = make(counts, tmp_path / "in")
    with pytest.raises(error, match=message):
        convert(source, tmp_path / "x.zarr", **options)
    assert os.listdir(tmp_path) == ["in"]


def _raising(error):
    def fail(*args, **kwargs):
        raise error

    return fail


@pytest.mark.parametrize(
    ("step", "error"), [("add", KeyboardInterrupt()), ("block", OSError(28, "No space left on device"))]
)
def test_a_failure_on_the_way_leaves_the_old_store(counts, tmp_path, monkeypatch, step, error):
    """An interrupt while pieces are put away, and a full disk while blocks are written."""
    write_store(xd.simulate(4, 10), tmp_path / "x.zarr")
    before = open_counts(tmp_path / "x.zarr").load()
    monkeypatch.setattr(Spill, step, _raising(error))
    with pytest.raises(type(error)):
        convert(anndata_of(sp.csr_matrix(counts)), tmp_path / "x.zarr", overwrite=True)
    assert os.listdir(tmp_path) == ["x.zarr"]
    xr.testing.assert_identical(open_counts(tmp_path / "x.zarr").load(), before)


# ---------------------------------------------------------------- on the command line


def test_options_of_the_command(counts, tmp_path, capsys):
    adata = anndata_of(sp.csr_matrix(counts), layers={"a": counts * 2, "b": counts * 3})
    adata.write_h5ad(tmp_path / "a.h5ad")
    words = ["convert", str(tmp_path / "a.h5ad"), str(tmp_path / "x.zarr"), "--memory", "3kB"]
    assert main([*words, "--layers", "a", "--layers", "b"]) == 0
    found = open_counts(tmp_path / "x.zarr")
    np.testing.assert_array_equal(found["b"], counts * 3)
    np.testing.assert_array_equal(found["a"], counts * 2)
    capsys.readouterr()
    assert main([*words[:3], "--memory", "some", "--overwrite"]) == 1
    assert "error: memory='some' is no amount of memory" in capsys.readouterr().err


def test_parts_are_counted(counts, tmp_path, monkeypatch):
    """Of the input as it is read, and blocks of genes as they are written."""
    seen = []

    class Screen(progress.Log):
        def close(self, what, elapsed):
            seen.append("closed")

    monkeypatch.setattr(progress, "_screen", lambda wanted: Screen(sys.stderr))
    tally = Tally.add

    def add(self, piece):
        tally(self, piece)
        stage = progress._OPEN.get().stage
        seen.append((stage.what, stage.total, stage.done))

    monkeypatch.setattr(Tally, "add", add)
    convert(anndata_of(sp.csr_matrix(counts)), tmp_path / "x.zarr", memory=60 * ENTRY_BYTES)
    *steps, last = seen
    assert last == "closed"
    assert {what for what, _, _ in steps} == {"reading"}
    done = [part for _, _, part in steps]
    assert len(done) > 3
    assert done == sorted(done)
    assert 50 < done[-1] < 100  # before the last piece was counted
    assert steps[-1][1] == 100


def test_a_killed_conversion_can_be_repeated(counts, tmp_path):
    """What it leaves is hidden beside the store, and does not take part in the next."""
    anndata_of(sp.csr_matrix(counts)).write_h5ad(tmp_path / "a.h5ad")
    code = (
        "import os, signal, xdelnx as xd\n"
        "from xdelnx.storage.spill import Spill\n"
        "Spill.block = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "xd.convert('a.h5ad', 'x.zarr')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path)
    assert done.returncode == -9
    assert not (tmp_path / "x.zarr").exists()
    found = convert(tmp_path / "a.h5ad", tmp_path / "x.zarr")
    np.testing.assert_array_equal(found["counts"], counts)


@pytest.mark.parametrize("name", ["counts.csv", "a.h5ad", "matrix.mtx", "counts"])
def test_pipes_are_refused(tmp_path, name):
    """They can be read once, and would be waited for for good."""
    os.mkfifo(tmp_path / name)
    with pytest.raises(ValueError, match=f"{name} is a pipe or a device, and inputs are read more than once"):
        convert(tmp_path / name, tmp_path / "counts.zarr")
    table = tmp_path / "table.csv"
    table.write_text("g,a,b\nx,1,2\ny,3,4\n")
    with pytest.raises(ValueError, match=f"{name} is a pipe"):
        convert(table, tmp_path / "counts.zarr", samples=tmp_path / name)


def test_a_lost_shard_is_told(tmp_path):
    """Chunks in shards that reach over the edge count more than the array has."""
    import zarr

    from xdelnx.storage.anndata_parts import check_chunks

    array = zarr.create_array(tmp_path / "a", shape=(9, 5), chunks=(2, 2), shards=(4, 4), dtype="i4")
    array[:] = 1
    check_chunks(array, "a")
    (tmp_path / "a" / "c" / "0" / "0").unlink()
    with pytest.raises(ValueError, match="a is not complete: it has 5 of its 6 chunks; copy it again"):
        check_chunks(array, "a")

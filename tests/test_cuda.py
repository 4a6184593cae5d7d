"""The card's kernels without a card: their source compiled for it, and run by this machine's processor.

The numbers are compared with the Numba kernels', from whose source most are translated: what is checked is the
translation, the launch, and that the algorithms keep to what CuPy can do.
"""

import contextlib
import inspect
import os
import re
import runpy
import shutil
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from types import SimpleNamespace

import anndata
import distributed
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import xarray as xr

import xdelnx as xd
from xdelnx.algorithms.compressed import Block
from xdelnx.chunks import blocks as chunk_blocks
from xdelnx.chunks import devices as chunk_devices
from xdelnx.chunks import passes
from xdelnx.chunks.devices import computed
from xdelnx.cli import cards, main
from xdelnx.kernels import devices
from xdelnx.kernels.backend import CPU
from xdelnx.kernels.cuda import device, hosted
from xdelnx.kernels.cuda.card import OPTIONS, CardBackend
from xdelnx.kernels.cuda.catalogue import KERNELS, source
from xdelnx.kernels.cuda.device import shape_of_launch
from xdelnx.kernels.cuda.translate import GENE, KIND, SAMPLE, Program, UntranslatableError
from xdelnx.steps import blockwise

needs_compiler = pytest.mark.skipif(hosted.compiler() is None, reason="no C++ compiler is installed")
# The same formulas; sums in another order, multiplications and additions perhaps fused.
ROUNDING = 1e-12


# ---- a package that is as strict as CuPy -----------------------------------------------------------------


class CardArray:
    """An array that NumPy cannot see, with what the algorithms use of CuPy's."""

    __array_ufunc__ = None

    def __init__(self, host):
        self.host = host

    def __array__(self, *_arguments, **_options):
        msg = "Implicit conversion to a NumPy array is not allowed"
        raise TypeError(msg)

    shape = property(lambda self: self.host.shape)
    ndim = property(lambda self: self.host.ndim)
    size = property(lambda self: self.host.size)
    dtype = property(lambda self: self.host.dtype)
    itemsize = property(lambda self: self.host.itemsize)

    def __bool__(self):
        return bool(self.host)

    def __int__(self):
        return int(self.host)

    def __getitem__(self, key):
        return CardArray(np.asarray(self.host[unwrapped(key)]))

    def reshape(self, *shape):
        return CardArray(self.host.reshape(*shape))

    def view(self, dtype):
        return CardArray(self.host.view(dtype))

    def astype(self, dtype):
        return CardArray(self.host.astype(dtype))

    def set(self, values):
        self.host[...] = values


def _operator(name):
    def method(self, *others):
        return CardArray(np.asarray(getattr(self.host, name)(*map(unwrapped, others))))

    return method


OPERATORS = "add radd sub rsub mul rmul truediv rtruediv pow mod floordiv neg lt le gt ge eq ne and or invert"
for _name in OPERATORS.split():
    setattr(CardArray, f"__{_name}__", _operator(f"__{_name}__"))


def unwrapped(value):
    if isinstance(value, tuple | list):
        return type(value)(unwrapped(part) for part in value)
    if isinstance(value, np.ndarray):
        msg = "Unsupported type <class 'numpy.ndarray'>"
        raise TypeError(msg)
    return value.host if isinstance(value, CardArray) else value


def wrapped(value):
    if isinstance(value, tuple):
        return tuple(map(wrapped, value))
    return CardArray(np.asarray(value))


# Arguments as CuPy 13 and 14 have them.
SIGNATURES = {
    "clip": ["a", "a_min", "a_max"],
    "var": ["a", "axis", "ddof"],
    "argsort": ["a"],
    "concatenate": ["tup", "axis"],
    "transpose": ["a", "axes"],
    "take": ["a", "indices", "axis"],
    "searchsorted": ["a", "v", "side"],
    **{name: ["a", "axis"] for name in ("sum", "mean", "max", "any", "all", "sort", "count_nonzero")},
    "stack": ["tup", "axis"],
    **{name: ["a"] for name in ("abs", "exp", "log", "sqrt", "floor", "isfinite", "nonzero")},
    "ascontiguousarray": ["a"],
    "isin": ["element", "test_elements"],
    "where": ["condition", "x", "y"],
    "reshape": ["a", "newshape"],
    "zeros_like": ["a"],
    **{name: ["shape", "dtype"] for name in ("zeros", "ones", "empty")},
    "full": ["shape", "fill_value", "dtype"],
    "arange": ["start", "stop", "step", "dtype"],
}


class CupyLike(SimpleNamespace):
    """The functions above on `CardArray`, from NumPy's."""

    def __init__(self):
        constants = {name: getattr(np, name) for name in ("bool_", "float64", "int32", "int64", "inf", "nan")}
        super().__init__(**constants, **{name: self.function(name) for name in SIGNATURES})
        self.cuda = SimpleNamespace(
            memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
            runtime=SimpleNamespace(CUDARuntimeError=CUDARuntimeError),
        )

    @staticmethod
    def function(name):
        def call(*arguments, **options):
            assert set(options) <= set(SIGNATURES[name]), f"cupy.{name} has no {options}"
            assert len(arguments) + len(options) <= len(SIGNATURES[name])
            options = {{"a_min": "min", "a_max": "max", "newshape": "shape"}.get(key, key): value
                       for key, value in options.items()}  # fmt: skip
            if name == "argsort":
                options["stable"] = True
            return wrapped(getattr(np, name)(*map(unwrapped, arguments), **options))

        return call

    def asarray(self, values, dtype=None):
        return CardArray(np.array(values.host if isinstance(values, CardArray) else values, dtype=dtype))

    def asnumpy(self, values):
        return values.host.copy() if isinstance(values, CardArray) else np.asarray(values)

    def get_default_memory_pool(self):
        return SimpleNamespace(free_all_blocks=lambda: None)


class OutOfMemoryError(MemoryError):
    pass


class CUDARuntimeError(RuntimeError):
    pass


def launch(name, blocks, threads, arguments):
    assert all(size >= 1 for size in (*blocks, *threads))
    assert np.prod(threads) <= 1024
    hosted.call(hosted.library()[name], [getattr(value, "host", value) for value in arguments])


def card_like(budget=2**22, launch=launch):
    return CardBackend(CupyLike(), launch, budget)


@pytest.fixture
def card(monkeypatch):
    """Computing on ``device='gpu'`` runs the card's kernels on the processor, behind arrays like CuPy's."""
    backend = card_like()
    monkeypatch.setattr(devices, "missing", lambda: "")
    monkeypatch.setattr(devices, "card", lambda: backend)
    monkeypatch.setattr(devices, "free_memory", lambda: 2**28)
    monkeypatch.setattr(CardBackend, "staged", lambda self, values: values)
    return backend


def test_cupy_has_what_is_used_of_it():
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    for name, names in SIGNATURES.items():
        assert hasattr(cupy, name)
        if inspect.isfunction(getattr(cupy, name)) and name not in {"arange"}:
            known = inspect.signature(getattr(cupy, name)).parameters
            assert set(names) - {"tup"} <= set(known) | {"a"}, (
                f"cupy.{name}{inspect.signature(getattr(cupy, name))}"
            )


# ---- every kernel compiles for a card ---------------------------------------------------------------------


def test_kernels_compile_with_nvcc(tmp_path):
    """To PTX, and to a card's own code, in which no thread's variables have to go to memory."""
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("nvcc is not installed")
    path = tmp_path / "kernels.cu"
    path.write_text(hosted.prelude() + source())
    done = subprocess.run(
        [nvcc, "-std=c++17", "-arch=sm_80", "-ptx", str(path), "-o", str(tmp_path / "kernels.ptx")],
        capture_output=True, text=True, check=False, env=os.environ | {"TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    ptx = (tmp_path / "kernels.ptx").read_text()
    assert all(f".entry {name}(" in ptx for name in KERNELS)
    assert "atom." not in ptx
    assert "red." not in ptx.replace(".shared.", "."), "a sum by atomics has another order in every run"
    assembler = shutil.which("ptxas")
    if assembler is None:
        return
    done = subprocess.run(
        [assembler, "-v", "-arch=sm_80", str(tmp_path / "kernels.ptx"), "-o", str(tmp_path / "kernels.cubin")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(" 0 bytes spill stores, 0 bytes spill loads") == len(KERNELS), done.stderr


def test_kernels_compile_with_nvrtc():
    """As CuPy does it, which would ask the card for its architecture."""
    nvrtc = pytest.importorskip("cupy", reason="CuPy is not installed").cuda.nvrtc
    try:
        nvrtc.getVersion()
    except Exception as error:  # noqa: BLE001 - CuPy's way to say so differs between versions
        pytest.skip(f"NVRTC is not installed: {error}")
    program = nvrtc.createProgram(hosted.prelude() + source(), "kernels.cu", [], [])
    try:
        nvrtc.compileProgram(program, [*OPTIONS, "-arch=compute_80"])
    except nvrtc.NVRTCError:
        pytest.fail(nvrtc.getProgramLog(program))
    ptx = nvrtc.getPTX(program)
    assert all(f".entry {name}(" in (ptx.decode() if isinstance(ptx, bytes) else ptx) for name in KERNELS)


# ---- and gives the numbers of the processor's -------------------------------------------------------------


def arguments(seed=0, kinds=3, genes=40, samples=30):
    """Something for every kernel's arguments, by name."""
    rng = np.random.default_rng(seed)
    starts = np.sort(np.r_[0, rng.choice(np.arange(1, samples), kinds - 1, replace=False), samples])
    y = rng.negative_binomial(0.7, 0.05, (genes, samples)).astype(float)
    scale = rng.lognormal(0.0, 0.3, (1, samples))
    rows = np.sort(rng.choice(genes, genes - genes // 5, replace=False))
    active = rows.size
    values, at = y[y > 0], np.nonzero(y)
    bounds = np.array([np.searchsorted(at[0] * samples + at[1], g * samples + starts) for g in range(genes)])
    weights = rng.uniform(0.2, 2.0, (genes, samples))
    groups, rest = 3, 2
    x = rng.normal(size=(genes, samples, groups + rest))
    x[:, :, :groups] = np.eye(groups)[rng.integers(groups, size=(genes, samples))]

    def packed(w):
        full = np.einsum("gs,gsi,gsj->gij", w, x, x)
        i, j = np.tril_indices(rest)
        cross = full[:, :groups, groups:].reshape(genes, -1)
        return np.concatenate(
            [full[:, range(groups), range(groups)], cross, full[:, groups + i, groups + j]], axis=1
        )

    w = rng.uniform(0.1, 1.0, (genes, samples))
    return {
        "y": y, "scale": scale, "weights": weights, "starts": starts,
        "m": rng.lognormal(1.0, 1.0, (active, kinds)), "theta": rng.choice([0.0, 1e-9, 0.3, 40.0], active),
        "rows": rows, "x": rng.normal(size=(genes, samples)), "values": values, "s": scale[0, at[1]],
        "bounds": bounds, "ends": np.r_[bounds[:, 0], bounds[-1, -1]], "mean": rng.lognormal(size=genes),
        "n_samples": samples, "totals": rng.lognormal(size=(genes, kinds)),
        "scales": rng.lognormal(size=(1, kinds)), "sizes": rng.lognormal(size=(genes, kinds)),
        "rate": rng.lognormal(size=genes), "table": rng.normal(size=(4, samples)),
        "b": rng.normal(size=(genes, 4)), "shift": rng.normal(size=samples), "groups": groups,
        "information": packed(w), "rhs": rng.normal(size=(genes, groups + rest)),
        "vectors": rng.normal(size=(6, groups + rest)), "w1": packed(w), "w2": packed(w * w),
        "w3": packed(w * w * w),
    }  # fmt: skip


def call(backend, name, given):
    if name == "dispersion_count_sums":
        tails = backend.kernel("count_tails")(
            backend.asarray(given["values"]), backend.indices(given["ends"])
        )
        return backend.kernel(name)(*tails, given["theta"], given["rows"])
    if name == "weighted_count_sums":
        tails = backend.kernel("weighted_tails")(*map(backend.asarray, (given["y"], given["weights"])))
        return backend.kernel(name)(*tails, given["theta"], given["rows"])
    given = given | ({"theta": given["rate"] - 0.5} if name == "start_of_kinds" else {})
    return backend.kernel(name)(*(given[argument] for argument in KERNELS[name].inputs))


def assert_close(found, expected, message=""):
    found, expected = (part if isinstance(part, tuple) else (part,) for part in (found, expected))
    for one, other in zip(found, expected, strict=True):
        one, other = (np.asarray(getattr(part, "host", part)) for part in (one, other))
        size = np.max(np.abs(other[np.isfinite(other)]), initial=0.0)
        np.testing.assert_allclose(one, other, rtol=ROUNDING, atol=ROUNDING * size, err_msg=message)


@needs_compiler
@pytest.mark.parametrize("name", [name for name in KERNELS if name != "exceeding"])
@pytest.mark.parametrize("kinds", [1, 3, 30])
def test_kernels_on_the_processor(name, kinds):
    given = arguments(kinds=kinds)
    with np.errstate(all="ignore"):
        expected = call(CPU, name, given)
    assert_close(call(hosted.hosted(), name, given), expected)
    assert_close(call(card_like(), name, given), expected)


TEAMS = [name for name, kernel in KERNELS.items() if kernel.team is not None]
TEAM = """
extern "C" void {name}_team(i64 x, i64 y, {head}) {{ in_a_team(x, y, [=] {{ {name}({values}); }}); }}
"""


@pytest.fixture(scope="module")
def teams():
    """Library whose functions run a kernel by a team of threads of the operating system."""
    extra = ""
    for name in TEAMS:
        head = re.search(rf"void {name}\((.*?)\)", source()).group(1)
        values = ", ".join(part.split()[-1] for part in head.split(", "))
        extra += TEAM.format(name=name, head=head, values=values)
    return hosted.library(extra, "-DXDELNX_THREADS", "-O1")


@needs_compiler
@pytest.mark.parametrize("name", TEAMS)
def test_teams_of_threads_add_up(name, teams):
    """The same kernel by several threads a gene, as on a card: each has its own samples and kinds."""
    given = arguments(samples=37, genes=12) | ({"weights": np.ones(1)} if name == "exceeding" else {})

    def in_a_team(x, y):
        def launched(called, blocks, threads, parts):
            if called == name:
                parts = [np.int64(x), np.int64(y), *(getattr(part, "host", part) for part in parts)]
                hosted.call(teams[f"{name}_team"], parts)
            else:
                launch(called, blocks, threads, parts)

        return call(card_like(launch=launched), name, given)

    expected = in_a_team(1, 1)
    for x, y in [(4, 1), (1, 4), (2, 2)]:
        assert_close(in_a_team(x, y), expected, f"{x} x {y} threads")


@needs_compiler
@pytest.mark.parametrize("weighted", [False, True])
def test_tails_with_fractions(weighted):
    rng = np.random.default_rng(1)
    y = rng.poisson(8.0, (20, 15)) * rng.choice([1.0, 1.3, 0.3], (20, 15))
    weights = rng.uniform(0.0, 1.0, (20, 15)) * (rng.random((20, 15)) > 0.2)
    theta, rows = rng.uniform(0.0, 2.0, 20), np.arange(20)
    results = []
    for backend in (CPU, card_like()):
        values, w = backend.asarray(y), backend.asarray(weights)
        if weighted:
            tails = backend.kernel("weighted_tails")(values, w)
        else:
            flat = backend.xp.reshape(values, (-1,))
            tails = backend.kernel("count_tails")(flat, backend.indices(np.arange(21) * 15))
        sums = backend.kernel("weighted_count_sums" if weighted else "dispersion_count_sums")
        results.append((tails[0], sums(*tails, theta, rows)))
    assert_close(results[1], results[0])


def test_what_has_no_translation_is_refused():
    def loop(x, out):
        for i in range(x.size):
            out[0] = sorted(x)[i]

    with pytest.raises(UntranslatableError, match=r"loop: no translation for 'sorted\(x\)'"):
        Program().kernel("loop", loop, {"x": "d1", "out": "d1"}, {})


def test_a_loop_over_threads_may_only_add():
    def last(x, out):
        for g in range(out.size):
            found = 0.0
            for i in range(x.size):
                found = x[i]
            out[g] = found

    with pytest.raises(UntranslatableError, match="last: no translation for"):
        Program().kernel("last", last, {"x": "d1", "out": "d1"}, {"g": GENE, "i": SAMPLE, "k": KIND})


@pytest.mark.parametrize("samples", [3, 30, 3_000, 60_000])
@pytest.mark.parametrize("kinds", [1, 2, 40, 3_000])
def test_launches_are_within_a_card_s_limits(samples, kinds):
    """Powers of two, teams within a warp or alone in their block, at most 1,024 threads."""
    kernel = KERNELS["newton_sums"]
    scale, m = np.empty((1, max(samples, kinds))), np.empty((5000, kinds))
    blocks, (x, y, z) = shape_of_launch(kernel, SimpleNamespace(scale=scale, m=m), 5000)
    assert all(size & (size - 1) == 0 for size in (x, y, z))
    assert x * y * z <= 1024
    assert x * y <= 32 or z == 1
    assert x <= 32 or y == 1
    assert (x * y * z) % 32 == 0 or x * y * z < 32 or x > 32
    assert (blocks[0] - 1) * z < 5000 <= blocks[0] * z


# ---- whole fits -------------------------------------------------------------------------------------------


def same_fit(one, other):
    """Equal to 1e-9; what is on its way to infinity (separated genes) stops anywhere far out."""
    assert set(one.data_vars) == set(other.data_vars)
    far = one["status"] == 2 if "status" in one else None
    for name in one.data_vars:
        if one[name].dtype.kind not in "fiu" or name == "iterations":
            continue
        if name in AT_INFINITY and far is not None:
            one, other = (part.assign({name: part[name].where(~far, 0.0)}) for part in (one, other))
        a, b = np.asarray(one[name].values, float), np.asarray(other[name].values, float)
        floor = 1e-12 if name in {"pval", "padj"} else 1e-9 * np.nanmax(np.abs(b), initial=0.0)
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=floor, err_msg=name)


AT_INFINITY = ("beta", "coef", "standard_error", "lfc_se", "ci_low", "ci_high")


def simulated(n_samples=24, n_genes=150, **options):
    return xd.simulate(n_samples, n_genes, n_batches=2, covariate="age", seed=5, **options)


CASES = {
    "dense": ("~ condition + batch", {}),
    "covariate": ("~ condition + age", {}),
    "every_pair": ("~ condition:batch", {"contrasts": None}),
    "edger": ("~ condition", {"method": "edger"}),
    "ridge": ("~ condition + age", {"ridge": 0.3}),
    "outliers": ("~ condition", {"cooks": "flag"}),
    "shared": ("~ condition", {"overdispersion": "global"}),
    "no_cox_reid": ("~ condition", {"cox_reid": False}),
    "invariant": ("~ condition", {"size_factors": "invariant"}),
}


@needs_compiler
@pytest.mark.parametrize("name", CASES)
def test_fits(card, name):
    formula, options = CASES[name]
    data = simulated()
    there = xd.fit(data, formula, device="gpu", **options)
    assert there.attrs["device"] == "gpu"
    same_fit(there, xd.fit(data, formula, device="cpu", **options))


def cells(n=400, genes=40, seed=2):
    """Counts of cells, most of them 0, of two conditions and six donors, with a gene that has none."""
    rng = np.random.default_rng(seed)
    mean = rng.lognormal(-1.5, 1.2, genes) * np.r_[np.ones(genes - 1), 0.0]
    counts = rng.poisson(mean * rng.gamma(2.0, 0.5, (n, genes)) * rng.lognormal(0.0, 0.3, (n, 1)))
    donors = np.repeat(np.arange(6), -(-n // 6))[:n]
    return xr.Dataset(
        {"counts": (("sample", "gene"), counts.astype(np.uint16))},
        coords={
            "gene": [f"g{i}" for i in range(genes)],
            "condition": ("sample", np.where(donors % 2, "b", "a")),
            "donor": ("sample", donors.astype(str)),
        },
    )


CELLS = {
    "non-zeros": {},
    "subsample": {"subsample": 200},
    "weights by sample": {"weights": np.linspace(0.0, 2.0, 400)},
    "weights by count": {"weights": np.random.default_rng(0).uniform(0.0, 2.0, (400, 40))},
    "offset by count": {"offset": np.random.default_rng(0).normal(0.0, 0.2, (400, 40)), "size_factors": None},
    "robust": {"robust": True},
    "clusters": {"cluster": "donor"},
}


@needs_compiler
@pytest.mark.parametrize("name", CELLS)
def test_fits_of_cells(card, name):
    data = cells()
    fits = [xd.fit(data, "~ condition", device=device, **CELLS[name]) for device in ("gpu", "cpu")]
    same_fit(*fits)


@needs_compiler
@pytest.mark.parametrize("tile", [2**16, 2**22])
def test_fits_of_sparse_cells(card, tile):
    """Columns of a sparse matrix are sorted on the card; and the same in many small tiles."""
    card.budget = tile
    data = cells()
    stored = scipy.sparse.csr_array(data["counts"].values)
    obs = pd.DataFrame({"condition": data["condition"].values}, index=[f"c{i}" for i in range(400)])
    there = xd.fit(anndata.AnnData(stored, obs=obs), "~ condition", device="gpu")
    same_fit(there.drop_vars("gene"), xd.fit(data, "~ condition", device="cpu").drop_vars("gene"))


@needs_compiler
def test_verbs_after_a_fit(card, monkeypatch):
    data = simulated()
    fit = xd.fit(data, "~ batch + condition", device="gpu")
    verbs = {
        "test": lambda device: xd.test(data, fit, "batch", device=device),
        "residuals": lambda _: xd.residuals(data, fit).to_dataset(name="residuals"),
        "goodness": lambda _: xd.goodness_of_fit(data, fit),
    }
    there = {name: verb("gpu").compute() for name, verb in verbs.items()}
    monkeypatch.setattr(devices, "missing", lambda: "none")
    for name, verb in verbs.items():
        same_fit(there[name], verb("cpu").compute())


@needs_compiler
def test_lazy_and_chunked(card):
    data = simulated()
    there = xd.fit(data.chunk(gene=40), "~ condition", device="gpu", compute=False).compute()
    same_fit(there, xd.fit(data, "~ condition", device="cpu"))


# ---- memory that runs out, turns -------------------------------------------------------------------------


@needs_compiler
def test_tiles_are_halved_where_memory_runs_out(card):
    """Until they fit, and from then on; the numbers are those of an ample card."""
    card.budget, fits_in = 2**27, 2**25

    def small(name, blocks, threads, arguments):
        if card.budget > fits_in:
            raise OutOfMemoryError
        launch(name, blocks, threads, arguments)

    card._launch = small
    data = simulated()
    there = xd.fit(data, "~ condition", device="gpu")
    assert card.budget == fits_in
    same_fit(there, xd.fit(data, "~ condition", device="cpu"))


class Allocator:
    """Memory of a card: an array takes its bytes when it is made, and gives them back when nobody has it."""

    def __init__(self, capacity, error=OutOfMemoryError):
        self.capacity, self.error, self.taken, self.most = capacity, error, 0, 0

    def take(self, host):
        size = 0 if host.base is not None else host.nbytes  # what is a part of another takes nothing
        if self.taken + size > self.capacity:
            raise self.error
        self.taken += size
        self.most = max(self.most, self.taken)
        weakref.finalize(host, self.give_back, size)

    def give_back(self, size):
        self.taken -= size


@pytest.fixture
def allocator(card, monkeypatch):
    """A card whose memory is counted, of which one test after the other sets the capacity."""
    memory, make = Allocator(2**40), CardArray.__init__

    def counted(self, host):
        memory.take(host)
        make(self, host)

    monkeypatch.setattr(CardArray, "__init__", counted)
    return memory


@needs_compiler
@pytest.mark.parametrize("error", [OutOfMemoryError, MemoryError])
@pytest.mark.parametrize("name", ["dense", "non-zeros"])
def test_a_card_of_little_memory_gives_the_same(card, allocator, name, error, monkeypatch):
    """Its arrays do not fit as they are cut, by the allocator's count; smaller ones do. RMM's error is MemoryError."""
    monkeypatch.setattr(device, "SMALLEST_BUDGET", 2**14)  # of so few counts smaller tiles make a difference
    data = simulated(24, 1000) if name == "dense" else cells(400, 300)
    card.budget, card.out_of_memory = 2**22, (error,)
    ample = xd.fit(data, "~ condition", device="gpu")
    assert card.budget == 2**22
    assert allocator.taken == 0, "something is held after the fit"
    allocator.capacity, allocator.error = allocator.most // 2, error
    there = xd.fit(data, "~ condition", device="gpu")
    assert card.budget < 2**22
    assert allocator.taken == 0, "something is held of an attempt that failed"
    same_fit(there, ample)


def test_memory_that_is_too_small_is_an_error(card):
    def none(*_):
        raise OutOfMemoryError

    card._launch = none
    with pytest.raises(
        MemoryError, match=r"the gpu's memory is too small .* smaller chunks of genes .* device='cpu'"
    ):
        xd.fit(simulated(), "~ condition", device="gpu")


def test_a_card_that_is_not_there():
    with pytest.raises(ValueError, match=r"device='gpu' is not there here: CuPy .*; or take device='cpu'"):
        xd.fit(simulated(), "~ condition", device="gpu") if devices.missing() else pytest.skip(
            "there is a card"
        )


def test_auto_is_the_processor_without_a_card(monkeypatch):
    monkeypatch.setattr(devices, "missing", lambda: "none")
    assert xd.fit(simulated(8, 40), "~ condition").attrs["device"] == "cpu"


@pytest.mark.parametrize(
    ("free", "entries"),
    [
        ({"a": 3.2e9, "b": 6.4e9}, 10**8),  # 32 bytes a count, on the card that has least
        ({"a": 1e12}, 2**29),  # of which every reading thread holds one
        ({"a": 10}, 1),
    ],
)
def test_blocks_are_as_large_as_the_memory_of_the_smallest_card(monkeypatch, free, entries):
    monkeypatch.setattr(chunk_devices, "everywhere", lambda _: {name: int(n) for name, n in free.items()})
    assert chunk_devices.block_entries("gpu") == entries
    assert chunk_devices.block_entries("cpu") == chunk_blocks.BLOCK_ENTRIES


@needs_compiler
def test_a_fit_has_blocks_of_that_width(card, monkeypatch):
    """24 samples and room for 24 x 20 counts: no block has more than 20 genes, whatever the chunks."""
    widths, look = [], passes.look
    monkeypatch.setattr(devices, "free_memory", lambda: 24 * 20 * chunk_devices.ENTRY_SHARE)
    monkeypatch.setattr(
        passes, "look", lambda counts, more: (widths.append(counts.shape[1]), look(counts, more))[1]
    )
    xd.fit(simulated(chunks=50), "~ condition", device="gpu")
    assert sum(widths) == 150
    assert max(widths) <= 20


class Resource(SimpleNamespace):
    """A memory resource of RMM."""


class CudaMemoryResource(Resource):
    """The one RMM has where nobody asked for a pool."""


@pytest.fixture
def with_rmm(monkeypatch):
    """Function that puts CuPy and RMM with a memory resource in place; gives the package CuPy."""

    def put(resource):
        mr = SimpleNamespace(
            CudaMemoryResource=CudaMemoryResource, get_current_device_resource=lambda: resource
        )
        cupy, pool = CupyLike(), SimpleNamespace(free_bytes=lambda: 7)
        cupy.cuda.set_allocator = lambda function: setattr(cupy, "allocator", function)
        cupy.cuda.runtime.memGetInfo = lambda: (1000, 5000)
        cupy.get_default_memory_pool = lambda: pool
        monkeypatch.setitem(sys.modules, "cupy", cupy)
        monkeypatch.setitem(sys.modules, "rmm", SimpleNamespace(mr=mr))
        monkeypatch.setitem(sys.modules, "rmm.allocators", SimpleNamespace())
        monkeypatch.setitem(sys.modules, "rmm.allocators.cupy", SimpleNamespace(rmm_cupy_allocator="of RMM"))
        return cupy

    return put


@pytest.mark.parametrize(
    ("resource", "allocator", "error", "free"),
    [
        (Resource(pool_size=lambda: 500), "of RMM", MemoryError, 1500),
        (Resource(get_upstream=lambda: Resource(pool_size=lambda: 500)), "of RMM", MemoryError, 1500),
        (Resource(), "of RMM", MemoryError, 1000),  # managed memory has no pool
        (
            CudaMemoryResource(),
            None,
            OutOfMemoryError,
            1007,
        ),  # nobody asked for RMM; CuPy's own pool is faster
    ],
)
def test_rmm_is_used_where_a_worker_has_a_pool_of_it(with_rmm, resource, allocator, error, free):
    """And what its pool, or CuPy's own, has taken from the card counts as free."""
    cupy = with_rmm(resource)
    backend = CardBackend(cupy, launch)
    assert getattr(cupy, "allocator", None) == allocator
    assert backend.out_of_memory == (error,)
    assert devices.free_memory() == free
    assert backend.budget == free // 4


def test_blocks_wait_in_pinned_memory_in_their_own_type(monkeypatch):
    """A thread copies its block while another computes; what moves to the card is the copy, of 16 bits as stored."""
    events, pinned = [], []

    def empty_pinned(shape, dtype):
        pinned.append(np.empty(shape, dtype))
        events.append("pinned")
        return pinned[-1]

    monkeypatch.setitem(sys.modules, "cupyx", SimpleNamespace(empty_pinned=empty_pinned))
    backend = card_like()
    monkeypatch.setattr(backend, "turn", lambda: (events.append("turn"), contextlib.nullcontext())[1])
    counts = np.arange(6, dtype=np.uint16).reshape(2, 3)

    def step(_plan, block):
        moved = backend.array(block.counts)
        return block.counts, moved

    seen, moved = computed(step, SimpleNamespace(backend=backend), Block(counts, None))
    assert events == ["pinned", "turn"]
    assert seen is pinned[0]
    assert moved.dtype == np.uint16
    assert (moved.host == counts).all()


def test_a_host_without_pinned_memory_does_without(monkeypatch):
    def empty_pinned(shape, dtype):
        raise CUDARuntimeError

    monkeypatch.setitem(sys.modules, "cupyx", SimpleNamespace(empty_pinned=empty_pinned))
    counts = np.ones((2, 3), dtype=np.uint16)
    assert card_like().staged(counts) is counts


@needs_compiler
def test_cards_have_no_use_for_nodes(card, monkeypatch):
    """They visit every sample along a covariate: nodes would be made, and sent to all workers, for nothing."""

    def refuse(*_):
        raise AssertionError

    monkeypatch.setattr(passes, "covariate_nodes", refuse)
    data, own = simulated(600, 40), {"size_factors": "size_factor_true"}
    fit = xd.fit(data, "~ condition + age", device="gpu", **own)
    assert fit.attrs["device"] == "gpu"
    xd.test(data, fit, "age", device="gpu")


def test_one_thread_computes_while_others_read(card):
    """A block is read while another is computed: each waits for the other, and would wait for ever in turns."""
    computing, read = threading.Event(), threading.Event()
    events = []

    def compute(plan, block):
        events.append("computing")
        computing.set()
        assert read.wait(30), "nothing was read while this block was computed"
        events.append("computed")
        return {}

    def reader():
        assert computing.wait(30)
        read.set()
        computed(lambda *_: events.append("next"), SimpleNamespace(backend=card), block)

    block = Block(np.zeros((2, 2)), None)
    thread = threading.Thread(target=reader)
    thread.start()
    computed(compute, SimpleNamespace(backend=card), block)
    thread.join()
    assert events == ["computing", "computed", "next"]


# ---- clusters of cards -----------------------------------------------------------------------------------


@pytest.fixture
def cuda_cluster(monkeypatch):
    """A package dask_cuda whose cluster has two workers, in this process, as if each had a card."""
    started = []

    def local_cuda_cluster(**options):
        started.append(options)
        options = options | {"n_workers": 2, "processes": False, "dashboard_address": ":0"}
        options.pop("rmm_pool_size", None)
        return distributed.LocalCluster(**options)

    monkeypatch.setitem(sys.modules, "dask_cuda", SimpleNamespace(LocalCUDACluster=local_cuda_cluster))
    return started


@pytest.fixture
def bulk_store(tmp_path):
    """Path of a store of counts."""
    simulated(chunks=30).to_zarr(tmp_path / "counts.zarr", consolidated=False)
    return str(tmp_path / "counts.zarr")


def example(name):
    """What an example defines."""
    return runpy.run_path(str(Path(__file__).parent.parent / "examples" / f"{name}.py"))


@needs_compiler
def test_scheduler_cuda(card, cuda_cluster, tmp_path):
    """A worker a card: each block by the card's kernels, several threads a worker, who take turns."""
    data = simulated(chunks=30)
    data.to_zarr(tmp_path / "counts.zarr", consolidated=False)
    store, fit = str(tmp_path / "counts.zarr"), str(tmp_path / "fit.zarr")
    assert main(["fit", store, fit, "--design", "~ condition", "--scheduler", "cuda", "--device", "gpu"]) == 0
    assert cuda_cluster[0]["threads_per_worker"] == cards.READERS
    there = xr.open_zarr(fit, consolidated=False).load()
    assert there.attrs["device"] == "gpu"
    same_fit(there, xd.fit(data, "~ condition", device="cpu"))


@needs_compiler
def test_recipe_for_slurm_runs(card, monkeypatch, tmp_path, bulk_store):
    """`examples/gpu_slurm.py` as it is, where a job is a worker of this process."""
    asked = []

    class Jobs(distributed.LocalCluster):
        def __init__(self, *, cores, **options):
            asked.append(options)
            super().__init__(n_workers=0, threads_per_worker=cores, processes=False, dashboard_address=":0")

        def scale(self, n=0, *, jobs=None):
            return super().scale(n if jobs is None else jobs)

    monkeypatch.setitem(sys.modules, "dask_jobqueue", SimpleNamespace(SLURMCluster=Jobs))
    example("gpu_slurm")["main"](bulk_store, str(tmp_path / "fit.zarr"), "~ condition")
    there = xr.open_zarr(tmp_path / "fit.zarr", consolidated=False).load()
    assert there.attrs["device"] == "gpu"
    assert asked[0]["processes"] == 1
    same_fit(there, xd.fit(simulated(chunks=30), "~ condition", device="cpu"))


@needs_compiler
def test_recipe_for_one_machine_runs(card, cuda_cluster, monkeypatch, tmp_path, bulk_store, capsys):
    """`examples/gpu_cluster.py` as it is where there are cards: a pool of memory, threads that read ahead."""
    example("gpu_cluster")["main"](bulk_store, str(tmp_path / "fit.zarr"), "~ condition")
    assert cuda_cluster == [{"threads_per_worker": cards.READERS, "rmm_pool_size": 0.9}]
    assert "2 workers\ncomputed on gpu" in capsys.readouterr().out


@needs_compiler
def test_scheduler_s_address(card, tmp_path, bulk_store):
    """`--scheduler tcp://...` and `--device gpu`: the workers there say whether they have cards, and use them."""
    options = {"n_workers": 2, "processes": False, "protocol": "tcp://", "dashboard_address": ":0"}
    fit = str(tmp_path / "fit.zarr")
    with distributed.LocalCluster(**options) as cluster:
        there = ["--scheduler", cluster.scheduler_address, "--device", "gpu"]
        assert main(["fit", bulk_store, fit, "--design", "~ condition", *there]) == 0
    found = xr.open_zarr(fit, consolidated=False).load()
    assert found.attrs["device"] == "gpu"
    same_fit(found, xd.fit(simulated(chunks=30), "~ condition", device="cpu"))


@needs_compiler
def test_a_mixed_cluster(card, monkeypatch):
    """Some workers with a card: each block is computed with what there is where it runs, to the same numbers."""
    used, computed_on = set(), devices.backend_on

    def backend_on(device):
        if device != "auto":
            return computed_on(device)
        found = computed_on("gpu" if distributed.get_worker().name == 0 else "cpu")
        used.add(found.name)
        return found

    monkeypatch.setattr(blockwise, "backend_on", backend_on)
    monkeypatch.setattr(chunk_devices, "everywhere", lambda function: {"a": "", "b": "no card"})
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": False, "dashboard_address": ":0"}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster):
        there = xd.fit(simulated(chunks=10), "~ condition", device="auto")
    assert there.attrs["device"] == "auto"
    assert used == {"gpu", "cpu"}
    same_fit(there, xd.fit(simulated(), "~ condition", device="cpu"))


def test_scheduler_cuda_without_dask_cuda(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "dask_cuda", None)
    assert main(["simulate", str(tmp_path / "y.zarr"), "--scheduler", "cuda"]) == 1
    assert "--scheduler cuda needs dask-cuda" in capsys.readouterr().err


def test_scheduler_cuda_without_a_card(monkeypatch, cuda_cluster, tmp_path, capsys):
    monkeypatch.setattr(devices, "missing", lambda: "nvidia-smi lists none")
    assert main(["simulate", str(tmp_path / "y.zarr"), "--scheduler", "cuda"]) == 1
    assert "starts a worker for each card, and there is none: nvidia-smi" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("reasons", "device", "resolved"),
    [
        ({"a": "", "b": ""}, "auto", "gpu"),
        ({"a": "", "b": ""}, "gpu", "gpu"),
        ({"a": "none", "b": "none"}, "auto", "cpu"),
        ({"a": "", "b": "none"}, "auto", "auto"),
        ({"a": "", "b": ""}, "cpu", "cpu"),
    ],
)
def test_devices_are_those_of_the_workers(monkeypatch, reasons, device, resolved):
    monkeypatch.setattr(chunk_devices, "everywhere", lambda _: reasons)
    assert chunk_devices.resolve_device(device) == resolved


def test_a_worker_without_a_card_is_named(monkeypatch):
    monkeypatch.setattr(chunk_devices, "everywhere", lambda _: {"tcp://a:1": "", "tcp://b:2": "no driver"})
    with pytest.raises(ValueError, match=r"'gpu' is not there on tcp://b:2: no driver; or take device='cpu'"):
        chunk_devices.resolve_device("gpu")


def test_workers_are_asked():
    """Each worker of a cluster says for itself; the client's own process does not count."""
    options = {"n_workers": 2, "processes": False, "dashboard_address": ":0"}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster):
        found = chunk_devices.everywhere(devices.missing)
        assert len(found) == 2
        assert chunk_devices.HERE not in found
        assert chunk_devices.resolve_device("auto") == ("cpu" if devices.missing() else "gpu")


# ---- where there is a card --------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.skipif(bool(devices.missing()), reason=f"no card: {devices.missing()}")
@pytest.mark.parametrize("name", [*CASES, *CELLS])
def test_fits_on_a_card(name):
    formula, options = CASES.get(name, ("~ condition", CELLS.get(name)))
    data = simulated() if name in CASES else cells()
    same_fit(*(xd.fit(data, formula, device=device, **options) for device in ("gpu", "cpu")))


@pytest.mark.gpu
@pytest.mark.skipif(bool(devices.missing()), reason=f"no card: {devices.missing()}")
@pytest.mark.parametrize("name", [name for name in KERNELS if name != "exceeding"])
@pytest.mark.parametrize("kinds", [1, 3, 30, 300])
def test_kernels_on_a_card(name, kinds):
    given = arguments(kinds=kinds, samples=max(30, 4 * kinds))
    there = call(devices.backend_on("gpu"), name, given)
    there = tuple(map(devices.backend_on("gpu").to_numpy, there if isinstance(there, tuple) else (there,)))
    with np.errstate(all="ignore"):
        assert_close(there, call(CPU, name, given))

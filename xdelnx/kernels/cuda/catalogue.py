"""Which kernels a card has: where each one's loops are written, and what it is given and gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import SimpleNamespace
from typing import Any

from xdelnx.kernels import dense, linear, nonzero, weighted
from xdelnx.kernels.cuda import loops
from xdelnx.kernels.cuda.translate import GENE, KIND, SAMPLE, THREAD, Program, parsed
from xdelnx.scalars.negative_binomial import DIRECT_TERMS

Sizes = Callable[[SimpleNamespace], tuple[int, ...]]

# Type of each argument, by its name: floating point or whole numbers, and how many axes.
TYPES = {
    "b": "d2",
    "bounds": "i2",
    "ends": "i1",
    "groups": "i0",
    "information": "d2",
    "m": "d2",
    "mean": "d1",
    "n_samples": "i0",
    "rate": "d1",
    "rhs": "d2",
    "rows": "i1",
    "s": "d1",
    "scale": "d2",
    "scales": "d2",
    "shift": "d1",
    "singles": "d1",
    "sizes": "d2",
    "starts": "i1",
    "table": "d2",
    "tails": "d2",
    "theta": "d1",
    "totals": "d2",
    "v": "d1",
    "values": "d1",
    "vectors": "d2",
    "w1": "d2",
    "w2": "d2",
    "w3": "d2",
    "weights": "d2",
    "x": "d2",
    "y": "d2",
}


@dataclass(frozen=True)
class Kernel:
    """A kernel of the card.

    Parameters
    ----------
    source
        The function whose loop over genes it is.
    roles
        Loop variable -> what the loop is spread over (`xdelnx.kernels.cuda.translate`).
    results
        Name -> shape from the arguments, of the arrays it gives.
    genes
        How many genes it visits.
    team
        About how many samples a kind has, and how many kinds there are; None: a thread a gene.
    own
        Name -> shape of arrays that each thread has for itself.
    types
        Of arguments, where not as in `TYPES`.
    """

    source: Any
    roles: Mapping[str, str]
    results: Mapping[str, Sizes]
    genes: Callable[[SimpleNamespace], int]
    team: Callable[[SimpleNamespace], tuple[float, int]] | None = None
    own: Mapping[str, Sizes] = field(default_factory=dict)
    types: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def inputs(self) -> list[str]:
        """Names of the arguments that are given."""
        names = [argument.arg for argument in parsed(self.source).args.args]
        return [name for name in names if name not in self.results]

    @cached_property
    def all_types(self) -> dict[str, str]:
        """Type of every argument of the translated kernel: what is given, the results, each thread's own."""
        shapes = {"results": self.results, "own": self.own}
        dummies = SimpleNamespace(**{name: _Shape() for name in self.inputs})
        axes = {kind: {name: len(size(dummies)) for name, size in of.items()} for kind, of in shapes.items()}
        given = {name: self.types.get(name, TYPES.get(name, "d1")) for name in self.inputs}
        results = {name: f"d{n}" for name, n in axes["results"].items()}
        return given | results | {name: f"d{n}t" for name, n in axes["own"].items()}


class _Shape:
    """Stands for any argument where only the number of axes of what is made of it is asked for."""

    shape = (1, 1)
    size = 1

    def __sub__(self, _other: Any) -> int:
        return 1

    __add__ = __mul__ = __rmul__ = __radd__ = __rsub__ = __sub__


def _like_m(a: SimpleNamespace) -> tuple[int, ...]:
    return a.m.shape


def _pairs(a: SimpleNamespace) -> tuple[int, ...]:
    return a.rows.size, 2


def _active(a: SimpleNamespace) -> int:
    return a.rows.size


def _first_axis(name: str) -> Callable[[SimpleNamespace], int]:
    return lambda a: getattr(a, name).shape[0]


def _dense_team(a: SimpleNamespace) -> tuple[float, int]:
    return a.scale.shape[1] / max(a.m.shape[1], 1), a.m.shape[1]


def _flat_team(a: SimpleNamespace) -> tuple[float, int]:
    genes, kinds = a.bounds.shape[0], a.bounds.shape[1] - 1
    return a.values.size / max(genes * kinds, 1), kinds


def _singles_team(a: SimpleNamespace) -> tuple[float, int]:
    return a.singles.size / max(a.bounds.shape[0], 1), 1


_BY_KIND = {"a": GENE, "g": GENE, "k": KIND, "i": SAMPLE}
_A_THREAD = {"g": THREAD}
_OWN = {
    "ratio": lambda a: (a.groups, _rest(a)),
    "lower": lambda a: (_rest(a), _rest(a)),
}


def _rest(a: SimpleNamespace) -> int:
    """Number of covariates of an arrow."""
    for name in ("rhs", "vectors"):
        if hasattr(a, name):
            return getattr(a, name).shape[1] - a.groups
    length, r = a.w1.shape[1], 0
    if isinstance(a.w1, _Shape):
        return 1
    while a.groups + a.groups * r + r * (r + 1) // 2 < length:
        r += 1
    return r


def _dense(source: Any, results: Mapping[str, Sizes]) -> Kernel:
    return Kernel(source, _BY_KIND, results, _active, _dense_team)


def _flat(source: Any, results: Mapping[str, Sizes]) -> Kernel:
    return Kernel(source, _BY_KIND, results, _active, _flat_team)


_SCORES: dict[str, Sizes] = {"score": _like_m, "weight": _like_m}
_DEVIANCE: dict[str, Sizes] = {"deviance": lambda a: (a.rows.size,)}
_KINDS: dict[str, Sizes] = {"out": lambda a: (a.b.shape[0], a.table.shape[1])}


def _linear_team(a: SimpleNamespace) -> tuple[float, int]:
    return 1.0, a.table.shape[1]


KERNELS: dict[str, Kernel] = {
    # every entry of the counts
    "newton_sums": _dense(dense.newton_sums, _SCORES),
    "fisher_sums": _dense(dense.fisher_sums, {"weight": _like_m}),
    "deviance_sums": _dense(loops.deviance_sums, _DEVIANCE),
    "dispersion_mean_sums": _dense(
        loops.dispersion_mean_sums, {"derivatives": _pairs, "w1": _like_m, "w2": _like_m, "w3": _like_m}
    ),
    "kind_totals": Kernel(
        dense.kind_totals,
        _BY_KIND,
        {"out": lambda a: (a.x.shape[0], a.starts.size - 1)},
        _first_axis("x"),
        lambda a: (a.x.shape[1] / max(a.starts.size - 1, 1), a.starts.size - 1),
    ),
    # those that are not zero
    "newton_differences": _flat(nonzero.newton_differences, _SCORES),
    "deviance_differences": _flat(nonzero.deviance_differences, _DEVIANCE),
    "dispersion_differences": _flat(nonzero.dispersion_differences, {"out": _pairs}),
    "value_totals": Kernel(
        nonzero.value_totals,
        _BY_KIND,
        {"out": lambda a: (a.bounds.shape[0], a.bounds.shape[1] - 1)},
        _first_axis("bounds"),
        _flat_team,
    ),
    "squared_deviations": Kernel(
        nonzero.squared_deviations,
        _BY_KIND,
        {"out": lambda a: (a.mean.size,)},
        lambda a: a.mean.size,
        lambda a: (a.values.size / max(a.mean.size, 1), 1),
    ),
    # terms of the counts alone
    "exceeding": Kernel(
        loops.exceeding,
        _BY_KIND,
        {"tails": lambda a: (a.ends.size - 1, DIRECT_TERMS)},
        lambda a: a.ends.size - 1,
        lambda a: (a.values.size / max(a.ends.size - 1, 1), DIRECT_TERMS),
        types={"weights": "d1"},
    ),
    "dispersion_count_sums": Kernel(
        dense.dispersion_count_sums, _BY_KIND, {"out": _pairs}, _active, _singles_team
    ),
    "weighted_count_sums": Kernel(
        weighted.weighted_count_sums, _BY_KIND, {"out": _pairs}, _active, _singles_team
    ),
    # from parameters to kinds and back
    "log_means": Kernel(
        loops.log_means, {"g": GENE, "k": SAMPLE}, _KINDS, _first_axis("b"), lambda a: (a.table.shape[1], 1)
    ),
    "means": Kernel(
        loops.means, {"g": GENE, "k": SAMPLE}, _KINDS, _first_axis("b"), lambda a: (a.table.shape[1], 1)
    ),
    "combine": Kernel(
        linear.combine,
        {"g": GENE, "c": KIND, "k": SAMPLE},
        {"out": lambda a: (a.x.shape[0], a.table.shape[0])},
        _first_axis("x"),
        lambda a: (a.table.shape[1], a.table.shape[0]),
    ),
    # algebra of a gene's information
    "start_of_kinds": Kernel(
        dense.start_of_kinds,
        {"g": GENE, "k": SAMPLE},
        {"weight": lambda a: a.totals.shape, "response": lambda a: a.totals.shape},
        _first_axis("totals"),
        lambda a: (a.totals.shape[1], 1),
    ),
    "solve_arrow": Kernel(
        linear.solve_arrow,
        _A_THREAD,
        {"out": lambda a: a.rhs.shape},
        _first_axis("rhs"),
        own=_OWN | {"half": lambda a: (_rest(a),)},
    ),
    "quadratic_forms": Kernel(
        linear.quadratic_forms,
        _A_THREAD,
        {"out": lambda a: (a.information.shape[0], a.vectors.shape[0])},
        _first_axis("information"),
        own=_OWN | {"half": lambda a: (_rest(a),)},
    ),
    "log_determinant_derivatives": Kernel(
        linear.log_determinant_derivatives,
        _A_THREAD,
        {"out": lambda a: (a.w1.shape[0], 2)},
        _first_axis("w1"),
        own=_OWN | {"inner": lambda a: (_rest(a), _rest(a)), "column": lambda a: (_rest(a),)},
    ),
}


def source() -> str:
    """C++ of all kernels, without ``prelude.h``."""
    program = Program()
    for name, kernel in KERNELS.items():
        program.kernel(name, kernel.source, kernel.all_types, kernel.roles)
    return str(program)

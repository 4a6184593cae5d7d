"""Formulas, contrasts, fits and stores that somebody else has written: reading them runs no code.

What Python itself reports of a process (`sys.addaudithook`) is the referee: programs started, files opened for
writing, removed or renamed, sockets. A hook cannot be taken off again, so it runs in a process of its own.
"""

import ast
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import xdelnx as xd
from xdelnx.storage.io import open_counts

CODE = "__import__('os').system('touch touched')"
# Places of a formula or a contrast where Python could be, around something that would run if it were.
FORMULAS = [
    "~ {}",
    "~ {{{}}}",
    "~ f({})",
    "~ log({})",
    "~ log(age, {})",
    "~ log(age, out={})",
    "~ I({})",
    "~ I(age + {})",
    "~ I(age ** {})",
    "~ bs(age, df={})",
    "~ bs(age, knots=[{}])",
    "~ C(condition, {})",
    "~ C(condition, contr.treatment(base={}))",
    "~ C(condition, contr.treatment({}))",
    "~ C({})",
    "~ age[{}]",
    "~ `{}`",
    "~ log(`{}`)",
    "~ age : {}",
    "~ (age + condition) ** {}",
    "~ age + Q({})",
    "~ age.apply(lambda x: {})",
    "~ np.vectorize(lambda x: {})(age)",
    "~ log(age).__class__.__base__.__subclasses__()[{}]",
    '~ I(f"{{{}}}")',
    "~ I((lambda: {})())",
    "~ I([{} for _ in (1,)])",
    "~ I(age if {} else age)",
    "~ I((y := {}))",
    "~ age | {}",
    "~ age \\ {}",
    "~ [age ~ {}]",
    "{} ~ age",
]
CONTRASTS = [
    "{}",
    "condition[T.B] * {}",
    "cond(condition={}) - cond(condition='A')",
    "cond(**{{'condition': {}}})",
    "cond({}='A')",
    "`{}`",
    "pairwise({})",
    "condition[T.B] if {} else condition[T.B]",
    "(lambda: {})()",
    "[{}][0]",
    "~ {}",
    "~ log({})",
]
PROBE = """
import json, sys, warnings
import numpy as np, pandas as pd
import xdelnx as xd
warnings.simplefilter("ignore")
ds = xd.simulate(12, 60, covariate="age", seed=1)
fit = xd.fit(ds, "~ age + condition")
xd.test(ds, fit, "cond(condition='B') - cond(condition='A')")  # everything is imported and compiled by now
formulas, contrasts = json.loads(sys.argv[1])
seen = []
ALARMING = ("os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "subprocess.Popen", "socket.connect",
            "os.remove", "os.rename", "os.mkdir", "os.putenv", "shutil.rmtree", "ctypes.dlopen", "pickle.find_class")
def watch(event, args):
    if event.startswith(ALARMING) or event == "open" and any(c in str(args[1]) for c in "wxa+"):
        seen.append((event, repr(args)))
sys.addaudithook(watch)
outcomes = []
def attempt(what, call):
    try:
        call()
        outcomes.append((what, "answered"))
    except (ValueError, TypeError) as error:
        outcomes.append((what, "refused"))
for text in formulas:
    attempt(text, lambda: xd.fit(ds, text))
    attempt(text, lambda: xd.test(ds, fit, reduced=text))
    # a fit from somebody else, whose formula is evaluated again
    other = fit.assign_attrs(design_formula=text)
    attempt(text, lambda: xd.predict(ds, other, pd.DataFrame({"age": [1.0], "condition": ["A"]})))
    attempt(text, lambda: xd.test(ds, other, "cond(condition='B') - cond(condition='A')"))
for text in contrasts:
    attempt(text, lambda: xd.test(ds, fit, text))
    attempt(text, lambda: xd.fit(ds, "~ age + condition", contrasts=text))
print(json.dumps([seen, outcomes]))
"""


def watched(probe, texts, folder):
    """What a process saw and answered, in a folder of its own."""
    env = {**os.environ, "PYTHONPATH": str(Path(xd.__file__).parents[1])}
    command = [sys.executable, "-c", probe, json.dumps(texts)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=env, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_what_stands_in_formulas_and_contrasts_is_not_run(tmp_path):
    texts = [
        [place.replace("{{", "\0").replace("}}", "\1") for place in places]
        for places in (FORMULAS, CONTRASTS)
    ]
    texts = [
        [place.replace("{}", CODE).replace("\0", "{").replace("\1", "}") for place in places]
        for places in texts
    ]
    seen, outcomes = watched(PROBE, texts, tmp_path)
    assert seen == []
    assert [text for text, outcome in outcomes if outcome != "refused"] == []
    assert len(outcomes) == 4 * len(FORMULAS) + 2 * len(CONTRASTS)
    assert os.listdir(tmp_path) == []


def test_the_audit_would_notice(tmp_path):
    """The probe sees what it looks for, where something runs it."""
    probe = "import json, sys\n" + PROBE[PROBE.index("formulas, contrasts") :]
    probe = probe.replace("outcomes = []", "outcomes = []; __import__('os').system('touch touched')")
    seen, _ = watched(probe, [[], []], tmp_path)
    assert seen[0][0] == "os.system"
    assert os.listdir(tmp_path) == ["touched"]


def test_columns_may_be_called_anything(tmp_path, monkeypatch):
    """A name is looked up, never evaluated, whoever chose it."""
    monkeypatch.chdir(tmp_path)
    ds = xd.simulate(12, 60, covariate="age", seed=1)
    expected = xd.fit(ds, "~ age")
    for name in (CODE, "a b", "ü", "class", "lambda: 0", "x" * 3000, "a\nb", "{age}", "2", "-"):
        renamed = ds.rename(age=name)
        np.testing.assert_array_equal(xd.fit(renamed, f"~ `{name}`")["pval"], expected["pval"])
    for name in ("1", "Intercept"):  # which formulaic would take for the intercept, and leave the column out
        with pytest.raises(ValueError, match="the intercept has that name; rename the column"):
            xd.fit(ds.rename(age=name), f"~ `{name}`")
    assert os.listdir(tmp_path) == []


def test_nothing_in_the_package_runs_text_or_unpickles():
    """No eval, exec, pickle or shell anywhere; formulaic's own evaluation is behind `designs.formulas.read`."""
    forbidden = {"eval", "exec", "compile", "__import__", "system", "popen", "loads_pickle", "unsafe_load"}
    for path in Path(xd.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = (
                    node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                )
                owner = getattr(getattr(node.func, "value", None), "id", "")
                assert name not in forbidden or (owner, name) == ("re", "compile"), f"{path.name}: {name}"
                switched = {k.arg for k in node.keywords if ast.unparse(k.value) != "False"}
                assert {"allow_pickle", "shell"}.isdisjoint(switched), path.name
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
                barred = {"pickle", "shelve", "marshal", "subprocess", "dill", "cloudpickle"}
                if path.name == "hosted.py":  # calls the C compiler, on source that is the package's own
                    barred -= {"subprocess"}
                assert names.isdisjoint(barred), path.name


class Payload:
    def __reduce__(self):
        return Path.touch, (Path("touched"),)


@pytest.mark.parametrize(
    "codecs", [{"filters": [{"id": "vlen-utf8"}, {"id": "pickle"}]}, {"compressor": {"id": "pickle"}}]
)
@pytest.mark.filterwarnings("ignore")
def test_pickled_arrays_are_refused(codecs, tmp_path, monkeypatch):
    """Also by readers that would unpickle them, as older versions of numcodecs do."""
    import numcodecs.pickles

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(numcodecs.pickles, "ALLOW_UNSAFE_PICKLE_DECODE", True, raising=False)
    xd.simulate(6, 20, seed=1).to_zarr("counts.zarr", zarr_format=2, consolidated=False)
    array = Path("counts.zarr", "condition")
    about = json.loads((array / ".zarray").read_text())
    about |= {"filters": [{"id": "vlen-utf8"}], "compressor": None, **codecs}
    (array / ".zarray").write_text(json.dumps(about))
    (array / "0").write_bytes(pickle.dumps(Payload()))
    with pytest.raises(
        ValueError, match=r"the array 'condition' of counts.zarr is pickled, and reading it would run"
    ):
        open_counts("counts.zarr")
    with pytest.raises(ValueError, match="is pickled"):
        xd.from_anndata("counts.zarr")
    assert os.listdir() == ["counts.zarr"]


# ---------------------------------------------------------------- a fit that was edited

DAMAGED = {
    "options": ["", "{", "[]", "null", "3", "[" * 100_000, "{}", '{"counts": 3}', 5],
    "design_terms": ["x", "3", '{"a": [99]}', '{"a": [-1]}', '{"a": "b"}', '{"a": [true]}', "[" * 100_000],
    "design_reference": ["", "[]", "null", "3"],
    "design_formula": [5, ["~ age"]],
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_attributes_are_named(name):
    ds = xd.simulate(8, 40, seed=1)
    fit = xd.fit(ds, "~ condition")
    for value in DAMAGED[name]:
        for call in (xd.test, xd.residuals, xd.covariance):
            with pytest.raises(ValueError, match=f"the attribute '{name}' of the fit is damaged"):
                call(ds, fit.assign_attrs({name: value}))


@pytest.mark.parametrize(
    "option", ["counts", "shrinkage", "cox_reid", "offset", "cooks", "ridge", "cluster", "adjust"]
)
def test_damaged_options_are_named(option):
    ds = xd.simulate(8, 40, seed=1)
    fit = xd.fit(ds, "~ condition")
    options = json.loads(fit.attrs["options"])
    for value in ({"a": 1}, 1j.imag if option in ("counts", "offset", "cooks", "adjust") else "x{}"):
        if option == "cluster" and isinstance(value, str):
            continue  # the name of a column, which is not there
        broken = fit.assign_attrs(options=json.dumps({**options, option: value}))
        with pytest.raises(ValueError, match=f"damaged: '{option}' is "):
            xd.test(ds, broken)
    with pytest.raises(ValueError, match="'bhh' is unknown"):
        xd.test(ds, fit.assign_attrs(options=json.dumps({**options, "adjust": "bhh"})))


def test_a_fit_of_words_is_refused():
    ds = xd.simulate(8, 40, seed=1)
    fit = xd.fit(ds, "~ condition")
    for name in ("beta", "dispersion_trend", "design"):
        with pytest.raises(ValueError, match=f"the fit is damaged: {name} does not hold numbers"):
            xd.test(ds, fit.assign({name: fit[name].astype(str)}))
    with pytest.raises(ValueError, match="the result lacks log2fc; pass what"):
        xd.top_table(fit.drop_vars("log2fc"))


def test_very_large_and_small_columns_are_told_apart():
    """Squares of a column neither overflow nor vanish where dependence is looked for."""
    from xdelnx.designs.design import build_design

    x = np.linspace(0.5, 1.5, 12)
    for scale in (1e-99, 1.0, 1e99):
        samples = pd.DataFrame({"x": scale * x, "y": scale * x**2, "z": 2.0 * scale * x})
        assert build_design(samples, "~ x + y").names == ("Intercept", "x", "y")
        with pytest.raises(ValueError, match=r"z = 2 \* x"):
            build_design(samples, "~ x + z")
    for scale in (1e-300, 1e-160, 1e160, 1e300):  # squares of these do
        with pytest.raises(ValueError, match="too large or too small to compute with: x "):
            build_design(pd.DataFrame({"x": scale * x}), "~ x")

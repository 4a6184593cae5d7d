"""The report: whole on a fit of any option, nothing of the data is code, and a browser can use it."""

import base64
import html
import json
import re
import shlex
import shutil
import time
from html.parser import HTMLParser

import numpy as np
import pytest
import xarray as xr

import xdelnx as xd
from xdelnx.cli import main
from xdelnx.reporting import words
from xdelnx.reporting.checkup import findings_of_contrast
from xdelnx.storage.stores import write_store

NASTY = "<script>document.title='broken'</script>"
FORMULA = "~ batch + condition"


@pytest.fixture(scope="module")
def data():
    return xd.simulate(12, 240, n_batches=2, covariate="age", levels=("A", "B", "C"), seed=3)


@pytest.fixture(scope="module")
def pair():
    """Two conditions: one contrast."""
    return xd.simulate(12, 240, n_batches=2, seed=3)


@pytest.fixture
def unpainted(monkeypatch):
    """Everything is drawn as usual but for the layout and the pixels, which take most of the time."""
    monkeypatch.setattr("matplotlib.figure.Figure.draw_without_rendering", lambda figure: None)
    monkeypatch.setattr(
        "matplotlib.figure.Figure.savefig", lambda figure, file, **_: file.write(b"no pixels")
    )


class Page(HTMLParser):
    """Elements, headings and attributes of a page; every element has to be closed in its order."""

    EMPTY = ("meta", "link", "img", "br", "input")

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.headings, self.elements, self.words = [], [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.open += [] if tag in self.EMPTY else [tag]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        if self.open and self.open[-1] in ("h1", "h2", "h3"):
            self.headings.append((self.open[-1], text))
        if self.open and self.open[-1] not in ("script", "style"):
            self.words.append(text)

    def of(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


quickly = pytest.mark.usefixtures("unpainted")


def written(fit, path, *args, **kwargs):
    assert xd.report(fit, path, *args, **kwargs) == path
    return Page(path.read_text(encoding="utf-8"))


OPTIONS = {
    "plain": {},
    "robust": {"robust": True},
    "edger": {"method": "edger"},
    "no shrinkage": {"shrinkage": False},
    "Poisson": {"overdispersion": False, "shrinkage": False},
    "one overdispersion": {"overdispersion": "global"},
    "given overdispersion": {"overdispersion": 0.1},
    "no contrasts": {"contrasts": None},
    "several contrasts": {"contrasts": "pairwise(condition)"},
    "Cook's": {"cooks": "flag"},
    "ridge": {"ridge": 0.1},
    "weights": {"weights": np.linspace(0.5, 1.5, 12)},
    "weights by count": {"weights": np.ones((12, 240))},
    "offset": {"offset": np.zeros(12)},
    "subsample": {"subsample": 9},
    "no size factors": {"size_factors": None},
}


@quickly
@pytest.mark.filterwarnings("ignore::xdelnx.XdelnxWarning")
@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_of_a_fit_has_its_report(pair, option, tmp_path):
    page = written(xd.fit(pair, FORMULA, **OPTIONS[option]), tmp_path / "r.html")
    headings = [text for tag, text in page.headings if tag == "h2"]
    assert headings[:3] == ["Summary", "What to look at", "Design"]
    assert ("Results" in headings) == (option != "no contrasts")


@quickly
@pytest.mark.filterwarnings("ignore::xdelnx.XdelnxWarning")
def test_clusters_matrices_and_formulas_of_numbers(tmp_path):
    data = xd.simulate(16, 120, n_batches=8, covariate="age", seed=2)
    matrix = np.column_stack([np.ones(16), data["age"].values])
    for k, (design, options) in enumerate(
        [
            ("~ condition", {"cluster": "batch"}),
            (matrix, {"contrasts": [0.0, 1.0]}),
            ("~ age", {}),
            ("~ 1", {"contrasts": None}),
        ]
    ):
        assert written(xd.fit(data, design, **options), tmp_path / f"{k}.html", data).headings


@quickly
def test_with_counts_there_are_more_pictures(pair, tmp_path):
    fit = xd.fit(pair, FORMULA)
    without, with_counts = (
        written(fit, tmp_path / f"{k}.html", *args) for k, args in enumerate([(), (pair.chunk(gene=60),)])
    )
    alts = [{image["alt"] for image in page.of("img")} for page in (without, with_counts)]
    assert alts[0] < alts[1]
    assert {"Principal components of the samples, coloured by condition"} <= alts[1] - alts[0]
    assert any(alt.startswith("Heat map") for alt in alts[1])
    assert any(alt.startswith("Counts of") for alt in alts[1])


@quickly
@pytest.mark.filterwarnings("ignore::xdelnx.XdelnxWarning")
def test_a_fit_by_groups_has_a_section_for_each(data, tmp_path):
    grouped = data.assign(cell_type=("sample", ["T", "B", "B", "T"] * 3), age=("sample", data["age"].values))
    grouped["cell_type"][0] = "alone"
    page = written(xd.fit(grouped, "~ age", by="cell_type"), tmp_path / "r.html", grouped)
    sections = [attrs["aria-label"] for attrs in page.of("section") if "aria-label" in attrs]
    assert sections == ["age, cell_type B", "age, cell_type T"]
    assert any("at least two" in text for text in page.words)  # why the group of one sample was not fitted


@quickly
def test_stored_and_lazy_fits_have_the_same_report(data, tmp_path):
    fit = xd.fit(data, FORMULA)
    write_store(fit, tmp_path / "fit.zarr")
    with xr.open_zarr(tmp_path / "fit.zarr") as lazy:
        paths = [xd.report(source, tmp_path / f"{k}.html") for k, source in enumerate((fit, lazy))]
    first, second = (blocks(path) for path in paths)
    assert first == second
    assert len(first) == 4  # the samples, two contrasts, and both jointly


def blocks(path):
    """Data blocks of a page, as text."""
    text = path.read_text(encoding="utf-8")
    return re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', text, re.DOTALL)


@quickly
def test_extremes(tmp_path):
    small = xd.simulate(4, 3, seed=1)
    small["counts"][:, 0] = 0
    fit = xd.fit(small, "~ condition")
    untested = fit.assign({name: fit[name] * np.nan for name in ("pval", "padj", "log2fc", "stat")})
    for k, result in enumerate((fit, untested)):
        page = written(result, tmp_path / f"{k}.html", small)
    assert any("no gene has a p-value" in text for text in page.words)


@quickly
def test_nothing_of_the_data_is_code(pair, tmp_path):
    odd = pair.isel(gene=slice(0, 60)).assign_coords(
        gene=[NASTY, '"><img src=x onerror=1>', "</script>", *(f"g{k}" for k in range(57))],
        sample=[f"{NASTY}{k}" for k in range(12)],
    )
    odd["condition"] = odd["condition"].str.replace("B", "B</td><script>1</script>")
    page = written(xd.fit(odd, "~ condition"), tmp_path / "r.html", odd, title=NASTY)
    scripts = [attrs for attrs in page.of("script") if attrs.get("type") != "application/json"]
    assert len(scripts) == 3
    assert not any("onerror" in attrs for _, attrs in page.elements)
    assert ("h1", NASTY) in page.headings
    names = [name for block in blocks(tmp_path / "r.html") for name in json.loads(block)["values"][0]]
    assert {NASTY, "</script>", f"{NASTY}0"} <= set(names)


@quickly
def test_the_page_needs_no_network(pair, tmp_path):
    page = written(xd.fit(pair, FORMULA), tmp_path / "r.html", pair)
    links = [
        value
        for _, attrs in page.elements
        for key, value in attrs.items()
        if key in ("src", "href", "action")
    ]
    assert all(link.startswith(("#", "data:")) for link in links)


@quickly
def test_the_page_can_be_read_without_seeing_it(data, tmp_path):
    page = written(xd.fit(data, FORMULA, contrasts="pairwise(condition)"), tmp_path / "r.html", data)
    assert all(image["alt"] for image in page.of("img"))
    levels = [int(tag[1]) for tag, _ in page.headings]
    assert levels[0] == 1
    assert max(np.diff(levels)) <= 1  # no level is left out
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    targets = [link["href"][1:] for link in page.of("a")]
    assert set(targets) <= set(ids)
    assert len(page.of("main")) == len(page.of("nav")) == 1


@quickly
def test_tables_hold_the_numbers_of_top_table(data, tmp_path):
    fit = xd.fit(data, FORMULA, contrasts="pairwise(condition)")
    written(fit, tmp_path / "r.html", contrasts="condition: C - B", n_genes=50)
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    (block,) = re.findall(r'id="genes-0">(.*?)</script>', text, re.DOTALL)
    table = json.loads(block)
    columns = dict(zip([column["name"] for column in table["columns"]], table["values"], strict=True))
    expected = xd.top_table(fit, "condition: C - B", n=50)
    assert columns["gene"] == expected["feature"].tolist()
    for name in ("log2fc", "stat", "pval", "padj"):
        np.testing.assert_allclose(columns[name], expected[name], rtol=5.1e-4)  # 4 digits


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda fit, data, path: xd.report("fit.zarr", path), TypeError, "fit is the Dataset that"),
        (
            lambda fit, data, path: xd.report(data, path),
            ValueError,
            "a report is about a fit, and this Dataset lacks",
        ),
        (
            lambda fit, data, path: xd.report(fit, path, contrasts="condition[T.b]"),
            ValueError,
            "did you mean",
        ),
        (lambda fit, data, path: xd.report(fit, path, fdr=5), ValueError, "between 0 and 1"),
        (lambda fit, data, path: xd.report(fit, path, n_genes=0), ValueError, "1 or more"),
        (
            lambda fit, data, path: xd.report(fit, path, data.isel(gene=slice(3))),
            ValueError,
            "pass the counts the fit was made from",
        ),
        (
            lambda fit, data, path: xd.report(fit, path, data.isel(gene=slice(None, None, -1))),
            ValueError,
            "in another order",
        ),
        (  # other counts under the same names
            lambda fit, data, path: xd.report(fit, path, data.assign(counts=data["counts"] + 1)),
            ValueError,
            "not the counts the fit was made from: the samples have other totals",
        ),
        (
            lambda fit, data, path: xd.report(fit, path, data.assign(counts=data["counts"] / 3.0)),
            ValueError,
            "not the counts the fit was made from",
        ),
        (
            lambda fit, data, path: xd.report(fit, path, data.assign(counts=data["counts"].astype(str))),
            TypeError,
            "numbers",
        ),
        (lambda fit, data, path: xd.report(fit, path.parent), FileExistsError, "a folder"),
    ],
)
def test_misuse(data, tmp_path, make, error, message):
    with pytest.raises(error, match=message):
        make(xd.fit(data, FORMULA), data, tmp_path / "r.html")
    assert list(tmp_path.iterdir()) == []


def test_a_page_that_is_there_stays(pair, tmp_path):
    path = tmp_path / "r.html"
    path.write_text("mine")
    with pytest.raises(FileExistsError, match="overwrite"):
        xd.report(xd.fit(pair, FORMULA), path)
    assert path.read_text() == "mine"
    assert (
        xd.report(xd.fit(pair, FORMULA), path, overwrite=True).stat().st_size > 100_000
    )  # it has its pictures


@quickly
def test_report_on_the_command_line(pair, tmp_path, capsys):
    counts, fit, page = (str(tmp_path / name) for name in ("c.zarr", "f.zarr", "r.html"))
    write_store(pair, counts)
    assert main(["fit", counts, fit, "--design", FORMULA]) == 0
    assert main(["report", fit, page, "--data", counts, "--title", "Mine"]) == 0
    assert ("h1", "Mine") in Page((tmp_path / "r.html").read_text(encoding="utf-8")).headings
    assert main(["report", fit, page]) == 1
    assert "exists already" in capsys.readouterr().err
    assert main(["report", fit, fit, "--overwrite"]) == 1


# ---------------------------------------------------------------- tests of a fit


def titles(page):
    return [attrs["aria-label"] for attrs in page.of("section") if attrs.get("class") == "result"]


@quickly
def test_tests_stand_beside_the_contrasts_of_their_fit(data, tmp_path):
    fit = xd.fit(data, FORMULA)
    several = xd.test(data, fit, ["condition[T.C] - condition[T.B]", "~ batch"])
    beyond = xd.test(data, fit, "condition[T.B]", lfc_threshold=1.0)
    again = xd.test(data, fit)  # what the fit has tested
    page = written(fit, tmp_path / "r.html", data, tests=[several, beyond, again])
    assert titles(page) == [
        "condition[T.B]",
        "condition[T.B], log2 fold changes beyond 1",
        "condition[T.C]",
        "condition",
        "condition[T.C] - condition[T.B]",
        "~ batch",
    ]
    assert {table.find("g") >= 0 for table in blocks(tmp_path / "r.html")} == {True}
    (block,) = re.findall(r'id="genes-4">(.*?)</script>', (tmp_path / "r.html").read_text(), re.DOTALL)
    assert (
        json.loads(block)["values"][0]
        == xd.top_table(several, "condition[T.C] - condition[T.B]")["feature"].tolist()
    )
    one = written(fit, tmp_path / "one.html", tests=several, contrasts="~ batch")
    assert titles(one) == ["~ batch"]


@quickly
def test_a_fit_without_contrasts_shows_its_tests(data, tmp_path):
    fit = xd.fit(data, FORMULA, contrasts=None)
    test = xd.test(data, fit, "condition[T.B]").sel(contrast="condition[T.B]")
    assert titles(written(fit, tmp_path / "r.html", tests=test)) == ["condition[T.B]"]


@quickly
def test_the_same_question_answered_otherwise_has_another_title(data, tmp_path):
    fit = xd.fit(data, FORMULA, contrasts="condition[T.B]")
    tests = [xd.adjust(fit, method) for method in ("holm", "by")]
    assert titles(written(fit, tmp_path / "r.html", tests=tests)) == [
        "condition[T.B]",
        "condition[T.B] (test 2)",
        "condition[T.B] (test 3)",
    ]


def test_p_values_beyond_a_threshold_need_not_be_flat(data):
    fit = xd.fit(data, FORMULA)
    beyond = xd.test(data, fit, "condition[T.B]", lfc_threshold=1.0).sel(contrast="condition[T.B]")
    topics = [finding.topic for finding in findings_of_contrast(beyond, fit, 0.05)]
    assert topics
    assert "Histogram of p-values" not in topics


@quickly
def test_tests_are_written_again_as_commands(data, tmp_path, monkeypatch):
    """Labels of one's own and weights become expressions; what they give is the same."""
    monkeypatch.chdir(tmp_path)
    fit = xd.fit(data, FORMULA)
    tests = [
        xd.test(data, fit, ["cond(condition='C') - cond(condition='B')", "condition"]),
        xd.test(data, fit, {"a third": {"condition[T.B]": 1 / 3, "batch[T.batch2]": -1.0}}),
        xd.test(data, fit, "condition[T.B]", lfc_threshold=0.7),
    ]
    write_store(data, "counts.zarr")
    xd.report(fit, "r.html", data, tests=tests)
    text = html.unescape((tmp_path / "r.html").read_text(encoding="utf-8"))
    first = text.split('id="code-python">')[1].split("</code>")[0]
    for line in text.split('id="code-shell">')[1].split("</code>")[0].splitlines():
        assert main(shlex.split(line)[1:]) == 0
    names = {}
    exec(first.replace("data, tests", "data, overwrite=True, tests"), names)  # noqa: S102
    assert "cond(condition='C') - cond(condition='B')" in first
    for k, test in enumerate(tests, start=1):
        with xr.open_zarr(f"test{k}.zarr") as stored:
            for again in (stored, names[f"test{k}"]):
                np.testing.assert_allclose(again["pval"], test["pval"], rtol=1e-9)
                assert again.attrs["lfc_threshold"] == test.attrs["lfc_threshold"]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda fit, data: ["test.zarr"],
            TypeError,
            "tests are Datasets that xdelnx.test returned, received str",
        ),
        (
            lambda fit, data: xd.rank_genes(data, "batch"),
            ValueError,
            "this Dataset lacks contrast_weight",
        ),
        (
            lambda fit, data: xd.test(data, xd.fit(data, FORMULA, size_factors="tmm"), "condition[T.C]"),
            ValueError,
            "a test of 'condition\\[T.C\\]' is not of this fit: its log fold changes are not those",
        ),
        (
            lambda fit, data: xd.test(data, xd.fit(data, "~ condition")),
            ValueError,
            "is not of this fit: its coefficients are others",
        ),
        (
            lambda fit, data: xd.fit(data.isel(gene=slice(30)), FORMULA),
            ValueError,
            "is not of this fit: its genes are others",
        ),
    ],
)
def test_tests_of_something_else(data, tmp_path, make, error, message):
    fit = xd.fit(data, FORMULA)
    with pytest.raises(error, match=message):
        xd.report(fit, tmp_path / "r.html", data, tests=make(fit, data))
    assert not any(tmp_path.iterdir())


def test_a_fit_by_groups_takes_no_tests(data, tmp_path):
    grouped = data.assign(cell_type=("sample", ["T", "B"] * 6))
    test = xd.test(data, xd.fit(data, "~ age"))
    with pytest.raises(ValueError, match="tests are of a fit without groups"):
        xd.report(xd.fit(grouped, "~ age", by="cell_type"), tmp_path / "r.html", tests=test)


@quickly
def test_tests_on_the_command_line(pair, tmp_path, capsys):
    counts, fit, test, page = (str(tmp_path / name) for name in ("c.zarr", "f.zarr", "t.zarr", "r.html"))
    write_store(pair, counts)
    assert main(["fit", counts, fit, "--design", FORMULA]) == 0
    assert main(["test", counts, fit, test, "--contrast", "batch[T.batch2]"]) == 0
    assert main(["report", fit, page, "--tests", test]) == 0
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert titles(Page(text)) == ["condition[T.B]", "batch[T.batch2]"]
    assert "--tests test1.zarr" in text
    assert main(["report", fit, page, "--tests", counts, "--overwrite"]) == 1
    assert "is not the result of a test" in capsys.readouterr().err
    assert main(["report", fit, test, "--tests", test, "--overwrite"]) == 1


# ---------------------------------------------------------------- words


@quickly
@pytest.mark.parametrize(
    "options",
    [
        {"reference": {"condition": "C"}, "robust": True, "shrinkage": True},
        {"cox_reid": False, "contrasts": ["condition[T.B]", "condition[T.C]"], "adjust": "holm"},
        {"overdispersion": False, "shrinkage": False, "contrasts": None, "size_factors": "tmm"},
        {"ridge": 0.2, "method": "glmgampoi", "overdispersion": "global"},
    ],
)
def test_the_commands_repeat_the_fit(data, tmp_path, monkeypatch, options):
    monkeypatch.chdir(tmp_path)
    fit = xd.fit(data, FORMULA, **options)
    write_store(data, "counts.zarr")
    first, second = words.shell_commands(fit).splitlines()
    assert main(shlex.split(first)[1:]) == 0
    assert main(shlex.split(second)[1:]) == 0
    names = {}
    python = words.python_commands(fit).replace('"report.html", data', '"report.html", data, overwrite=True')
    exec(python, names)  # noqa: S102
    with xr.open_zarr("fit.zarr") as stored:
        for again in (stored, names["fit"]):
            xr.testing.assert_allclose(again[["beta", "dispersion"]], fit[["beta", "dispersion"]], rtol=1e-12)
            assert ("padj" in again) == ("padj" in fit)
            if "padj" in fit:
                np.testing.assert_allclose(again["padj"], fit["padj"], rtol=1e-9)


def test_arrays_cannot_be_options_of_a_command(data):
    fit = xd.fit(data, FORMULA, offset=np.zeros(12))
    assert words.shell_commands(fit) is None
    assert "offset=offset" in words.python_commands(fit)


# ---------------------------------------------------------------- interactive pictures


@pytest.mark.parametrize("draw", [xd.plot.volcano_html, xd.plot.ma_html])
def test_pages_of_volcano_and_ma(data, tmp_path, draw):
    fit = xd.fit(data, FORMULA)
    path = draw(fit, tmp_path / "p.html", "condition[T.B]")
    page = Page(path.read_text(encoding="utf-8"))
    assert page.headings[0][1].endswith("plot: condition[T.B]")
    with pytest.raises(FileExistsError):
        draw(fit, path, "condition[T.B]")
    with pytest.raises(ValueError, match="joint test"):
        draw(fit, tmp_path / "joint.html", "condition")


def test_ma_page_takes_the_mean_from_the_fit(data, tmp_path):
    fit = xd.fit(data, FORMULA)
    tests = xd.test(data, fit, "condition[T.B]")
    with pytest.raises(ValueError, match=r"pass mean=fit\['mean'\]"):
        xd.plot.ma_html(tests, tmp_path / "p.html")
    assert xd.plot.ma_html(tests, tmp_path / "p.html", mean=fit["mean"]).exists()


# ---------------------------------------------------------------- in a browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Headless Chromium, driven by selenium; skips with the reason where one of them is not there."""
    selenium = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("there is no Chromium with its driver")
    options = selenium.ChromeOptions()
    options.binary_location = chromium
    profile = tmp_path_factory.mktemp("profile")
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={profile}",
        "--window-size=1200,900",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = __import__("selenium.webdriver.chrome.service", fromlist=["Service"]).Service(driver)
    opened = selenium.Chrome(options=options, service=service)
    yield opened
    opened.quit()


@pytest.fixture(scope="module")
def opened(browser, data, tmp_path_factory):
    odd = data.assign_coords(gene=[NASTY, *data["gene"].values[1:]])
    folder = tmp_path_factory.mktemp("pages")
    fit = xd.fit(odd, FORMULA, contrasts="pairwise(condition)")
    xd.report(fit, folder / "r.html", odd)
    xd.plot.volcano_html(fit, folder / "v.html", "condition: B - A")
    return browser, folder


def find(browser, selector):
    return browser.find_elements("css selector", selector)


def visible(browser, selector):
    return [element for element in find(browser, selector) if element.is_displayed()]


def column(browser, k):
    return browser.execute_script(
        "return [...document.querySelectorAll('section.result:not([hidden]) [data-table] tbody tr')]"
        f".map(row => row.cells[{k}].textContent)"
    )


def test_a_browser_opens_the_page_without_an_error(opened):
    browser, folder = opened
    for name in ("r.html", "v.html"):
        browser.get((folder / name).as_uri())
        time.sleep(0.3)
        assert browser.get_log("browser") == []
        assert "broken" not in browser.title
        assert all(canvas.size["width"] > 200 for canvas in visible(browser, "canvas"))
        overflow = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert browser.execute_script(overflow) <= 0


def test_tables_are_sorted_and_searched_by_keyboard(opened):
    from selenium.webdriver.common.keys import Keys

    browser, folder = opened
    browser.get((folder / "r.html").as_uri())
    (heading,) = [
        h for h in visible(browser, "section.result th button.sort") if h.text.startswith("mean count")
    ]
    heading.send_keys(Keys.ENTER)
    means = [float(text.replace(",", "")) for text in column(browser, 2)]
    assert means == sorted(means)
    assert heading.find_element("xpath", "..").get_attribute("aria-sort") == "ascending"
    heading.send_keys(Keys.SPACE)
    means = [float(text.replace(",", "")) for text in column(browser, 2)]
    assert means == sorted(means, reverse=True)
    (search,) = visible(browser, "section.result [data-table] input[type=search]")
    search.send_keys("G11")
    assert column(browser, 0)
    assert all("g11" in name for name in column(browser, 0))
    assert (
        search.find_element("xpath", "../..")
        .find_element("css selector", "[role=status]")
        .text.endswith("of 11")
    )
    search.clear()
    search.send_keys("no such gene")
    assert column(browser, 0) == []


def test_contrasts_are_chosen_by_keyboard(opened):
    browser, folder = opened
    browser.get((folder / "r.html").as_uri())
    titles = []
    for _ in range(3):
        (shown,) = visible(browser, "section.result")
        titles.append(shown.get_attribute("aria-label"))
        find(browser, "#choice")[0].send_keys("\ue015")  # the arrow down
    assert titles == ["condition: B - A", "condition: C - A", "condition: C - B"]


def test_the_picture_finds_and_names_genes(opened):
    browser, folder = opened
    browser.get((folder / "v.html").as_uri())
    (search,) = find(browser, ".cloud-tools input")
    search.send_keys("g17")
    time.sleep(0.1)
    assert "log2 fold change" in find(browser, ".cloud-status")[0].text
    search.clear()
    search.send_keys("g1")
    before = browser.execute_script("return document.querySelector('canvas').toDataURL()")
    find(browser, "canvas")[0].send_keys("+")
    assert browser.execute_script("return document.querySelector('canvas').toDataURL()") != before
    find(browser, "canvas")[0].send_keys("0")
    assert browser.execute_script("return document.querySelector('canvas').toDataURL()") == before


def test_the_page_prints_and_has_its_picture_taken(opened):
    browser, folder = opened
    browser.get((folder / "r.html").as_uri())
    printed = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {})["data"])
    assert printed.startswith(b"%PDF")
    assert printed.count(b"/Type /Page\n") >= 3
    assert len(browser.get_screenshot_as_png()) > 20_000

"""The published files follow from the rows alone; the page asks no network and shows names from data as text."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import leaderboard_rows as make
import numpy as np
import pytest
from milsurv.files import write_whole
from milsurv.leaderboards.publish import publish
from milsurv.leaderboards.render.figures import style
from milsurv.leaderboards.render.figures.forest import forest
from milsurv.leaderboards.render.figures.kaplan_meier import kaplan_meier
from milsurv.leaderboards.render.page.inline_svg import inline_svg

VOID = {"meta", "br", "img", "link", "input", "hr", "path", "use", "rect"}


class Page(HTMLParser):
    """The page's elements, its text, and whether every element that opens also closes."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.words, self.stack, self.unbalanced = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        if not self.stack or self.stack.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data):
        self.words.append(data)

    def all(self, tag, **attributes):
        return [found for name, found in self.elements if name == tag and attributes.items() <= found.items()]

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    make.example(folder)
    return folder


@pytest.fixture(scope="module")
def published(results, tmp_path_factory):
    return publish(results, tmp_path_factory.mktemp("board"))


@pytest.fixture(scope="module")
def page(published):
    return Page(published.paths["html"].read_text(encoding="utf-8"))


def one_page(tmp_path, rows, predictions=None):
    return make.render(rows, predictions or {}, tmp_path)["html"].read_text(encoding="utf-8")


def test_publishing_writes_four_files_and_says_what_was_left_out(published):
    assert {path.name for path in published.paths.values()} == {
        f"leaderboard.{kind}" for kind in ("md", "csv", "tex", "html")
    }
    assert all(path.stat().st_size > 1000 for path in published.paths.values())
    assert [sheet.title for sheet in published.tables] == [
        "blca: folds official",
        "blca: crossfusion against the other lines",
        "blca: incomplete, not ranked",
        "blca: printed in papers",
        "brca: folds official",
        "brca: crossfusion against the other lines",
        "brca: printed in papers",
        "brca (synthetic): folds official",
        "brca (synthetic): crossfusion against the other lines",
    ]
    assert [problem.where for problem in published.problems] == ["experiments/ffffffffff/fold-0/result.json"]


def test_the_same_rows_give_the_same_bytes(tmp_path):
    rows = make.experiment(0.1) + make.experiment(0.2, model="dsmil")
    tables = {rows[0]["experiment"]: make.predictions(rows[:5], patients=60)}
    first, second = make.render(rows, tables, tmp_path / "a"), make.render(rows[::-1], tables, tmp_path / "b")
    assert all(first[kind].read_bytes() == second[kind].read_bytes() for kind in first)


def test_nothing_in_the_output_names_the_folder_it_was_made_in(results, published):
    assert not [path.name for path in published.paths.values() if str(results) in path.read_text(encoding="utf-8")]


def test_the_page_is_well_formed_and_its_ids_are_its_own(page):
    assert not page.unbalanced
    assert not page.stack
    ids = [found["id"] for _, found in page.elements if "id" in found]
    assert len(ids) == len(set(ids))
    used = {found["aria-controls"] for _, found in page.elements if "aria-controls" in found}
    used |= {found["href"][1:] for found in page.all("a")}
    used |= {found["xlink:href"][1:] for found in page.all("use")}
    assert used <= set(ids)


def test_the_page_asks_no_network(page, published):
    for _, found in page.elements:
        for key in ("src", "href", "xlink:href", "action", "srcset", "data"):
            assert found.get(key, "#").startswith("#")
    text = re.sub(r"<script.*?</script>", "", published.paths["html"].read_text(encoding="utf-8"), flags=re.DOTALL)
    assert not re.search(r"@import|url\((?!#)", text)
    assert not page.all("link")


def test_the_security_policy_allows_our_script_and_no_other(page, published):
    (policy,) = (found["content"] for found in page.all("meta") if found.get("http-equiv"))
    text = published.paths["html"].read_text(encoding="utf-8")
    (script,) = re.findall(r'<script type="module">(.*?)</script>', text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'; ")
    assert f"script-src 'sha256-{digest}';" in policy


def test_names_from_data_stay_text(tmp_path):
    nasty = "</script><img src=x onerror=alert(1)> & $x_1$ 'q'"
    rows = make.experiment(0.1, model=nasty, backbone=nasty, cohort=nasty, hardware=nasty, command=nasty)
    rows += make.experiment(0.1, model=nasty, cohort=nasty, seed=3, missing=(0,))
    found = Page(one_page(tmp_path, rows, {rows[0]["experiment"]: make.predictions(rows[:5], patients=60)}))
    assert not found.all("img")
    assert not found.unbalanced
    assert not [key for _, attributes in found.elements for key in attributes if key.startswith("on")]
    assert found.text.count(nasty) >= 5


def test_every_line_opens_to_its_folds_curves_provenance_and_command(tmp_path):
    rows = make.experiment(0.1, command="bench run --model abmil --cohort blca", features_fingerprint="f00d")
    text = one_page(tmp_path, rows, {rows[0]["experiment"]: make.predictions(rows, patients=80)})
    found = Page(text)
    for row in rows:
        for reading in make.READINGS:
            assert f"{row[f'c_index_{reading}']:.3f}" in found.text
    for word in (
        "bench run --model abmil",
        "f00d",
        "labels-1f3a9c",
        "folds-77be02",
        "2 cores, 24 GiB",
        "log-rank test",
    ):
        assert word in found.text
    assert any(found_.get("aria-label", "").startswith("Kaplan-Meier curves") for found_ in found.all("svg"))


def test_why_a_metric_is_missing_can_be_read(tmp_path):
    rows = make.experiment(0.1)
    rows[1] |= {"auc_60_selected": None, "why_auc_60_selected": "nobody was followed for 60 months"}
    assert "seed 0, fold 1, auc_60_selected: nobody was followed for 60 months" in Page(one_page(tmp_path, rows)).text


def test_a_line_without_predictions_says_so(tmp_path):
    assert "there are no curves to show" in Page(one_page(tmp_path, make.experiment(0.1))).text


def test_synthetic_boards_are_marked(page):
    assert len(page.all("section", **{"class": "cohort synthetic"})) == 1
    assert "patients and features are simulated, not measured" in page.text


def test_incomplete_experiments_and_damaged_files_are_on_the_page(page):
    for words in (
        "3 of 5 folds",
        "out of memory at epoch 3",
        "fold 4: not run",
        "experiments/ffffffffff/fold-0/result.json",
    ):
        assert words in page.text


def test_no_rows_make_a_page_that_says_so(tmp_path):
    (tmp_path / "results").mkdir()
    done = publish(tmp_path / "results", tmp_path / "board")
    assert "No results yet" in done.paths["html"].read_text()
    assert "No results yet" in done.paths["md"].read_text()
    assert "no result.json below this folder" in done.problems[0].message


def test_a_damaged_predictions_file_costs_the_curve_and_nothing_else(tmp_path):
    rows = make.experiment(0.1)
    home = make.write(tmp_path, rows)
    (home / "predictions.csv").write_text("patient,fold\nx,0\n")
    done = publish(tmp_path, tmp_path / "board")
    assert len(done.tables[0].rows) == 1
    assert "column reading, time, event, risk, risk_group is missing" in done.problems[0].message


def test_a_line_with_three_seeds_and_its_curves_costs_under_fourteen_kilobytes(tmp_path):
    def size(lines):
        rows, tables = [], {}
        for number in range(lines):
            for seed in range(3):
                mine = make.experiment(0.1, model=f"model-{number}", seed=seed, patients=400, events=160)
                tables[mine[0]["experiment"]] = make.predictions(mine, patients=400, noise=3 * number + seed)
                rows += mine
        return len(one_page(tmp_path, rows, tables).encode())

    assert (size(5) - size(1)) / 4 < 14_000  # with DataTables, 150 of them stay under 3 MB


def test_a_fold_of_rows_without_any_spread_still_renders(tmp_path):
    rows = make.experiment(0.1, n_folds=1, c_index_selected=None, why_c_index_selected="no deaths")
    rows += make.experiment(0.1, n_folds=1, model="dsmil", c_index_best=None, uno_c_selected=None)
    assert "dsmil" in one_page(tmp_path, rows)


def test_a_file_that_cannot_be_replaced_stays_as_it_was(tmp_path):
    target = tmp_path / "leaderboard.md"
    target.mkdir()  # a folder in the way: replacing it fails after the text was written
    with pytest.raises(OSError, match=r"leaderboard\.md|directory"):
        write_whole(target, "text")
    assert [path.name for path in tmp_path.iterdir()] == ["leaderboard.md"]


# Figures


def test_figures_are_saved_the_same_on_every_run(tmp_path):
    table = make.predictions(make.experiment(0.1), patients=60)
    table = table[table["reading"] == "selected"]
    for kind in ("svg", "png", "pdf"):
        saved = [
            style.save(kaplan_meier(table.time, table.event, table.risk_group), tmp_path / f"{name}.{kind}")
            for name in ("a", "b")
        ]
        assert saved[0].read_bytes() == saved[1].read_bytes()
        assert saved[0].stat().st_size > 1000
    with pytest.raises(ValueError, match=r"saved as \.svg, \.png or \.pdf"):
        style.save(kaplan_meier([1, 2], [1, 0], ["high", "low"]), tmp_path / "x.bmp")


def test_kaplan_meier_counts_both_groups_and_tests_them():
    rng = np.random.default_rng(0)
    time = np.concatenate([rng.exponential(10, 80), rng.exponential(60, 120)])
    text = style.svg(kaplan_meier(time, np.ones(200, dtype=bool), ["high"] * 80 + ["low"] * 120))
    assert "high risk: 80 of 80 died" in text
    assert "low risk: 120 of 120 died" in text
    assert re.search(r"log-rank test: p (= \d\.\de-\d\d|&lt; 1e-16)", text)
    folds = np.arange(200) % 5
    assert "log-rank test over folds: p" in style.svg(
        kaplan_meier(time, [True] * 200, ["high"] * 80 + ["low"] * 120, fold=folds)
    )


@pytest.mark.parametrize(
    ("event", "group"), [([0, 0, 0], ["high", "low", "low"]), ([1, 1, 1], ["high"] * 3), ([1, 0, 0], ["low"] * 3)]
)
def test_kaplan_meier_without_anything_to_test_says_so(event, group):
    assert "log-rank test: not possible" in style.svg(kaplan_meier([3, 2, 1], event, group))


def test_kaplan_meier_refuses_other_groups():
    with pytest.raises(ValueError, match="'middle'"):
        kaplan_meier([1, 2], [1, 0], ["high", "middle"])


def test_a_figure_in_the_page_follows_the_theme_and_keeps_its_text():
    (board,) = make.boards(make.experiment(0.1, model="a<b>$c$") + make.experiment(0.2, model="dsmil"))
    drawn = forest(board.rankings[0].lines)
    text = str(inline_svg(drawn, "k1", 'a "forest" <plot>'))
    assert "var(--low)" in text
    assert style.LOW not in text
    assert "a&lt;b&gt;$c$" in text
    assert 'aria-label="a &#34;forest&#34; &lt;plot&gt;"' in text
    assert len(text) < len(style.svg(drawn)) / 1.5

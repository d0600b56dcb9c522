"""Leads on the board are tested on the same patients, adjusted for their number, and put in words."""

import json

import leaderboard_rows as make
import numpy as np
import pytest
from milsurv.errors import RowError
from milsurv.leaderboards.entries.submission import evidence_of
from milsurv.leaderboards.publish import gather
from milsurv.leaderboards.ranking.across import across, friedman
from milsurv.leaderboards.ranking.board import names_of
from milsurv.leaderboards.ranking.comparisons import Errors, evidence, sizes, with_evidence
from milsurv.leaderboards.ranking.pairwise import pairwise
from milsurv.leaderboards.ranking.published_evidence import parse_evidence
from milsurv.leaderboards.render.markdown import markdown
from milsurv.leaderboards.render.text_tables import foremost, marks
from milsurv.survival.comparisons import paired_bootstrap, variance_split
from scipy import stats
from typer.testing import CliRunner


def trained(model, hazard, noise, patients=300, **changes):
    """Rows of a model, and predictions that give exactly these rows."""
    rows = make.experiment(0.1, model=model, patients=patients, **changes)
    table = make.predictions(rows, patients, hazard, noise=noise)
    return make.agreeing(rows, table), table.astype({"event": bool})


def board_of(*made):
    rows = [row for rows, _ in made for row in rows]
    tables = {rows[0]["experiment"]: table for rows, table in made}
    (board,) = with_evidence(make.boards(rows), tables)
    return board, tables


@pytest.fixture(scope="module")
def three():
    made = [("good", 6.0, 1), ("alike", 6.0, 4), ("poor", -6.0, 3)]
    return board_of(*(trained(*one, patients=900) for one in made))


def test_a_difference_is_that_of_the_means_and_its_error_that_of_a_paired_bootstrap(three):
    board, tables = three
    (ranking,) = board.rankings
    first, second = ranking.lines[0], ranking.lines[2]
    one, other = (
        tables[line.experiments[0]].query("reading == 'selected'").sort_values(["fold", "patient"])
        for line in (first, second)
    )
    pair = ranking.evidence.pairs[1]
    expected = paired_bootstrap(one.time, one.event, one.risk, other.risk, one.fold, 4000)
    assert pair.difference.value == pytest.approx(expected.value) == first.selected.mean - second.selected.mean
    assert pair.difference.standard_error == pytest.approx(expected.standard_error, rel=0.05)
    assert (pair.difference.low, pair.difference.high) == pytest.approx((expected.low, expected.high), abs=0.006)


def test_a_pair_has_one_verdict_whoever_asks_and_for_however_many(three, results):
    (ranking,) = three[0].rankings
    errors = Errors(ranking, three[1])
    every = errors.pairs()
    assert [errors.pairs([(0, second)])[0] for second in (1, 2)] == [p for p in every if p.first == 0]
    assert list(ranking.evidence.pairs) == [p for p in every if p.first == 0]
    read = gather(results, evidence=False)
    (all_of_them,), (one,) = (pairwise(read.boards, read.predictions, "blca", m) for m in ((), ("good", "poor")))
    asked = {(all_of_them.names[p.first], all_of_them.names[p.second]): p for p in all_of_them.pairs}
    assert one.pairs[0].p_adjusted == asked["good", "poor"].p_adjusted
    assert one.compared == all_of_them.compared == 3
    assert "all 3 pairs of lines of this ranking" in one.notes[0]


def test_a_clear_lead_is_shown_and_a_narrow_one_is_not(three):
    (ranking,) = three[0].rankings
    found = ranking.evidence
    assert [pair.verdict for pair in found.pairs] == ["not shown, provisional", "shown, provisional"]
    assert found.best == (0, 1)
    assert found.provisional == (0, 1, 2), "one seed says nothing of other trainings"
    leader, second, last = names_of(ranking.lines)
    assert last == "poor"
    assert f"Cannot be told from the best: {leader} and {second}." in found.verdict
    assert f"{leader}, which has the highest mean, is shown to be above poor" in found.verdict
    assert "80 % power" in found.verdict
    assert [marks(ranking, place)[:1] for place in range(3)] == [("may be best",)] * 2 + [()]


def test_every_reading_has_an_interval_around_its_mean(three):
    (ranking,) = three[0].rankings
    for line, found in zip(ranking.lines, ranking.evidence.intervals, strict=True):
        assert set(found) == {"selected", "last", "best"}
        for reading, interval in found.items():
            mean = line.spreads[f"c_index_{reading}"].mean
            assert interval.low < mean < interval.high
            assert interval.value == pytest.approx(mean)


def test_seeds_widen_intervals_by_what_other_trainings_would_change():
    made = [trained("good", 2.0, seed, seed=seed) for seed in range(3)] + [trained("poor", 0.0, 9)]
    board, tables = board_of(*made)
    (ranking,) = board.rankings
    line = ranking.lines[0]
    assert line.seeds == (0, 1, 2)
    scores = np.array([[row["c_index_selected"] for row in rows] for rows, _ in made[:3]])
    assert line.split == pytest.approx(variance_split(scores.T))
    errors = Errors(ranking, tables)
    alone = errors.of_patients().intervals()[0]["selected"].standard_error
    seeds = scores.var(axis=0, ddof=1).mean()
    tested, learnt = sizes(line)
    expected = alone**2 + seeds * (1 / scores.size + tested / learnt)
    assert errors.intervals()[0]["selected"].standard_error ** 2 == pytest.approx(expected)
    assert ranking.evidence.provisional == (1,)
    assert ranking.evidence.pairs[0].provisional
    assert "SD fold / seed" in markdown([board])


def test_two_seeds_are_too_few_to_know_what_another_training_would_change():
    board, tables = board_of(*[trained("good", 2.0, seed, seed=seed) for seed in range(2)], trained("poor", 0.0, 9))
    errors = Errors(board.rankings[0], tables)
    assert errors.intervals() == errors.of_patients().intervals()
    assert board.rankings[0].evidence.provisional == (0, 1)


def test_a_baseline_that_is_the_same_whenever_it_is_fitted_is_not_provisional_and_chance_is():
    kind = {"family": "control", "scales": None, "backbone": None}
    board, _ = board_of(trained("site-only", 1.0, 1, **kind), trained("random", 0.0, 2, **kind))
    (ranking,) = board.rankings
    assert [ranking.lines[place].model for place in ranking.evidence.provisional] == ["random"]
    assert "Baselines only: no model was run." in ranking.evidence.verdict


def test_chance_and_constants_are_never_set_off():
    kind = {"family": "control", "scales": None, "backbone": None}
    board, _ = board_of(trained("random", 0.0, 2, **kind), trained("poor", -6.0, 3))
    (ranking,) = board.rankings
    assert ranking.lines[0].model == "random"
    assert not foremost(ranking, 0)
    rows = [row | {"c_index_selected": 0.5} for row in make.experiment(0.1, model="flat")]
    (flat,) = make.boards(rows)
    assert flat.rankings[0].lines[0].constant
    assert "constant prediction" in markdown([flat])


def test_the_variance_split_finds_both_parts():
    rng = np.random.default_rng(0)
    folds, seeds = variance_split(rng.normal(0, 0.04, (2000, 1)) + rng.normal(0, 0.02, (2000, 4)))
    assert (folds, seeds) == pytest.approx((0.04, 0.02), rel=0.06)
    assert variance_split([[0.6, 0.7], [0.7, 0.6]])[0] == 0.0
    with pytest.raises(ValueError, match="two folds and two seeds"):
        variance_split([[0.6], [0.7]])


def test_predictions_that_contradict_the_rows_or_are_of_others_are_left_out(three):
    board, tables = three
    lines = board.rankings[0].lines
    poor, alike = lines[2].experiments[0], lines[1].experiments[0]
    wrong = tables[poor].assign(risk=-tables[poor]["risk"])
    others = tables[alike].assign(time=tables[alike]["time"] + 1)
    found = evidence(board.rankings[0], tables | {poor: wrong, alike: others})
    assert not found.pairs
    assert "of other patients" in found.left_out[0]
    assert "the rows say" in found.left_out[1]
    missing = evidence(board.rankings[0], {key: table for key, table in tables.items() if key != poor})
    assert [pair.second for pair in missing.pairs] == [1]
    assert "are missing or not readable" in missing.left_out[0]


def test_what_is_published_without_patients_gives_the_same_verdicts(three):
    board, tables = three
    (ranking,) = board.rankings
    rows = [row for line in ranking.lines for row in line.rows]
    sent = parse_evidence(json.dumps(evidence_of(rows, tables)).encode(), "evidence.json")
    kept, full = evidence(ranking, {}, sent), ranking.evidence
    assert [pair.verdict for pair in kept.pairs] == [pair.verdict for pair in full.pairs]
    assert [pair.difference.standard_error for pair in kept.pairs] == pytest.approx(
        [pair.difference.standard_error for pair in full.pairs]
    )
    assert kept.best == full.best


def test_models_are_tested_against_the_clinical_baseline_that_was_named(tmp_path):
    kind = {"family": "control", "scales": None, "backbone": None}
    named = trained("clinical-cox", 1.0, 5, hyperparameters=json.dumps({"covariates": "age,is_female"}), **kind)
    other = trained("clinical-cox", 5.0, 6, hyperparameters=json.dumps({"covariates": "age"}), **kind)
    board, tables = board_of(trained("good", 8.0, 1, patients=300), named, other, trained("poor", -8.0, 3))
    ranking = board.rankings[0]
    assert ranking.baseline.rows[0].settings["covariates"] == "age,is_female", "not the best of several"
    verdicts = {ranking.lines[p.first].model: (p.shown, p.difference.value > 0) for p in ranking.evidence.baseline}
    assert verdicts == {"good": (True, True), "poor": (True, False)}
    text = markdown([board])
    assert "Clinical baseline, named beforehand: clinical-cox" in text
    assert "Shown to be below it: poor" in text
    rows = [row for line in ranking.lines for row in line.rows]
    paths = make.render(rows, tables, tmp_path)
    assert paths["html"].read_text().count(">below baseline<") == 1
    assert "below baseline" in paths["tex"].read_text()


def test_a_cohort_may_name_another_clinical_baseline_or_none():
    kind = {"family": "control", "scales": None, "backbone": None}
    age = trained("clinical-cox", 1.0, 5, hyperparameters=json.dumps({"covariates": "age"}), **kind)
    for clinical, found in ((None, None), ("age", "clinical-cox"), ("", None)):
        rows = [row | {"clinical": clinical} for row in trained("good", 4.0, 1)[0]] + age[0]
        (board,) = make.boards(rows)
        assert getattr(board.rankings[0].baseline, "model", None) == found, clinical
        assert ("hold no covariates" in markdown([board])) == (clinical == "")


# Across cohorts


def test_friedman_and_nemenyi_on_demsars_numbers():
    ranks = np.array([3.143, 2.000, 2.893, 1.964])  # Demsar 2006, sec. 3.2.2: 14 data sets, 4 classifiers
    error = np.sqrt(4 * 5 / (6 * 14))
    found = friedman(np.random.default_rng(0).random((14, 4)))
    assert found.critical_difference == pytest.approx(2.569 * error, abs=0.001)
    assert found.critical_difference == pytest.approx(1.25, abs=0.01)
    assert ranks[0] - ranks[3] < found.critical_difference


def test_unanimous_cohorts_are_told_apart_and_ties_are_not():
    scores = np.array([[0.7, 0.6, 0.5, 0.4]] * 8) + np.random.default_rng(0).normal(0, 0.001, (8, 4))
    found = friedman(scores)
    assert found.ranks.tolist() == [1, 2, 3, 4]
    assert found.p == pytest.approx(stats.friedmanchisquare(*scores.T).pvalue)
    assert found.p_pairs[0, 3] < 0.001
    assert (found.p_pairs == found.p_pairs.T).all()
    assert friedman(np.full((4, 3), 0.5)).p == 1.0
    with pytest.raises(ValueError, match="at least 3"):
        friedman([[0.5, 0.6], [0.5, 0.6], [0.5, 0.6]])


def cohort_rows(cohorts, models, **changes):
    return [
        row
        for number, cohort in enumerate(cohorts)
        for place, model in enumerate(models)
        for row in make.experiment(0.3 - 0.05 * place + 0.001 * number, model=model, cohort=cohort, **changes)
    ]


def test_models_that_three_cohorts_share_are_compared_across_them(tmp_path):
    cohorts, models = ("blca", "brca", "luad"), ("a", "b", "c", "d")
    rows = cohort_rows(cohorts, models) + cohort_rows(("blca",), ("only-here",))
    rows += cohort_rows(cohorts, ("random",), family="control")
    (found,) = across(make.boards(rows))
    assert found.cohorts == cohorts
    assert found.models == models
    assert found.groups[0][0] == 0
    paths = make.render(rows, {}, tmp_path)
    assert "Across 3 cohorts" in paths["md"].read_text()
    assert "Critical-difference diagram" in paths["html"].read_text()


@pytest.mark.parametrize(("cohorts", "models"), [(("blca", "brca"), "abcd"), (("blca", "brca", "luad"), "ab")])
def test_fewer_than_three_cohorts_or_models_are_not_tested(cohorts, models):
    assert across(make.boards(cohort_rows(cohorts, tuple(models)))) == ()


def test_synthetic_cohorts_are_not_compared_with_real_ones():
    rows = cohort_rows(("blca", "brca"), "abc") + cohort_rows(("luad",), "abc", synthetic=True)
    assert across(make.boards(rows)) == ()


# The command


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    for rows, table in (trained("good", 6.0, 1), trained("alike", 6.0, 4), trained("poor", -6.0, 3)):
        make.write(folder, rows, table)
    return folder


def bench(*words):
    from milsurv.benchmark.cli.main import app

    return CliRunner().invoke(app, ["compare", *map(str, words)])


def test_two_models_one_or_none_are_compared(results):
    read = gather(results, evidence=False)
    for models, expected in (((), 3), (("poor",), 2), (("poor", "good"), 1)):
        (found,) = pairwise(read.boards, read.predictions, "blca", models)
        assert len(found.pairs) == expected
        if models:
            assert all(found.names[pair.first] == "poor" and pair.difference.value < 0 for pair in found.pairs)


def test_the_command_prints_json_that_says_everything(results):
    done = bench(results, "--cohort", "blca", "--model", "good", "--model", "poor", "--json")
    assert done.exit_code == 0, done.output
    (pair,) = json.loads(done.stdout)["tables"][0]["pairs"]
    assert (pair["first"], pair["second"], pair["verdict"]) == ("good", "poor", "shown, provisional")
    assert pair["low"] < pair["difference"] < pair["high"]
    assert pair["p"] <= pair["p_adjusted"] <= 0.05
    assert json.loads(done.stdout)["tables"][0]["adjusted_over_pairs"] == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--cohort", "brca"), "cohorts with results: blca"),
        (("--cohort", "blca", "--model", "gud"), "no line on blca is called 'gud'; there are alike, good, poor"),
        (("--cohort", "blca", *("--model", "good") * 3), "was given 3 times"),
    ],
)
def test_the_command_says_what_it_does_not_know(results, words, message):
    done = bench(results, *words)
    assert done.exit_code != 0
    assert message in str(done.exception)


def test_a_name_of_nothing_is_an_error_of_the_room(results):
    read = gather(results, evidence=False)
    with pytest.raises(RowError, match="no complete experiment on coad"):
        pairwise(read.boards, read.predictions, "coad")

"""Leads on the board are tested on the same patients, adjusted for their number, and put in words."""

import json
from dataclasses import replace
from itertools import combinations

import leaderboard_rows as make
import numpy as np
import pytest
from milsurv.errors import RowError
from milsurv.leaderboards.publish import gather
from milsurv.leaderboards.ranking.across import across, friedman
from milsurv.leaderboards.ranking.board import names_of
from milsurv.leaderboards.ranking.comparisons import RESAMPLES, Resampling, evidence, with_evidence
from milsurv.leaderboards.ranking.evidence import AS_TRAINED, NOT_SHOWN, SURVIVES
from milsurv.leaderboards.ranking.pairwise import pairwise
from milsurv.leaderboards.ranking.published_evidence import PublishedEvidence
from milsurv.leaderboards.render.markdown import markdown
from milsurv.survival.comparisons import holm, paired_bootstrap, variance_split
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
    made = [("good", 6.0, 1), ("alike", 6.0, 2), ("poor", -6.0, 3)]
    return board_of(*(trained(*one, patients=900) for one in made))


def test_the_leader_is_compared_as_the_paired_bootstrap_does(three):
    board, tables = three
    (ranking,) = board.rankings
    first, second = ranking.lines[0], ranking.lines[2]
    one, other = (
        tables[line.experiments[0]].query("reading == 'selected'").sort_values(["fold", "patient"])
        for line in (first, second)
    )
    pair = ranking.evidence.pairs[1]
    expected = paired_bootstrap(one.time, one.event, one.risk, other.risk, one.fold, ranking.evidence.resamples)
    assert (pair.difference.value, pair.difference.low) == pytest.approx((expected.value, expected.low))
    assert pair.difference.value == pytest.approx(first.selected.mean - second.selected.mean)
    every = Resampling(ranking, tables).pairs([(0, 1), (0, 2), (1, 2)])
    assert pair == every[1]  # adjusted for all pairs: the leader was chosen among all
    assert [p.p_t for p in every] == holm([p.t_test.p for p in every]).tolist()


def test_a_clear_lead_survives_and_a_narrow_one_is_not_shown(three):
    (ranking,) = three[0].rankings
    assert [pair.verdict for pair in ranking.evidence.pairs] == [NOT_SHOWN, SURVIVES]
    assert ranking.evidence.lead_shown == "1 of 2"
    as_trained = tuple(replace(pair, p_t=0.2) for pair in ranking.evidence.pairs)
    assert replace(ranking.evidence, pairs=as_trained).lead_shown == "0 of 2", "one test alone shows no lead"
    leader, second, last = names_of(ranking.lines)
    assert last == "poor"
    assert f"{leader} has the highest mean" in ranking.evidence.verdict
    assert f"lead over {last} survives both tests" in ranking.evidence.verdict
    assert f"No difference is shown to {second}" in ranking.evidence.verdict
    assert "80 % power" in ranking.evidence.verdict


def test_what_was_resampled_elsewhere_moves_no_verdict_here(three):
    board, tables = three
    (ranking,) = board.rankings
    assert evidence(ranking, tables, PublishedEvidence(resamples=10**6)) == ranking.evidence


def test_every_reading_has_an_interval_around_its_mean(three):
    (ranking,) = three[0].rankings
    for line, found in zip(ranking.lines, ranking.evidence.intervals, strict=True):
        assert set(found) == {"selected", "last", "best"}
        for reading, interval in found.items():
            mean = line.spreads[f"c_index_{reading}"].mean
            assert interval.low < mean < interval.high
            assert interval.value == pytest.approx(mean)


def test_a_difference_that_folds_contradict_holds_only_as_trained(three):
    (ranking,) = three[0].rankings
    (pair,) = Resampling(ranking, three[1]).pairs([(0, 2)])
    assert (pair.p_bootstrap <= 0.05, pair.p_t <= 0.05, pair.verdict) == (True, True, SURVIVES)

    assert replace(pair, p_t=0.2).verdict == AS_TRAINED
    assert replace(pair, p_t=None).verdict == AS_TRAINED
    assert replace(pair, p_bootstrap=0.2).verdict == NOT_SHOWN


def test_seeds_are_resampled_together_and_split_the_variance():
    made = [trained("good", 2.0, seed, seed=seed) for seed in range(3)] + [trained("poor", 0.0, 9)]
    board, _ = board_of(*made)
    line = board.rankings[0].lines[0]
    assert line.seeds == (0, 1, 2)
    scores = np.array([[row["c_index_selected"] for row in rows] for rows, _ in made[:3]]).T
    assert line.split == pytest.approx(variance_split(scores))
    alone, _ = board_of(made[0], made[3])
    wide, narrow = (b.rankings[0].evidence.intervals[0]["selected"].standard_error for b in (alone, board))
    assert narrow < wide
    assert "SD fold / seed" in markdown([board])


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


def test_many_lines_get_fewer_resamples_and_never_too_few(three):
    ranking, tables = three[0].rankings[0], three[1]
    from milsurv.leaderboards.ranking import comparisons

    event, fold = np.ones(1000, dtype=bool), np.arange(1000) % 5
    counts = [comparisons._affordable(event, fold, risks) for risks in (1, 5, 15, 1000)]
    assert counts == sorted(counts, reverse=True)
    assert (counts[0], counts[-1]) == (RESAMPLES[0], RESAMPLES[-1])
    assert Resampling(ranking, tables).resamples == 10_000


def test_p_values_of_all_pairs_at_once_are_those_of_each_pair_alone():
    made = [trained(f"m{hazard}", hazard, 9 + hazard, patients=200) for hazard in (-6, -5, 0, 5, 6)]
    board, tables = board_of(*made)
    (ranking,) = board.rankings
    resampling = Resampling(ranking, tables)
    every = list(combinations(range(5), 2))
    alone = [resampling.difference(*pair) for pair in every]
    counted = [one.p for one in alone]
    normal = [float(2 * stats.norm.sf(abs(one.value) / one.standard_error)) for one in alone]
    ended = [p <= 2.5 / (resampling.resamples + 1) for p in counted]
    assert 0 < sum(ended) < len(every)
    raised = [min(p, q) if end else p for p, q, end in zip(counted, normal, ended, strict=True)]
    expected = np.maximum(holm(raised), counted)
    found = resampling.pairs(every)
    assert [pair.difference for pair in found] == alone
    assert [pair.p_bootstrap for pair in found] == expected.tolist()
    assert [pair.p_t for pair in found] == holm([pair.t_test.p for pair in found]).tolist()
    assert list(ranking.evidence.pairs) == found[:4]


def test_the_best_baseline_marks_what_is_below_it(tmp_path):
    baseline = trained("clinical-cox", 1.0, 5, family="control", scales=None, backbone=None)
    board, tables = board_of(trained("good", 4.0, 1), baseline, trained("poor", 0.0, 3))
    ranking = board.rankings[0]
    assert ranking.baseline.model == "clinical-cox"
    assert [ranking.lines[place].model for place in ranking.below_baseline] == ["poor"]
    text = markdown([board])
    assert "Best baseline: clinical-cox" in text
    assert "Below it: poor" in text
    rows = [row for line in ranking.lines for row in line.rows]
    paths = make.render(rows, tables, tmp_path)
    assert paths["html"].read_text().count(">below baseline<") == 1
    assert "below baseline" in paths["tex"].read_text()


def test_a_leading_baseline_is_said_to_lead():
    board, _ = board_of(trained("clinical-cox", 3.0, 5, family="control"), trained("poor", 0.0, 3))
    assert "no model is above the baselines" in board.rankings[0].evidence.verdict


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
    for rows, table in (trained("good", 6.0, 1), trained("alike", 6.0, 2), trained("poor", -6.0, 3)):
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
    assert (pair["first"], pair["second"], pair["verdict"]) == ("good", "poor", "survives")
    assert pair["low"] < pair["difference"] < pair["high"]
    assert pair["p_bootstrap"] == pair["p_bootstrap_holm"]


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

"""Several slides of a patient as a factor of the experiment: what is trained on, and who is scored."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from milsurv.benchmark.cross_validation.parts import fold_parts
from milsurv.benchmark.planning.load import load
from milsurv.benchmark.planning.request import Request
from milsurv.benchmark.run import Quiet, run
from milsurv.errors import UsageError


def request(cohort_folder, **changes) -> Request:
    plain = Request(
        "meanpool",
        "blca",
        features_path=str(cohort_folder / "features"),
        labels_path=cohort_folder / "labels.csv",
        settings={"epochs": "1"},
        folds=3,
    )
    return dataclasses.replace(plain, **changes)


def parts_of(cohort_folder, mode: str):
    experiment, data = load(request(cohort_folder, slides=mode))
    return data, [fold_parts(experiment, data, split) for split in data.folds.splits]


def test_the_cohort_has_patients_with_several_slides(cohort_folder):
    _, data = load(request(cohort_folder))
    assert any(len(patient.slides) > 1 for patient in data.labels.patients)


@pytest.mark.parametrize("mode", ["concat", "first-dx", "mean-risk", "slide"])
def test_no_patient_is_in_two_sets_and_scored_are_patients_except_where_slides_are(cohort_folder, mode):
    data, folds = parts_of(cohort_folder, mode)
    for parts in folds:
        owners = [{data.units.owner[u] for u in part.patients} for part in (parts.train, parts.val, parts.test)]
        assert not owners[0] & owners[1] and not owners[0] & owners[2] and not owners[1] & owners[2]
        assert parts.scored_test.patients == (parts.test.patients if mode == "slide" else tuple(sorted(owners[2])))
    tested = sum(len(parts.scored_test.patients) for parts in folds)
    slides = sum(len(patient.slides) for patient in data.labels.patients)
    assert tested == (slides if mode == "slide" else 60) and slides > 60


def test_modes_are_experiments_of_their_own_and_share_their_folds(cohort_folder):
    made = {mode: load(request(cohort_folder, slides=mode)) for mode in ("concat", "first-dx", "mean-risk", "slide")}
    assert len({experiment.id for experiment, _ in made.values()}) == 4
    assert len({tuple(split.test for split in data.folds.splits) for _, data in made.values()}) == 1


def test_the_first_diagnostic_slide_is_the_only_one(cohort_folder):
    _, data = load(request(cohort_folder, slides="first-dx"))
    assert all(len(data.bags[patient.id].slides) == 1 for patient in data.labels.patients)


def test_mean_risk_averages_the_slides_of_a_patient(cohort_folder, tmp_path):
    results = {}
    for mode in ("mean-risk", "slide"):
        done = run(request(cohort_folder, slides=mode, out=tmp_path), Quiet(), "none")
        assert done.complete and {row.slides for row in done.rows} == {mode}
        table = pd.read_csv(tmp_path / "experiments" / done.experiment.id / "predictions.csv")
        results[mode] = table[table.reading == "last"]
    owner = load(request(cohort_folder, slides="slide"))[1].units.owner
    by_patient = results["slide"].assign(patient=results["slide"].patient.map(owner)).groupby("patient").risk.mean()
    averaged = results["mean-risk"].set_index("patient").risk
    assert len(averaged) == 60 < len(results["slide"])
    # Trained on the same bags with the same seed, so the slides' risks are the same, and the means follow.
    np.testing.assert_allclose(averaged.sort_index(), by_patient.sort_index(), rtol=1e-6)


def test_site_preserving_folds_keep_sites_in_one_set(cohort_folder):
    _, data = load(request(cohort_folder, split_by="site"))
    site = {patient.id: patient.site for patient in data.labels.patients}
    for split in data.folds.splits:
        assert not {site[i] for i in split.train} & {site[i] for i in split.test}


def test_repeats_divide_the_cohort_several_times(cohort_folder):
    experiment, data = load(request(cohort_folder, repeats=2))
    assert experiment.n_folds == 6 == len(data.folds.splits)
    tested = [i for split in data.folds.splits for i in split.test]
    assert all(tested.count(patient.id) == 2 for patient in data.labels.patients)


def test_another_table_is_read_with_named_columns(cohort_folder, tmp_path):
    table = pd.read_csv(cohort_folder / "labels.csv")
    other = pd.DataFrame({
        "who": table.case_id, "image": table.slide_id,
        "days": table.survival_months * 30.4375, "dead": 1 - table.censorship,
    })  # fmt: skip
    other.to_csv(tmp_path / "other.csv", index=False)
    columns = "patient=who,slide=image,time=days,event=dead,unit=days"
    _, named = load(request(cohort_folder, labels_path=tmp_path / "other.csv", columns=columns))
    _, public = load(request(cohort_folder))
    for one, two in zip(named.labels.patients, public.labels.patients, strict=True):
        assert (one.id, one.event) == (two.id, two.event) and one.time == pytest.approx(two.time, rel=2e-3)


@pytest.mark.parametrize(("field", "value"), [("slides", "all"), ("split_by", "luck")])
def test_unknown_modes_name_the_known_ones(cohort_folder, field, value):
    with pytest.raises(UsageError, match="Known"):
        load(request(cohort_folder, **{field: value}))


def test_the_board_says_how_slides_count_and_never_ranks_modes_together(cohort_folder, tmp_path):
    from milsurv.leaderboards.publish import publish

    for mode in ("concat", "slide"):
        run(request(cohort_folder, slides=mode, out=tmp_path), Quiet(), "none")
    published = publish(tmp_path / "experiments", tmp_path / "board")
    titles = [sheet.title for sheet in published.tables if ": folds " in sheet.title]
    assert len(titles) == 2 and sum("SLIDE LEVEL" in title for title in titles) == 1
    for kind in ("md", "html"):
        assert published.paths[kind].read_text().count("SLIDE LEVEL") >= 1


@pytest.mark.parametrize("changes", [{"slides": "slide"}, {"repeats": 2}])
def test_where_patients_are_scored_more_than_once_they_are_drawn_with_all_their_scores(
    cohort_folder, tmp_path, changes
):
    from milsurv.leaderboards.publish import gather
    from milsurv.survival.influence import influences

    for model in ("meanpool", "maxpool"):
        assert run(request(cohort_folder, model=model, out=tmp_path, **changes), Quiet(), "none").complete
    found = gather(tmp_path / "experiments")
    (ranking,) = found.boards[0].rankings
    assert ranking.evidence is not None and len(ranking.evidence.pairs) == 1 and not ranking.evidence.left_out
    table = found.predictions[ranking.lines[0].experiments[0]]
    mine = table[table.reading == "selected"]
    whose = mine["owner" if "owner" in mine else "patient"]
    assert whose.nunique() == 60 < len(mine)
    apart, together = (
        influences(mine.time, mine.event, mine.risk.to_numpy()[None], mine.fold, who).patients[0]
        for who in (None, whose)
    )
    printed = ranking.evidence.intervals[0]["selected"]
    assert printed.standard_error**2 == pytest.approx((together**2).sum())
    assert printed.standard_error**2 != pytest.approx((apart**2).sum())

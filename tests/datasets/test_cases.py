"""Ordinary tables and folds as hospitals, portals and tools write them: each says what it says, or is refused."""

from pathlib import Path

import pytest
from checkout import SHARED
from milsurv.datasets.folds.read import read_splits
from milsurv.datasets.labels.columns import parse_columns
from milsurv.datasets.labels.read import Labels, read_labels, survey_labels
from milsurv.datasets.labels.status_words import parse_status_words
from milsurv.errors import DataError

CASES = SHARED / "cases"
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="the collected cases are not beside this checkout")
NAMED = "patient=id,time=months,event=status"


def read(case: str, columns: str | None = None, cohort: str = "hosp", **options: object) -> Labels:
    named = parse_columns(columns) if columns else None
    return read_labels(CASES / case, cohort, columns=named, **options)


def counts(labels: Labels) -> tuple[int, int]:
    return labels.counts.patients, labels.counts.events


def times(labels: Labels) -> list[float]:
    return [round(p.time, 2) for p in labels.patients[:4]]


def codes(labels: Labels) -> set[str]:
    return {f.code for f in labels.findings}


@pytest.mark.parametrize("name", ["labels.csv", "labels2.csv"])
def test_died_means_died_in_a_column_of_censoring(name):
    labels = read(f"02-censorship-words-inverted/{name}", "patient=id,time=months,censorship=status")
    assert counts(labels) == (30, 9) and [p.event for p in labels.patients[:4]] == [True, True, True, False]


def test_cbioportals_tables_are_known_with_their_comments():
    assert counts(read("04-cbioportal-clinical-patient/data_clinical_patient.txt", cohort="blca")) == (30, 9)
    assert counts(read("04-cbioportal-clinical-patient/nohash.txt", endpoint="dss")) == (30, 9)
    with pytest.raises(DataError, match=r"line 2: OS_STATUS must be .* but is blank"):
        read("04-cbioportal-clinical-patient/nohash.txt")
    dropped = read("04-cbioportal-clinical-patient/nohash.txt", unusable_times="drop")
    assert counts(dropped) == (29, 8) and set(dropped.excluded.values()) == {"OS_STATUS is missing"}


@pytest.mark.parametrize("number", range(8))
def test_status_words_of_portals_and_hospitals_are_understood(number):
    assert counts(read(f"05-status-words/w{number}.csv", NAMED)) == (30, 9)


def test_a_workbook_is_read():
    assert counts(read("06-xlsx/clini.xlsx")) == (30, 9)


@pytest.mark.parametrize("name", ["semi.csv", "semi_dec.csv", "quoted_dec.csv", "tab_dec.tsv"])
def test_semicolons_and_decimal_commas_are_seen(name):
    labels = read(f"07-semicolon-decimal-comma/{name}")
    assert counts(labels) == (30, 9) and times(labels) == [2.63, 14.29, 6.14, 56.9]


def test_folds_and_predictions_may_have_semicolons_too():
    from milsurv.benchmark.external.prediction_table import read_foreign

    labels = read("07-semicolon-decimal-comma/ok.csv")
    assert len(read_splits(CASES / "07-semicolon-decimal-comma" / "splits", labels).splits) == 3
    table = read_foreign(CASES / "07-semicolon-decimal-comma" / "pred.csv", "X", "hosp")
    assert len(table.rows) == 30 and table.rows[0].time == 2.63


@pytest.mark.parametrize(("name", "time"), [("months_last.csv", "months"), ("years_last.csv", "os_years")])
def test_a_cell_too_many_is_refused_by_line(name, time):
    with pytest.raises(DataError, match=r"lines 2, 3, 4, 5, 6 and 25 more: more cells than the 3 of the header"):
        read(f"08-decimal-comma-truncated/{name}", f"patient=id,time={time},event=dead")


def test_identifiers_of_folds_may_carry_endings():
    labels = read("09-slide-suffixes/labels.csv")
    assert len(read_splits(CASES / "09-slide-suffixes" / "splits", labels).splits) >= 2


def test_the_tables_of_the_gdc_and_of_xena_are_known():
    for name in ("clinical.tsv", "xena.tsv"):
        labels = read(f"12-gdc-xena-tables/{name}", cohort="blca")
        months = [round(labels.by_id[f"TCGA-A{i}-A00{i}"].time, 2) for i in range(4)]
        assert counts(labels) == (30, 9) and months == [2.63, 14.29, 6.14, 56.9]


def test_slides_may_stand_in_a_second_table():
    labels = read("13-two-tables/clini.csv", slide_table=CASES / "13-two-tables" / "slide.csv")
    assert counts(labels) == (30, 9) and labels.patients[0].slides == ("S0000_HE",) and labels.kind == "STAMP"


@pytest.mark.parametrize(
    "form", ["bool", "traintest", "cased", "foldname", "folders", "single", "patho", "js", "float"]
)
def test_folds_are_read_in_every_form(form):
    labels = read(f"14-split-forms/{'int' if form == 'float' else 'labels'}.csv")
    folds = read_splits(CASES / "14-split-forms" / form, labels)
    assert len(folds.splits) == 3
    if form != "bool":  # whose sets were drawn at random
        tested = sorted(i for split in folds.splits for i in split.test)
        assert tested == sorted(labels.by_id)
        assert [split.test for split in folds.splits] == [tuple(sorted(labels.by_id)[k::3]) for k in range(3)]


def test_a_patient_in_two_spellings_is_refused():
    columns = parse_columns("patient=id,slide=slide,time=months,event=dead")
    _, faults = survey_labels(CASES / "15-patient-in-two-spellings" / "labels.csv", "hosp", columns=columns)
    assert [f.code for f in faults] == ["patients_spelt_twice"] and "HOSP-0001 and hosp-0001" in faults[0].message


def test_covariates_that_cannot_be_read_are_reported_with_their_lines():
    named = "patient=id,time=months,event=dead"
    labels = read("16-covariates-lost-or-wrong/labels.csv", f"{named},age=age,sex=sex")
    found = {f.code: f for f in labels.findings}
    assert "line 2" in found["age_not_a_number"].examples and "65y" in found["age_not_a_number"].message
    sexes = [p.covariates.get("is_female") for p in labels.patients[:4]]
    assert sexes == [1.0, 0.0, 1.0, 0.0], "mujer is a woman, hombre a man"
    assert [p.covariates.get("age") for p in labels.patients[:4]] == [None, None, None, 71.0]
    labels = read("16-covariates-lost-or-wrong/labels.csv", f"{named},is_female=female")
    assert [p.covariates["is_female"] for p in labels.patients[:2]] == [1.0, 0.0]
    labels = read("16-covariates-lost-or-wrong/coded.csv", f"{named},sex=sex")
    assert "sex_not_understood" in codes(labels) and not any("is_female" in p.covariates for p in labels.patients)


def test_encodings_and_wrappings_are_seen():
    for name in ("utf16.txt", "labels.csv.gz", "title.csv"):
        assert counts(read(f"17-encodings-and-wrappers/{name}")) == (30, 9), name
    latin = read("17-encodings-and-wrappers/latin.csv", "patient=id,slide=Präparat,time=months,event=dead")
    assert latin.patients[0].slides == ("HOSP-0001-Süd",) and "text_encoding" in codes(latin)


@pytest.mark.parametrize(("name", "column"), [("a.csv", "monthly_fu_days"), ("b.csv", "years_since_day_0")])
def test_a_name_with_two_units_is_refused(name, column):
    with pytest.raises(DataError, match=r"(days or months|days or years|months or days) by its name"):
        read(f"22-units/{name}", f"patient=id,time={column},event=dead")


@pytest.mark.parametrize(("unit", "days"), [("Days", 1), ("day", 1), ("d", 1), ("weeks", 7)])
def test_units_are_understood_in_many_words(unit, days):
    labels = read("22-units/c.csv", f"patient=id,time=t,event=dead,unit={unit}")
    assert labels.patients[0].time == pytest.approx(80 * days / 30.44)


def test_days_that_may_have_a_thousands_sign_are_refused_with_both_readings():
    with pytest.raises(DataError, match=r"may be 1\.\d{3} days, or 1\d{3} days with a thousands sign"):
        read("22-units/dots.csv", "patient=id,time=os_days,event=dead")


def test_words_that_are_not_known_are_listed_and_can_be_named(tmp_path: Path):
    path = tmp_path / "t.csv"
    path.write_text("id,months,status\na,3,xx\nb,4,yy\nc,5,xx\n")
    columns = parse_columns(NAMED)
    with pytest.raises(DataError, match=r"lines 2, 3, 4: status is no number \(xx, yy\)\. .*--status-words died="):
        read_labels(path, "mine", columns=columns)
    labels = read_labels(path, "mine", columns=columns, status_words=parse_status_words("died=yy"))
    assert [p.event for p in labels.patients] == [False, True, False]
    (said,) = [f.message for f in labels.findings if f.code == "status_words"]
    assert said == "status: yy mean died, xx mean censored"

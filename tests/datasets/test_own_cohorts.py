"""A cohort of one's own: any name, or a cohort.toml, which is written by looking and checked when it is read."""

import csv
from pathlib import Path

import pytest
from checkout import SHARED
from milsurv.datasets import cohorts
from milsurv.datasets.labels.options import LabelOptions
from milsurv.datasets.labels.read import read_labels
from milsurv.datasets.labels.table import read_label_table
from milsurv.datasets.own_cohorts.cohort_file import read_cohort_file
from milsurv.datasets.own_cohorts.find import find_cohort, mistyped
from milsurv.datasets.own_cohorts.label_options import label_options
from milsurv.datasets.own_cohorts.look import init
from milsurv.datasets.own_cohorts.typed_options import TypedOptions
from milsurv.errors import DataError, UnknownName, UsageError

CDR = SHARED / "data" / "cdr" / "tcga-liu2018_clinData.csv"


def table(folder: Path, n: int = 12, words: tuple[str, str] = ("tot", "lebend")) -> Path:
    """A German hospital's table: semicolons, decimal commas, cp1252."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "klinik.csv"
    with path.open("w", newline="", encoding="cp1252") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(["Patient", "Überleben in Monaten", "Status", "Zentrum"])
        for i in range(n):
            writer.writerow([f"K{i:02}", f"{i + 1},5", words[i % 2], "Süd" if i % 3 else "Nord"])
    return path


def nobody(question: str, answers: object) -> None:
    return None


def test_a_name_that_is_not_registered_is_a_cohort_of_ones_own():
    found = find_cohort("hosp")
    assert (found.cohort.name, found.registered, found.file) == ("hosp", False, None)
    assert (found.cohort.patients, found.cohort.projects) == (None, ())
    assert find_cohort("TCGA-BRCA").cohort is cohorts.COHORTS["brca"]
    with pytest.raises(UsageError, match="cannot name a cohort"):
        find_cohort("my cohort!")


@pytest.mark.parametrize(("typed", "meant"), [("brac", "brca"), ("luadd", "luad"), ("kich", None), ("hosp", None)])
def test_a_mistyped_name_is_noticed_where_the_patients_are_of_tcga(typed, meant):
    assert mistyped(typed, ["TCGA-A2-0001"]) == meant
    assert mistyped(typed, ["K01"]) is None


def test_a_table_that_borrows_a_registered_name_gets_another(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("case_id,slide_id,survival_months,censorship\na,a1,3,0\nb,b1,4,1\n")
    labels = read_labels(path, "blca")
    assert labels.cohort == "own-blca"
    assert {f.code for f in labels.findings} >= {"own_cohort"} and "counts_differ" not in {
        f.code for f in labels.findings
    }
    path.write_text(path.read_text().replace("a,a1", "TCGA-A2-0001,a1"))
    assert read_labels(path, "blca").cohort == "blca"


def test_init_looks_and_the_file_is_used(tmp_path):
    folder = tmp_path / "klinik"
    looked = init(folder, table(folder), LabelOptions(), nobody, centre="Zentrum", title="Klinik")
    assert (looked.patients, looked.events) == (12, 6)
    file = read_cohort_file(folder / "cohort.toml")
    assert file.columns == {"patient": "Patient", "time": "Überleben in Monaten", "event": "Status"}
    found = find_cohort(str(folder))
    assert (found.cohort.name, found.cohort.title) == ("klinik", "Klinik") and found.file == file
    labels = read_labels(file.path(file.labels) or "", found.cohort, label_options(TypedOptions(), file))
    assert [p.time for p in labels.patients[:2]] == [1.5, 2.5] and labels.patients[0].site == "Nord"
    with pytest.raises(DataError, match="there already"):
        init(folder, folder / "klinik.csv", LabelOptions(), nobody)


def test_init_asks_for_what_it_cannot_see_and_says_which_option_tells_it(tmp_path):
    path = table(tmp_path, words=("rot", "grün"))
    asked = []

    def answer(question: str, answers: object) -> str:
        asked.append(question)
        return "rot"

    assert init(tmp_path / "a", path, LabelOptions(), answer).events == 6
    assert asked == ["Which words of Status mean died? (grün, rot; several divided by |)"]
    with pytest.raises(DataError, match=r"--status-words died="):
        init(tmp_path / "b", path, LabelOptions(), nobody)
    plain = tmp_path / "t.csv"
    plain.write_text("nr,zeit,ende\n1,2,1\n")
    with pytest.raises(DataError, match=r"hold the patients.* Name it: --columns patient="):
        init(tmp_path / "c", plain, LabelOptions(), nobody)
    assert not (tmp_path / "c" / "cohort.toml").exists()


def test_init_looks_for_what_no_option_names(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("nr,os_days,os_censor,when\n1,20,1,3\n2,30,0,4\n")
    with pytest.raises(DataError, match=r"hold the patients\. Found nr, os_days, os_censor, when\. Name it"):
        init(tmp_path / "a", path, LabelOptions(), nobody)
    looked = init(tmp_path / "a", path, LabelOptions(columns={"patient": "nr"}), nobody)
    assert looked.content["columns"] == {"patient": "nr", "time": "os_days", "censorship": "os_censor"}
    assert looked.events == 1
    with pytest.raises(DataError, match=r"has no column nrr\. Did you mean nr"):
        init(tmp_path / "b", path, LabelOptions(columns={"patient": "nrr"}), nobody)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('lables = "x.csv"\n', r"unknown key in .*cohort.toml: 'lables'\. Did you mean labels\?"),
        ('labels = "x.csv"\n[columns]\npatiant = "p"\n', r"'patiant'\. Did you mean patient\?"),
        ('labels = "x.csv"\n[status_words]\ndeid = ["x"]\n', r"unknown field `deid`.*Did you mean died\?"),
        ('labels = 3\n', r"Expected `str`, got `int` - at `\$.labels`"),
        ('labels = "x.csv"\nendpoint = "ofs"\n', r"'ofs'\. Did you mean"),
        ("labels = \n", r"cannot be read \(Invalid value"),
        ('title = "x"\n', r"missing required field `labels`"),
    ],
)  # fmt: skip
def test_what_a_cohort_file_cannot_say_is_refused_with_the_nearest_word(tmp_path, text, message):
    (tmp_path / "cohort.toml").write_text(text)
    with pytest.raises(DataError, match=message):
        read_cohort_file(tmp_path / "cohort.toml")


def test_what_is_typed_counts_before_the_file(tmp_path):
    (tmp_path / "cohort.toml").write_text(
        'labels = "x.csv"\nendpoint = "dss"\nunit = "days"\n[columns]\npatient = "p"\nevent = "e"\ntime = "t"\n'
    )
    file = read_cohort_file(tmp_path / "cohort.toml")
    read = label_options(TypedOptions(endpoint="pfi", columns="censorship=c,time=u"), file)
    assert read.endpoint == "pfi" and read.columns == {"patient": "p", "time": "u", "unit": "days", "censorship": "c"}
    assert label_options(TypedOptions(), file).endpoint == "dss"


@pytest.mark.skipif(not CDR.is_file(), reason="the TCGA-CDR is not beside this checkout")
def test_counts_of_the_other_tcga_cohorts_are_those_of_the_cdr():
    rows = [row for row in read_label_table(CDR).rows if row.project]
    for name, cohort in cohorts.CDR.items():
        mine = [row for row in rows if row.project == name.upper()]
        died = sum(row.event for row in mine)
        assert (len(mine), died) == (cohort.patients, cohort.events), name
        months = sorted(row.months for row in mine if row.months > 0)
        assert months[len(months) // 2] == pytest.approx(cohort.median_months, rel=0.02), name
    labels = read_labels(CDR, cohorts.get("kirc"))
    assert labels.cohort == "kirc" and "counts_differ" not in {f.code for f in labels.findings}


def test_a_cohort_without_public_slides_cannot_be_simulated():
    from milsurv.datasets.simulated.patients import size_of

    with pytest.raises(UsageError, match="kirc cannot be simulated"):
        size_of(cohorts.get("kirc"), None)
    with pytest.raises(UnknownName, match="Did you mean kirc"):
        cohorts.get("kircc")

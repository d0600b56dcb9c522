"""Kinds of ordinary input, two or more of each, written here: what each table and each set of folds says."""

import csv
import gzip
import io
import json
import zipfile
from pathlib import Path

import pytest
from milsurv.datasets.folds.read import read_splits
from milsurv.datasets.labels.columns import parse_columns
from milsurv.datasets.labels.forms import FORMS
from milsurv.datasets.labels.read import Labels, read_labels
from milsurv.datasets.labels.status_words import parse_status_words
from milsurv.datasets.slide_names import match_names, patient_key, side_by_side, slide_key, slide_name
from milsurv.errors import DataError

EVENT = "patient=id,time=months,event=status"


def read(folder: Path, content: str | bytes, columns: str | None = EVENT, name: str = "t.csv", **options) -> Labels:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_labels(path, "mine", columns=parse_columns(columns) if columns else None, **options)


def table(*rows: str, header: str = "id,months,status") -> str:
    return "\n".join([header, *rows]) + "\n"


def said(labels: Labels) -> list[tuple[str, float, bool]]:
    return [(p.id, round(p.time, 3), p.event) for p in labels.patients]


def codes(labels: Labels) -> set[str]:
    return {f.code for f in labels.findings}


AB = [("a", 3.0, True), ("b", 4.0, False)]


@pytest.mark.parametrize(
    ("died", "censored"),
    [
        ("Dead", "Alive"),
        ("verstorben", "lebend"),
        ("DECEASED", "LIVING"),
        ("1:DECEASED", "0:LIVING"),
        ("event", "no event"),
    ],
)
@pytest.mark.parametrize("key", ["event", "censorship"])
def test_a_word_says_what_it_says_whichever_key_names_the_column(tmp_path, key, died, censored):
    labels = read(tmp_path, table(f"a,3,{died}", f"b,4,{censored}"), f"patient=id,time=months,{key}=status")
    assert said(labels) == AB


@pytest.mark.parametrize(("yes", "no"), [("1", "0"), ("true", "false"), ("Yes", "No"), ("Y", "N"), ("1.0", "0.0")])
def test_yes_and_no_depend_on_the_key(tmp_path, yes, no):
    assert said(read(tmp_path, table(f"a,3,{yes}", f"b,4,{no}"))) == AB
    assert said(read(tmp_path, table(f"a,3,{no}", f"b,4,{yes}"), "patient=id,time=months,censorship=status")) == AB


@pytest.mark.parametrize(
    ("endpoint", "word", "died"),
    [("os", "Died of Other Causes", True), ("dss", "Died of Other Causes", False), ("dss", "0:DECEASED", False)],
)
def test_the_cause_of_a_death_counts_for_the_endpoint(tmp_path, endpoint, word, died):
    labels = read(tmp_path, table(f"a,3,{word}", "b,4,Living", "c,4,Died of Disease"), endpoint=endpoint)
    assert [p.event for p in labels.patients] == [died, False, True]


@pytest.mark.parametrize("cell", ["0:DECEASED", "1:LIVING"])
def test_a_status_that_contradicts_itself_is_refused(tmp_path, cell):
    with pytest.raises(DataError, match=r"line 2: status says one thing in number and another in words"):
        read(tmp_path, table(f"a,3,{cell}", "b,4,0:LIVING"))


@pytest.mark.parametrize(
    ("words", "states"),
    [("died=2", [True, False]), ("censored=1", [True, False]), ("died=2|3,censored=1", [True, False])],
)
def test_codes_can_be_named_too(tmp_path, words, states):
    with pytest.raises(DataError, match=r"must be 1 \(died\) or 0 \(censored\) but is .*--status-words died="):
        read(tmp_path, table("a,3,2", "b,4,1"))
    labels = read(tmp_path, table("a,3,2", "b,4,1"), status_words=parse_status_words(words))
    assert [p.event for p in labels.patients] == states and "status_words" in codes(labels)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dead=x", r"'dead'\. Did you mean died"),
        ("died", "not of the form"),
        ("died=x,censored=x", "both died and cens"),
    ],
)
def test_status_words_that_cannot_be_are_refused(text, message):
    with pytest.raises(DataError, match=message):
        parse_status_words(text)


RECOGNISED = {
    "cBioPortal": (
        "#Patient\tMonths\n#STRING\tNUMBER\nPATIENT_ID\tDFS_MONTHS\tDFS_STATUS\na\t3\t1:Recurred/Progressed\n"
        "b\t4\t0:DiseaseFree\n", "dfs"),
    "cBioPortal, a study's page": (
        "Patient ID\tOverall Survival (Months)\tOverall Survival Status\na\t3\t1:DECEASED\nb\t4\t0:LIVING\n", "os"),
    "UCSC Xena": ("sample\t_PATIENT\tOS\tOS.time\na-01\ta\t1\t91.32\nb-01\tb\t0\t121.76\nb-11\tb\t0\t121.76\n", "os"),
    "UCSC Xena, of old": ("sampleID\t_PATIENT\t_OS\t_OS_IND\na-01\ta\t91.32\t1\nb-01\tb\t121.76\t0\n", "os"),
    "GDC": (
        "cases.submitter_id\tdemographic.vital_status\tdemographic.days_to_death\tdiagnoses.days_to_last_follow_up\n"
        "a\tDead\t91.32\t'--\nb\tAlive\t'--\t100\nb\tAlive\t'--\t121.76\n", "os"),
    "METABRIC": (
        "patient_id,overall_survival_months,overall_survival,death_from_cancer\na,3,0,Died of Disease\nb,4,1,Living\n",
        "dss"),
    "METABRIC, of old": ("METABRIC_ID\tT\tlast_follow_up_status\na\t91.32\td-d.s.\nb\t121.76\ta\n", "os"),
    "Patho-Bench": ("case_id\tslide_id\tOS_event\tOS_days\tfold_0\na\ta1\t1\t91.32\ttrain\nb\tb1\t0\t121.76\ttest\n",
                    "os"),
    "MOOZY": ("case_id,filename,PFI_event,PFI_days,PFI\na,a1.svs,1,91.32,4\nb,b1.svs,0,121.76,0\n", "pfi"),
    "STAMP": ("PATIENT,os_months,event\na,3,1\nb,4,0\n", "os"),
    "PathBench-MIL": ("slide,patient,dataset,time_days,event\na1,a,x,91.32,1\nb1,b,x,121.76,0\n", "os"),
    "CLAM": ("case_id,slide_id,label,survival_days,dead\na,a1,x,91.32,1\nb,b1,y,121.76,0\n", "os"),
}  # fmt: skip


@pytest.mark.parametrize("kind", RECOGNISED)
def test_tables_of_portals_and_tools_need_no_options(tmp_path, kind):
    content, endpoint = RECOGNISED[kind]
    labels = read(tmp_path, content, None, "t.txt", endpoint=endpoint)
    assert said(labels) == AB and labels.kind == kind.partition(",")[0]


def test_every_form_is_in_the_table_of_the_page():
    from checkout import ROOT

    page = (ROOT / "docs" / "data.md").read_text("utf-8")
    assert all(word in page for form in FORMS for word in form.name.split(", "))


def test_the_gdcs_json_is_a_table(tmp_path):
    cases = [
        {"case_id": "u1", "submitter_id": "a", "demographic": {"vital_status": "Dead", "days_to_death": 91.32},
         "diagnoses": [{"days_to_last_follow_up": None}], "project": {"project_id": "X"}},
        {"case_id": "u2", "demographic": {"submitter_id": "b_demographic", "vital_status": "Alive"},
         "diagnoses": [{"days_to_last_follow_up": 121.76}, {"days_to_last_follow_up": 3}]},
    ]  # fmt: skip
    assert said(read(tmp_path, json.dumps(cases), None, "clinical.json")) == AB
    with pytest.raises(DataError, match="JSON, but no list of cases"):
        read(tmp_path, '{"a": 1}', None, "x.json")


def workbook(sheets: dict[str, list[list]]) -> bytes:
    from openpyxl import Workbook

    book, out = Workbook(), io.BytesIO()
    book.remove(book.active)  # pyright: ignore[reportArgumentType]
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.save(out)
    return out.getvalue()


def test_workbooks_may_have_several_sheets(tmp_path):
    rows = [["id", "months", "status"], ["a", 3, "dead"], ["b", 4.0, "alive"]]
    assert said(read(tmp_path, workbook({"One": rows, "Empty": []}), name="t.xlsx")) == AB
    two = workbook({"Notes": [["x"], ["y"]], "Data": [["Export 2026"], *rows]})
    with pytest.raises(DataError, match=r"several sheets with cells: Notes, Data\. Name one with --sheet"):
        read(tmp_path, two, name="t.xlsx")
    assert said(read(tmp_path, two, name="t.xlsx", sheet="Data")) == AB
    with pytest.raises(DataError, match=r"unknown sheet of t.xlsx 'Dta'\. Did you mean Data"):
        read(tmp_path, two, name="t.xlsx", sheet="Dta")
    with pytest.raises(DataError, match="no Excel workbook"):
        read(tmp_path, table("a,3,1"), sheet="Data")
    with pytest.raises(DataError, match="unpacks to more than"):
        read(tmp_path, two, name="t.xlsx", sheet="Data", max_bytes=6000)


@pytest.mark.parametrize(
    ("content", "kind"),
    [(b"\xd0\xcf\x11\xe0\xa1\xb1", "old Excel"), (b"%PDF-1.7", "a PDF"), (b"<!DOCTYPE html><html>", "a web page"),
     (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS")],
)  # fmt: skip
def test_other_kinds_of_files_are_named(tmp_path, content, kind):
    with pytest.raises(DataError, match=kind):
        read(tmp_path, content)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
@pytest.mark.parametrize("wrap", ["", "gz", "zip", "zip of gz"])
def test_encodings_and_wrappings_are_seen_together(tmp_path, encoding, wrap):
    content = table("Süd,3,1", "Île,4,0", header="id;months;status").replace(",", ";").encode(encoding)
    if "gz" in wrap:
        content = gzip.compress(content)
    if "zip" in wrap:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr("t.csv.gz" if "gz" in wrap else "t.csv", content)
        content = out.getvalue()
    assert said(read(tmp_path, content)) == [("Süd", 3.0, True), ("Île", 4.0, False)]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_without_a_mark_is_seen_where_every_letter_is_ascii(tmp_path, encoding):
    content = table("A,3,1", "B,4,0", header="id,months,status").encode(encoding)
    assert said(read(tmp_path, content)) == [("A", 3.0, True), ("B", 4.0, False)]


def test_what_unpacks_to_too_much_is_refused(tmp_path):
    for content in (gzip.compress(b"0" * 5_000_000), table("a,3,1").encode() * 100_000):
        with pytest.raises(DataError, match=r"unpacks to more than|holds .* bytes, more than"):
            read(tmp_path, content, max_bytes=1_000_000)


@pytest.mark.parametrize(
    ("rows", "months"),
    [
        (["a;2,63;1", "b;34;0"], [2.63, 34.0]), (["a;,5;1", "b;1,25;0"], [0.5, 1.25]),
        (["a;2.63;1", "b;34.0;0"], [2.63, 34]),
        (["a;1,234;1", "b;12;0"], [1.234, 12.0]),  # of months, 1234 cannot be
    ],
)  # fmt: skip
def test_a_decimal_comma_is_one_where_every_number_has_it(tmp_path, rows, months):
    labels = read(tmp_path, table(*rows, header="id;months;status"))
    assert [p.time for p in labels.patients] == pytest.approx(months)


@pytest.mark.parametrize(
    ("cells", "reading"),
    [
        (["1,234.5", "12"], r"'1,234\.5' has a thousands sign: it may be 1234\.5"),
        (["1.234,5", "12"], r"'1\.234,5' has a thousands sign: it may be 1234\.5"),
        (["1 234", "12"], "'1 234' has a thousands sign: it may be 1234 "), (["1'234", "12"], "it may be 1234 "),
        (["2,5", "2.5"], r"2\.5 and 2,5 stand in one column"),
        (["1.021", "946"], r"1\.021 may be 1\.021 days, or 1021 days"),
        (["1,021", "946"], r"1,021 may be 1\.021 days, or 1021 days"),
    ],
)  # fmt: skip
def test_numbers_with_two_readings_are_refused_with_both(tmp_path, cells, reading):
    rows = "\n".join(f"{i};{cell};1" for i, cell in zip("ab", cells, strict=True))
    with pytest.raises(DataError, match=reading):
        read(tmp_path, f"id;days;status\n{rows}\n", "patient=id,time=days,event=status")


@pytest.mark.parametrize("cell", ["1_000", "\u0661\u0662", "3 4", "0x10", "1e", "five", "3\u00bd"])
def test_what_is_no_number_is_refused_by_line(tmp_path, cell):
    with pytest.raises(DataError, match=r"line 3: months is no number|may be"):
        read(tmp_path, table("a,3,1", f"b,{cell},0"))


@pytest.mark.parametrize(
    ("row", "why"),
    [("b,4,0,5", "line 3: more cells than the 3"), ("b,4,0,,x", "line 3: more cells"), ("b,4\0,0", "line 3: a NUL"),
     ("b,4", "line 3: the row is cut short")],
)  # fmt: skip
def test_rows_of_another_length_and_damaged_ones_are_refused_by_line(tmp_path, row, why):
    with pytest.raises(DataError, match=why):
        read(tmp_path, table("a,3,1", row))
    assert said(read(tmp_path, table("a,3,1,,", "b,4,0,"))) == AB, "blank cells at the end are none"


@pytest.mark.parametrize(
    ("names", "fits"), [(("a", "A"), False), (("P 1", "p 1"), False), (("P-01", "P-1"), False), (("7", "7.0"), False),
                        (("Su\u0308d", "S\u00fcd"), False), (("P1", "P10"), True), (("a-b", "ab"), True)]
)  # fmt: skip
def test_patients_in_two_spellings_are_refused(tmp_path, names, fits):
    content = table(f"{names[0]},3,1", f"{names[1]},4,0")
    if fits:
        assert len(read(tmp_path, content).patients) == 2
    else:
        with pytest.raises(DataError, match="1 patients are spelt in several ways"):
            read(tmp_path, content)


def test_covariates_are_read_or_reported_and_never_guessed(tmp_path):
    header, named = "id,months,status,age,sex", f"{EVENT},age=age,sex=sex"

    def found(*cells: str) -> tuple[list, list, set[str]]:
        labels = read(
            tmp_path, table(*(f"p{i},{i + 1},{i % 2},{c}" for i, c in enumerate(cells)), header=header), named
        )
        known = [p.covariates for p in labels.patients]
        return [k.get("age") for k in known], [k.get("is_female") for k in known], codes(labels)

    ages, sexes, said = found("61,Frau", "62.5,Mann", "89+,femme", "-1,homme", "old,?")
    assert (ages, sexes) == ([61, 62.5, None, None, None], [1, 0, 1, 0, None])
    assert {"age_not_a_number", "sex_not_understood"} <= said
    assert found("61,H", "62,M")[1] == [None, None], "hombre and mujer, or homme: m says nothing"
    assert found("61,1", "62,0")[1] == [None, None] and found("61,w", "62,m")[1] == [1, 0]


@pytest.mark.parametrize(
    ("column", "months"),
    [
        ("OSmonth", 3),
        ("survival_weeks", 3 * 7 / 30.44),
        ("OS (Jahre)", 36),
        ("Tage bis Tod", 3 / 30.44),
        ("días", 3 / 30.44),
    ],
)
def test_units_are_seen_in_names_of_many_languages(tmp_path, column, months):
    labels = read(tmp_path, f"id;{column};status\na;3;1\nb;3;0\n", f"patient=id,time={column},event=status")
    assert labels.patients[0].time == pytest.approx(months)


@pytest.mark.parametrize(
    ("labels", "files", "rule"),
    [
        (["a.ndpi", "b.ndpi"], ["a", "b"], "spelling"), (["a", "b"], ["a.svs", "b.ome.tiff"], "spelling"),
        (["S1/a.mrxs", "S2\\b.mrxs"], ["a", "b"], "spelling"), (["A", "b"], ["a", "B"], "case"),
        (["1000.0", "1001.0"], ["1000", "1001"], "spelling"), (["Su\u0308d"], ["S\u00fcd"], "spelling"),
        (["TCGA-A0-A000-01Z-00-DX1"], ["TCGA-A0-A000-01Z-00-DX1.F6E9A5DF-D8FB-45CF-B4BD-C6B76294C291"], "uuid"),
    ],
)  # fmt: skip
def test_names_of_slides_match_by_a_stated_rule(labels, files, rule):
    matched = match_names(labels, files)
    assert len(matched.names) == len(labels) and len(matched.by_rule[rule]) == len(labels)
    assert sorted(matched.names.values()) == sorted(files)


def test_two_slides_of_one_name_keep_their_endings(tmp_path):
    columns = f"{EVENT},slide=file"
    labels = read(tmp_path, "id,months,status,file\na,3,1,x.svs\na,3,1,x.ndpi\nb,4,0,y.SVS\n", columns)
    assert [p.slides for p in labels.patients] == [("x.ndpi", "x.svs"), ("y",)]
    labels = read(tmp_path, "id,months,status,file\na,3,1,x.svs\na,3,1,x\n", columns)
    assert labels.patients[0].slides == ("x",)


def test_names_that_are_not_unique_match_nobody():
    uuids = [f"TCGA-A0-A000-01Z-00-DX1.{c * 8}-D8FB-45CF-B4BD-C6B76294C291" for c in "AB"]
    assert match_names(["TCGA-A0-A000-01Z-00-DX1"], uuids).names == {}
    assert match_names(["a.svs", "a.ndpi"], ["a"]).names == {}
    assert match_names(["a", "A"], ["a", "A"]).names == {"a": "a", "A": "A"}
    assert slide_name("x.y.01.svs.h5") == "x.y.01" and slide_name(".svs") == ".svs"
    assert side_by_side(["HOSP-1-HE"], ["HOSP-1_HE", "zzz"]) == (
        "the labels name 'HOSP-1-HE' (1 such names), and the nearest file is 'HOSP-1_HE' (of 2)"
    )


def test_a_slide_table_is_matched_in_any_spelling_and_its_faults_are_named(tmp_path):
    slides = tmp_path / "slides.csv"
    slides.write_text("Patient;Filename\nA;x1.ndpi\nA;x2.ndpi\nb;y.svs\nc;z.svs\n")
    labels = read(tmp_path, table("a,3,1", "b,4,0"), slide_table=slides)
    assert [p.slides for p in labels.patients] == [("x1", "x2"), ("y",)] and "unmatched_slides" in codes(labels)
    for content, message in (
        ("who,what\na,x\n", "no column of patients: call it PATIENT"), ("patient,slide\nz,x\n", "no patient of"),
        ("patient,slide\na,\n", "line 2: patient or slide is blank"), ("patient,slide\na,x\nb,x\n", "several patients"),
    ):  # fmt: skip
        slides.write_text(content)
        with pytest.raises(DataError, match=message):
            read(tmp_path, table("a,3,1", "b,4,0"), slide_table=slides)


def test_columns_can_change_a_recognised_table(tmp_path):
    content = "PATIENT_ID\tOS_MONTHS\tOS_STATUS\tdead\tdays\na\t3\t0:LIVING\t1\t91.32\nb\t4\t0:LIVING\t0\t121.76\n"
    assert said(read(tmp_path, content, "event=dead")) == AB
    assert said(read(tmp_path, content, "event=dead,time=days")) == AB
    with pytest.raises(DataError, match=r"no column deed\. Did you mean dead"):
        read(tmp_path, content, "event=deed")


def test_a_column_that_stands_twice_is_refused(tmp_path):
    with pytest.raises(DataError, match="has the column months more than once"):
        read(tmp_path, "id,months,months,status\na,3,4,1\n")


IDS = [f"P{i}" for i in range(8)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"x.json": "{}"}, "JSON, but no folds"),
        ({"notes.md": "hello"}, r"no other folds that are known.*\n  one file a fold"),
        ({"folds.csv": "patient,fold\nP0,0\nP1,x\n"}, r"folds.csv, line 3: fold is 'x'"),
        ({"folds.csv": "patient,fold\nP0,0\nP0,1\n"}, "P0 is in fold 0 and in fold 1"),
        ({"k=all.csv": "case_id,fold_0\nP0,tost\n"}, "'tost', neither train, val nor test"),
        ({"splits_0_descriptor.csv": ",train,val\nx,3,4\n"}, "no other folds that are known"),
    ],
)  # fmt: skip
def test_folds_that_are_not_understood_say_what_is(tmp_path, content, message):
    labels = read(tmp_path, table(*(f"{p},{i + 1},{int(i < 6)}" for i, p in enumerate(IDS))))
    folder = tmp_path / "folds"
    folder.mkdir()
    for name, text in content.items():
        (folder / name).write_text(text)
    with pytest.raises(DataError, match=message):
        read_splits(folder, labels)


def test_clams_plain_files_count_before_its_tables_of_true_and_false(tmp_path):
    labels = read(tmp_path, table(*(f"{p},{i + 1},{int(i < 6)}" for i, p in enumerate(IDS))))
    folder = tmp_path / "folds"
    folder.mkdir()
    for name, header, rows in (
        ("splits_0.csv", ["", "train", "val", "test"], [[0, "P0", "P1", "P2"], [1, "P3", "", "P4"]]),
        ("splits_0_bool.csv", ["", "train", "val", "test"], [["P0", "True", "False", "False"]]),
        ("splits_0_descriptor.csv", ["", "train", "val", "test"], [["x", 2, 1, 2]]),
    ):
        with (folder / name).open("w", newline="") as file:
            csv.writer(file).writerows([header, *rows])
    (split,) = read_splits(folder, labels).splits
    assert (split.train, split.test) == (("P0", "P1", "P3"), ("P2", "P4"))
    assert read_splits(folder / "splits_0.csv", labels).splits == (split,), "a file by itself is one fold"


def test_full_width_letters_are_a_spelling_and_a_superscript_is_not():
    for key in (patient_key, slide_key):
        assert key("\uff30\uff0d\uff10\uff13") == key("P-03") == key("p-03")  # full width
        assert key("P-0\N{SUPERSCRIPT THREE}") != key("P-03")

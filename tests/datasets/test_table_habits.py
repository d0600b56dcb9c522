"""Habits of spreadsheets, of statistics programs and of other languages: what a table says, or the remedy."""

import json
import unicodedata
from pathlib import Path

import pytest
from milsurv.datasets.folds.read import read_splits
from milsurv.datasets.labels.columns import parse_columns
from milsurv.datasets.labels.read import Labels, read_labels
from milsurv.datasets.labels.status_words import parse_status_words
from milsurv.errors import DataError

EVENT = "patient=id,time=months,event=status"
AB = [("a", 3.0, True), ("b", 4.0, False)]


def read(folder: Path, content: str, columns: str | None = EVENT, **options) -> Labels:
    path = folder / "t.csv"
    path.write_text(content, "utf-8")
    return read_labels(path, "mine", columns=parse_columns(columns) if columns else None, **options)


def said(labels: Labels) -> list[tuple[str, float, bool]]:
    return [(p.id, round(p.time, 3), p.event) for p in labels.patients]


def test_decimals_in_every_cell_do_not_hide_the_semicolons(tmp_path):
    assert said(read(tmp_path, "id;months;status\na;3,00;1,00\nb;4,00;,00\n")) == AB, "SPSS"
    assert said(read(tmp_path, "id;age;months;status\na;61,0;3,0;1,0\nb;62,0;4,0;0,0\n")) == AB


@pytest.mark.parametrize("mark", ["-", ".", "#N/A", "#NULL!", "unknown", "k.A."])
def test_marks_for_a_missing_time_can_be_left_out_on_purpose(tmp_path, mark):
    content = f"id,months,status\na,3,1\nb,4,0\nc,{mark},0\n"
    with pytest.raises(DataError, match="months is missing or not above zero for 1 patients"):
        read(tmp_path, content)
    labels = read(tmp_path, content, unusable_times="drop")
    assert said(labels) == AB and labels.excluded == {"c": "months is missing"}


@pytest.mark.parametrize(
    ("died", "alive"),
    [
        ("Exitus", "vivo"),
        (unicodedata.normalize("NFD", "Décédé"), "vivant"),
        ("DCD", "en vie"),
        ("ÖLDÜ", "YA\u015eIYOR"),
        ("死亡", "存活"),
        ("1,00", ",00"),
    ],
)
def test_words_of_more_languages_and_programs_are_understood(tmp_path, died, alive):
    assert said(read(tmp_path, f"id;months;status\na;3;{died}\nb;4;{alive}\n")) == AB


def test_turkish_capitals_are_the_word_that_was_named(tmp_path):
    content = "id,months,status\na,3,KAYBED\u0130LD\u0130\nb,4,TAK\u0130PTE\n"
    assert said(read(tmp_path, content, status_words=parse_status_words("died=kaybedildi"))) == AB


@pytest.mark.parametrize(
    ("words", "warning"),
    [("died=tot|verstroben", "In no cell: verstroben"), ("died=tot", "Against what they usually say: verstorben")],
)
def test_words_that_were_named_amiss_are_a_warning(tmp_path, words, warning):
    content = "id,months,status\na,3,tot\nb,4,lebt\nc,5,verstorben\n"
    (note,) = (
        f for f in read(tmp_path, content, status_words=parse_status_words(words)).findings if f.code == "status_words"
    )
    assert note.severity == "warning" and warning in note.message
    named = parse_status_words("died=tot|verstorben")
    (note,) = (f for f in read(tmp_path, content, status_words=named).findings if f.code == "status_words")
    assert note.severity == "info"


@pytest.mark.parametrize(
    ("key", "column", "doubted"),
    [("event", "alive", True), ("event", "OS censorship", True), ("censorship", "dead", True),
     ("censorship", "alive", False), ("event", "os_event", False), ("event", "event_or_censored", False)],
)  # fmt: skip
def test_a_column_of_the_living_that_is_named_as_events_is_a_warning(tmp_path, key, column, doubted):
    labels = read(tmp_path, f"id,months,{column}\na,3,1\nb,4,0\n", f"patient=id,time=months,{key}={column}")
    assert ("outcome_key_unlikely" in {f.code for f in labels.findings}) == doubted


def test_the_time_of_censored_patients_may_have_a_column_of_its_own(tmp_path):
    content = "id,death_days,contact_days,status\na,91.32,,dead\nb,,121.76,alive\n"
    columns = "patient=id,time=death_days,event=status"
    with pytest.raises(DataError, match=r"All of them are censored: .*--columns time_censored="):
        read(tmp_path, content, columns)
    assert said(read(tmp_path, content, f"{columns},time_censored=contact_days")) == AB
    with pytest.raises(DataError, match="is in days and 'contact_months' in months: write both in one unit"):
        read(tmp_path, content.replace("contact_days", "contact_months"), f"{columns},time_censored=contact_months")


@pytest.mark.parametrize(
    "header",
    ["bcr_patient_barcode,vital_status,days_to_death,days_to_last_followup",
     "bcr_patient_barcode,vital_status,death_days_to,last_contact_days_to",
     "Cases Submitter ID,Vital Status,Days to Death,Days to Last Follow Up"],
)  # fmt: skip
def test_older_and_sister_tables_of_the_gdc_are_known(tmp_path, header):
    labels = read(tmp_path, f"{header}\na,Dead,91.32,[Not Available]\nb,Alive,,121.76\n", None)
    assert said(labels) == AB and labels.kind == "GDC"


def test_line_breaks_in_a_header_are_blanks(tmp_path):
    content = 'id,"OS\n(months)",status\na,3,1\nb,4,0\n'
    assert said(read(tmp_path, content, "patient=id,time=OS (months),event=status")) == AB


@pytest.mark.parametrize(
    ("content", "remedy"),
    [
        ("id,months,status\n1,a,3,1\n2,b,4,0\n", "row names without a column name, as R writes them"),
        ("id months status\na 3 1\n", "The table has one column: separate the cells by commas"),
        ("id,months,status\na,02.03.2019,1\nb,2020-03-02T00:00:00,0\n", "These are dates: write the time from"),
    ],
)
def test_what_cannot_be_read_says_why(tmp_path, content, remedy):
    with pytest.raises(DataError, match=remedy):
        read(tmp_path, content)


@pytest.mark.parametrize(
    ("column", "months"),
    [("生存时间\uff08月\uff09", 3), ("总生存期(天)", 3 / 30.44), ("Sa\u011fkal\u0131m (g\u00fcn)", 3 / 30.44)],
)
def test_units_of_more_languages_are_seen(tmp_path, column, months):
    labels = read(tmp_path, f"id;{column};status\na;3;1\nb;3;0\n", f"patient=id,time={column},event=status")
    assert labels.patients[0].time == pytest.approx(months)


def test_another_code_page_is_named_where_columns_are_lacking(tmp_path):
    (tmp_path / "t.csv").write_bytes("患者,生存时间,状态\na,3,死亡\n".encode("gbk"))
    with pytest.raises(DataError, match="read as cp1252: if its letters look wrong here, save it as UTF-8"):
        read_labels(
            tmp_path / "t.csv", "mine", columns=parse_columns("patient=患者,time=生存时间,event=状态,unit=days")
        )


def test_units_are_said_as_they_are_and_parts_of_days_are_noticed(tmp_path):
    labels = read(tmp_path, "id,weeks,status\na,3,1\nb,4,0\n", "patient=id,time=weeks,event=status")
    assert any("months are weeks times 7 / 30.44" in f.message for f in labels.findings)
    rows = "".join(f"p{i},{{}},{i % 2}\n" for i in range(12))
    for times, doubted in (([i + 0.7 for i in range(12)], True), ([i + 1 for i in range(12)], False)):
        labels = read(tmp_path, "id,os_days,status\n" + rows.format(*times), "patient=id,time=os_days,event=status")
        assert ("time_unit_unlikely" in {f.code for f in labels.findings}) == doubted


IDS = [f"P{i}" for i in range(8)]
TRAIN, TEST = IDS[:5], IDS[5:]
COLUMNS = "train,test\n" + "".join(f"{a},{b}\n" for a, b in zip(TRAIN, [*TEST, "NA", "nan"], strict=True))


@pytest.mark.parametrize(
    "files",
    [
        {"splits.json": json.dumps({"splits": [{"train_patients": TRAIN, "test_patients": TEST}]})},
        {"splits.json": json.dumps(dict.fromkeys(TRAIN, "train") | dict.fromkeys(TEST, "test"))},
        {"sets.csv": "patient_id,partition\n" + "".join(f"{p},{'train' if p in TRAIN else 'test'}\n" for p in IDS)},
        {"train_0.csv": "patient\n" + "\n".join(TRAIN), "test_0.csv": "patient\n" + "\n".join(TEST)},
        {"fold0_train.txt": "\n".join(TRAIN), "fold0_test.txt": "\n".join(TEST)},
        {"train_fold_0.csv": "patient\n" + "\n".join(TRAIN), "test_fold_0.csv": "patient\n" + "\n".join(TEST)},
        {"train.txt": "\n".join(TRAIN), "test.txt": "\n".join(TEST)},
        {"fold_0/train.txt": "\n".join(TRAIN), "fold_0/test.txt": "\n".join(TEST)},
        {"splits_0.csv": COLUMNS},
        {"splits_0.csv": COLUMNS.replace("train,", "train_val,")},
    ],
    ids=[
        "STAMP",
        "set by patient",
        "partition",
        "train_0",
        "fold0_train",
        "train_fold_0",
        "train.txt",
        "fold_0",
        "NA",
        "train_val",
    ],
)
def test_folds_are_read_in_more_forms(tmp_path, files):
    labels = read(tmp_path, "id,months,status\n" + "".join(f"{p},{i + 1},{i % 2}\n" for i, p in enumerate(IDS)))
    for name, text in files.items():
        (path := tmp_path / "folds" / name).parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    folds = read_splits(tmp_path / "folds", labels)
    assert [(s.train, s.test) for s in folds.splits] == [(tuple(TRAIN), tuple(TEST))]
    assert not {f.code for f in folds.findings} & {"fold_ids_unlabelled", "fold_ids_repeated"}


@pytest.mark.parametrize("column", ["fold_number", "fold_idx", "CV fold", "foldid"])
def test_a_column_of_folds_has_many_names(tmp_path, column):
    labels = read(tmp_path, "id,months,status\n" + "".join(f"{p},{i + 1},1\n" for i, p in enumerate(IDS)))
    table = tmp_path / "folds.csv"
    table.write_text(f"patient,{column}\n" + "".join(f"{p},{i % 2}\n" for i, p in enumerate(IDS)))
    assert [s.test for s in read_splits(table, labels).splits] == [tuple(IDS[::2]), tuple(IDS[1::2])]


def test_two_series_of_folds_in_one_folder_are_refused(tmp_path):
    labels = read(tmp_path, "id,months,status\n" + "".join(f"{p},{i + 1},1\n" for i, p in enumerate(IDS)))
    (folder := tmp_path / "folds").mkdir()
    for name in ("splits_0.csv", "old_splits_0.csv"):
        (folder / name).write_text(COLUMNS)
    with pytest.raises(DataError, match=r"splits_0.csv and old_splits_0.csv are both fold 0: keep one series"):
        read_splits(folder, labels)


def test_two_files_of_one_set_are_refused(tmp_path):
    labels = read(tmp_path, "id,months,status\n" + "".join(f"{p},{i + 1},1\n" for i, p in enumerate(IDS)))
    (folder := tmp_path / "folds").mkdir()
    for name in ("train_0.txt", "fold0_train.txt", "test_0.txt"):
        (folder / name).write_text("\n".join(TRAIN))
    with pytest.raises(DataError, match=r"train_0.txt and fold0_train.txt are both the train of fold 0"):
        read_splits(folder, labels)

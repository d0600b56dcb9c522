"""Tables and folds drawn at random, written in any form people write them in: what is accepted is the truth.

Small by default; `MILSURV_FUZZ=5000 python -m pytest tests/datasets/test_fuzz_tables.py` draws that many of each.
"""

import csv
import gzip
import io
import json
import os
import unicodedata
import zipfile
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from milsurv.datasets.folds.read import read_splits
from milsurv.datasets.labels.options import LabelOptions
from milsurv.datasets.labels.read import read_labels
from milsurv.datasets.labels.status_words import parse_status_words
from milsurv.errors import DataError

MANY = int(os.environ.get("MILSURV_FUZZ", "60"))
fuzzed = settings(
    max_examples=MANY,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)

PER_MONTH = {"days": 30.44, "weeks": 30.44 / 7, "months": 1.0, "years": 1 / 12}
WORDS = [  # died, censored, and what the user has to say for it
    ("1", "0", None), ("1.0", "0.0", None), ("TRUE", "FALSE", None), ("yes", "no", None), ("Y", "N", None),
    ("Dead", "Alive", None), ("1:DECEASED", "0:LIVING", None), ("DIED", "censored", None), ("event", "no event", None),
    ("verstorben", "lebend", None), ("Died of Disease", "Living", None), ("D", "A", None), ("tot", "xyz", "died=tot"),
    ("2", "1", "died=2"), ("ex", "vivo", "died=ex"), ("foo", "bar", "censored=bar"),
]  # fmt: skip
NASTY = {  # cells that nobody may take for a value
    "time": ["1_000", "\u0661\u0662", "12 3", "abc", "1.2.3", "", "12,5x", "-5", "0", "1e999", "\0", "1'234"],
    "status": ["maybe", "3", "", "1:LIVING", "0:DECEASED", "\0", "dea", "ali\u0301ve", "unknown"],
    "patient": ["", "  ", "\0", None],
}  # fmt: skip
JUNK = st.text(st.characters(codec="cp1252", exclude_characters="\0\r\n", exclude_categories=["Cc"]), max_size=8)


@dataclass
class Truth:
    ids: list[str]
    days: list[int]
    died: list[bool]


@st.composite
def truths(draw: st.DrawFn) -> Truth:
    n = draw(st.integers(8, 16))
    style = draw(st.sampled_from(["HOSP-{:04}", "{}", "P{}", "S\u00fcd {}", "TCGA-A2-{:04}", "a.b-{}", "K{:03}.1"]))
    start = draw(st.integers(1, 500))
    days = draw(st.lists(st.integers(20, 4000), min_size=n, max_size=n))
    died = draw(st.lists(st.booleans(), min_size=n, max_size=n))
    died[0], died[1], died[2] = True, False, True
    return Truth([style.format(start + i) for i in range(n)], days, died)


def written(days: int, unit: str, places: int, decimal: str) -> tuple[str, float]:
    value = days / 30.44 * PER_MONTH[unit]
    text = f"{value:.{places}f}" if places else str(round(value))
    return text.replace(".", decimal), float(text) / PER_MONTH[unit]


@st.composite
def tables(
    draw: st.DrawFn,
) -> tuple:
    """Truth, months as written, rows, the time column, what 1 means, a nasty cell's kind, and status words."""
    truth = draw(truths())
    unit = draw(st.sampled_from(list(PER_MONTH)))
    places = draw(st.sampled_from([0, 2, 3] if unit == "days" else [2, 3, 4]))
    decimal = draw(st.sampled_from([".", ","]))
    yes, no, named = draw(st.sampled_from(WORDS))
    event = draw(st.booleans())
    flips = not event and yes.lower() in ("1", "1.0", "true", "yes", "y")
    column = draw(st.sampled_from([f"os_{unit}", f"OS ({unit})", f"Follow-up {unit}", "t"]))
    rows, months = [], []
    for patient, days, died in zip(truth.ids, truth.days, truth.died, strict=True):
        text, value = written(days, unit, places, decimal)
        months.append(value)
        rows.append([patient, text, yes if died != flips else no, draw(JUNK), f"{patient}_HE.svs"])
    nasty = draw(st.none() | st.sampled_from(list(NASTY)))
    if nasty is not None:
        at = draw(st.integers(0, len(rows) - 1))
        place = ["patient", "time", "status"].index(nasty)
        bad = draw(st.sampled_from(NASTY[nasty]))
        rows[at][place] = rows[at - 1][0].swapcase() if bad is None else bad
        if rows[at][place] == rows[at - 1][0]:
            rows[at][place] = ""
    if draw(st.booleans()):
        order = draw(st.permutations(range(len(rows))))
        rows = [rows[i] for i in order]
    return truth, months, rows, column, unit, event, nasty, named


def save(draw: st.DrawFn, folder: Path, header: list[str], rows: list[list[str | None]]) -> Path:
    """Write a table in one of the ways of people and programs."""
    kind = draw(st.sampled_from(["csv", "csv", "csv", "xlsx", "parquet"]))
    flat = [[cell or "" for cell in row] for row in rows]
    if kind == "xlsx" and not any("\0" in cell for row in flat for cell in row):
        from openpyxl import Workbook

        book = Workbook()
        for row in (header, *flat):
            book.active.append(row)  # pyright: ignore[reportOptionalMemberAccess]
        book.save(folder / "t.xlsx")
        return folder / "t.xlsx"
    if kind == "parquet":
        import pyarrow
        from pyarrow import parquet

        columns = {name: [row[i] for row in flat] for i, name in enumerate(header)}
        parquet.write_table(pyarrow.table(columns), folder / "t.parquet")
        return folder / "t.parquet"
    out = io.StringIO()
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    separator = draw(st.sampled_from(",;\t|"))
    writer = csv.writer(out, delimiter=separator, quoting=quoting, lineterminator=draw(st.sampled_from(["\n", "\r\n"])))
    writer.writerows([header, *flat])
    before = draw(st.sampled_from(["", "", "# exported\n", "\n"]))
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"]))
    text = before + out.getvalue()
    try:
        content = text.encode(encoding)
    except UnicodeEncodeError:
        content = text.encode("utf-8")
    wrap = draw(st.sampled_from(["", "", "gz", "zip"]))
    path = folder / f"t.csv{'.' + wrap if wrap else ''}"
    if wrap == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x/t.csv", content)
    else:
        path.write_bytes(gzip.compress(content) if wrap else content)
    return path


@given(st.data())
@fuzzed
def test_whatever_labels_are_accepted_are_the_truth(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("labels")
    truth, months, rows, column, unit, event, nasty, named = data.draw(tables())
    path = save(data.draw, folder, ["pid", column, "status", "remark", "file"], rows)
    key = "event" if event else "censorship"
    columns = {"patient": "pid", "time": column, key: "status", "slide": "file"}
    columns |= {"unit": unit} if column == "t" else {}
    options = LabelOptions(columns=columns, status_words=parse_status_words(named))
    try:
        labels = read_labels(path, "mine", options)
    except DataError as error:
        assert path.name in str(error)
        if nasty is None and named is None:  # what is sound is refused for numbers with two readings alone
            assert "may be" in str(error) or "no UTF-8" in str(error), error
        return
    assert nasty is None or (nasty == "status" and named), f"a nasty {nasty} was accepted"
    if nasty is not None:
        return  # a word that is not named is the other state, and is shown
    assert [p.id for p in labels.patients] == sorted(truth.ids)
    for identifier, month, died in zip(truth.ids, months, truth.died, strict=True):
        patient = labels.by_id[identifier]
        assert patient.time == pytest.approx(month, rel=1e-9) and patient.event is died
        assert patient.slides == (f"{identifier}_HE",)


SPELLINGS = [
    lambda i: i, lambda i: i.lower(), lambda i: f"{i}_HE.svs", lambda i: f"{i}_HE.ndpi.h5",
    lambda i: f"slides/{i}_HE.tif",
    lambda i: unicodedata.normalize("NFD", i), lambda i: f"{i}.0" if i.isdigit() else i, lambda i: f" {i} ",
]  # fmt: skip


def save_folds(draw: st.DrawFn, folder: Path, splits: list[tuple[list[str], list[str]]], ids: list[str]) -> Path:
    """Write folds in one of the forms of people and programs."""
    spell = draw(st.sampled_from(SPELLINGS))
    form = draw(st.sampled_from(["files", "traintest", "bool", "folders", "one", "patho", "json", "json dict"]))
    test = draw(st.sampled_from(["val", "Val", "VALID", "test", "Test"]))
    place = folder / "folds"
    place.mkdir()
    if form in ("files", "traintest", "bool"):
        stem = draw(st.sampled_from(["splits_{}", "fold_{}", "fold{}", "split-{}"]))
        for k, (train, tested) in enumerate(splits):
            if form == "bool":
                rows = [["", "train", "val", "test"]]
                rows += [[spell(i), str(i in train), "False", str(i in tested)] for i in ids]
            else:
                rows = [["train", test], *zip_longest(map(spell, train), map(spell, tested), fillvalue="")]
            with (place / f"{stem.format(k)}.csv").open("w", newline="", encoding="utf-8") as file:
                csv.writer(file, delimiter=draw(st.sampled_from(",;"))).writerows(rows)
    elif form == "folders":
        for k, sets in enumerate(splits):
            (place / f"fold_{k}").mkdir()
            for name, mine in zip(("train", "test"), sets, strict=True):
                text = "\n".join(["case_id", *map(spell, mine)]) + "\n"
                (place / f"fold_{k}" / f"{name}.csv").write_text(text, "utf-8")
    elif form in ("one", "patho"):
        header = ["case_id", "fold"] if form == "one" else ["case_id", *(f"fold_{k}" for k in range(len(splits)))]
        rows = [
            [spell(i), *([next(k for k, (_, t) in enumerate(splits) if i in t)] if form == "one"
                         else ["test" if i in t else "train" for _, t in splits])] for i in ids
        ]  # fmt: skip
        with (place / "k=all.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header, *rows])
    else:
        folds = [{"train": list(map(spell, train)), "test": list(map(spell, tested))} for train, tested in splits]
        content = folds if form == "json" else {f"fold_{k}": fold for k, fold in enumerate(folds)}
        (place / "splits.json").write_text(json.dumps(content), "utf-8")
    return place


@given(st.data())
@fuzzed
def test_whatever_folds_are_accepted_are_the_truth(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("folds")
    truth = data.draw(truths())
    k = data.draw(st.integers(2, 3))
    for i in range(2 * k):  # deaths on every side of every fold
        truth.died[i] = True
    rows = [
        {"case_id": i, "slide_id": f"{i}_HE", "survival_months": d / 30, "censorship": int(not e)}
        for i, d, e in zip(truth.ids, truth.days, truth.died, strict=True)
    ]
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    labels = read_labels(folder / "labels.csv", "mine")
    splits = [([i for i in truth.ids if i not in truth.ids[j::k]], truth.ids[j::k]) for j in range(k)]
    place = save_folds(data.draw, folder, splits, truth.ids)
    folds = read_splits(place, labels)
    assert [(split.train, split.test) for split in folds.splits] == [
        (tuple(sorted(train)), tuple(sorted(test))) for train, test in splits
    ]


@given(st.data())
@fuzzed
def test_no_damage_to_a_table_ends_in_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("damage")
    _, _, rows, column, unit, event, _, named = data.draw(tables())
    path = save(data.draw, folder, ["pid", column, "status", "remark", "file"], rows)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, 9999)) * len(content) // 10_000  # the sizes of packed files vary
        if data.draw(st.booleans()):
            content[at] = data.draw(st.integers(0, 255))
        else:
            content = content[: max(at, 1)]
    path.write_bytes(content)
    columns = {"patient": "pid", "time": column, "event" if event else "censorship": "status"}
    columns |= {"unit": unit} if column == "t" else {}
    try:
        read_labels(path, "mine", LabelOptions(columns=columns, status_words=parse_status_words(named)))
        read_splits(folder, read_labels(path, "mine", columns=columns))
    except DataError as error:
        assert str(error)

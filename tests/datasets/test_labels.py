"""Label tables: patients are the unit, every finding is listed, and what cannot be trusted is refused by line."""

import csv
import io
import random
import zipfile
from pathlib import Path

import pytest
from checkout import SHARED
from hypothesis import given, settings
from hypothesis import strategies as st
from milsurv.datasets.labels.read import Labels, read_labels
from milsurv.datasets.layout import find_labels
from milsurv.datasets.tables.unwrap import read_table_bytes
from milsurv.errors import DataError

DATA = SHARED / "data"
real = pytest.mark.skipif(not DATA.is_dir(), reason="the public label tables are not beside this checkout")

HEADER = ("case_id", "slide_id", "survival_months", "censorship", "age")
A1 = ("TCGA-05-AAAA", "TCGA-05-AAAA-01Z-00-DX1.x.svs", "12.5", "0", "61")
A2 = ("TCGA-05-AAAA", "TCGA-05-AAAA-01Z-00-DX2.y.svs", "12.5", "0", "61")
B1 = ("TCGA-E2-BBBB", "TCGA-E2-BBBB-01Z-00-DX1.z.svs", "40", "1", "")
ROWS = [A1, A2, B1]


def text_of(rows: list[tuple[str, ...]], header: tuple[str, ...] = HEADER) -> str:
    out = io.StringIO()
    csv.writer(out).writerows([header, *rows])
    return out.getvalue()


def read(folder: Path, rows: list[tuple[str, ...]], header: tuple[str, ...] = HEADER, **options: str) -> Labels:
    path = folder / "labels.csv"
    path.write_text(text_of(rows, header))
    return read_labels(path, "mine", **options)  # type: ignore[arg-type]


def codes(labels: Labels) -> dict[str, int]:
    return {f.code: f.count for f in labels.findings}


def test_slides_of_one_patient_become_one_patient(tmp_path: Path) -> None:
    labels = read(tmp_path, ROWS)
    a, b = labels.patients
    assert (a.id, a.time, a.event, a.site) == ("TCGA-05-AAAA", 12.5, True, "05")
    assert a.slides == ("TCGA-05-AAAA-01Z-00-DX1.x", "TCGA-05-AAAA-01Z-00-DX2.y")
    assert a.covariates == {"age": 61.0, "site": "05"}
    assert (b.time, b.event, "age" in b.covariates) == (40.0, False, False)
    assert codes(labels) == {"several_slides": 1, "age_missing": 1, "sex_missing": 2, "time_unit": 1}
    assert not labels.synthetic
    assert labels.oracle is None


def test_the_site_comes_from_the_barcode_and_never_from_an_integer_column(tmp_path: Path) -> None:
    labels = read(tmp_path, [(*A1, "5")], (*HEADER, "site"))
    assert labels.patients[0].site == labels.patients[0].covariates["site"] == "05"


def test_ids_that_are_no_barcodes_are_taken_as_they_are(tmp_path: Path) -> None:
    labels = read(tmp_path, [("patient 7", "slide-a", "3", "0", ""), ("patient 8", "slide-b", "4", "1", "")])
    first = labels.patients[0]
    assert (first.id, first.site, first.slides) == ("patient 7", "", ("slide-a",))


def test_slide_barcodes_as_case_ids_are_cut_to_their_patient_and_reported(tmp_path: Path) -> None:
    rows = [(r[1].removesuffix(".svs"), *r[1:]) for r in ROWS]
    labels = read(tmp_path, rows)
    assert [p.id for p in labels.patients] == ["TCGA-05-AAAA", "TCGA-E2-BBBB"]
    assert codes(labels)["case_id_is_slide_barcode"] == 3


@given(st.randoms(use_true_random=False))
@settings(max_examples=25)
def test_the_order_of_rows_changes_nothing(tmp_path_factory: pytest.TempPathFactory, shuffle: random.Random) -> None:
    folder = tmp_path_factory.mktemp("order")
    rows = [(f"p{i:02}", f"s{i}-{k}", str(i + 1), str(i % 2), "") for i in range(8) for k in range(1 + i % 3)]
    first = read(folder, rows)
    shuffle.shuffle(rows)
    second = read(folder, rows)
    assert (second.patients, second.fingerprint) == (first.patients, first.fingerprint)


@pytest.mark.parametrize("column", [2, 3])
def test_another_time_or_event_gives_another_fingerprint(tmp_path: Path, column: int) -> None:
    before = read(tmp_path, ROWS).fingerprint
    changed = list(B1)
    changed[column] = {2: "40.01", 3: "0"}[column]
    assert read(tmp_path, [A1, A2, tuple(changed)]).fingerprint != before


def test_rows_that_repeat_exactly_are_used_once_and_reported(tmp_path: Path) -> None:
    labels = read(tmp_path, [*ROWS, A1])
    assert codes(labels)["duplicate_rows"] == 1
    assert labels.fingerprint == read(tmp_path, ROWS).fingerprint


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        ([A1, (*A2[:2], "13", "0", "61")], HEADER, r"1 patients have rows with different .*TCGA-05-AAAA"),
        ([A1, (*A2[:3], "1", "61")], HEADER, r"1 patients have rows with different .*TCGA-05-AAAA"),
        ([A1, ("other", *A1[1:])], HEADER, r"slides stand under several patients: TCGA-05-AAAA-01Z"),
        ([A1, (B1[0], *A2[1:])], HEADER, r"line 3: slide TCGA-05-AAAA-01Z-00-DX2.y stands under TCGA-E2-BBBB"),
        ([A1, (*B1[:3], "2", "")], HEADER, r"line 3: censorship must be 0 \(died\) or 1 \(censored\) but is 2"),
        ([(*A1[:3], "", "")], HEADER, r"line 2: censorship must be .* but is blank"),
        ([(*A1[:3], "yes", "")], HEADER, r"line 2: censorship is no number \(yes\)"),
        ([A1, (*B1[:2], "soon", "1", "")], HEADER, r"line 3: survival_months is no number \(soon\)"),
        ([A1, (*B1[:2], "0", "1", "")], HEADER, r"line 3: survival_months is missing or not above zero"),
        ([A1, (*B1[:2], "-4", "1", "")], HEADER, r"line 3: survival_months is missing or not above zero"),
        ([A1, (*B1[:2], "", "1", "")], HEADER, r"line 3: survival_months is missing or not above zero"),
        ([A1, (*B1[:2], "inf", "1", "")], HEADER, r"line 3: survival_months is missing or not above zero"),
        ([A1, ("", *B1[1:])], HEADER, r"line 3: case_id or slide_id is blank"),
        ([A1, B1[:2]], HEADER, r"line 3: the row is cut short"),
        ([A1], ("case", "slide_id", "months", "censorship", "age"), r"lacks the columns case_id, survival_months\."
         r" Expected case_id, .* found case, slide_id, months"),
        ([], HEADER, "has a header but no rows"),
        ([("SYNT-05-AAAA", "s", "3", "0", ""), B1], HEADER, "mixes synthetic patients"),
    ],
)  # fmt: skip
def test_what_cannot_be_trusted_is_refused_by_name(
    tmp_path: Path, rows: list[tuple[str, ...]], header: tuple[str, ...], message: str
) -> None:
    with pytest.raises(DataError, match=message) as refused:
        read(tmp_path, rows, header)
    assert "labels.csv" in str(refused.value)


def test_unusable_times_can_be_left_out_on_purpose_and_are_then_listed(tmp_path: Path) -> None:
    labels = read(tmp_path, [A1, A2, (*B1[:2], "0", "0", "")], unusable_times="drop")
    assert [p.id for p in labels.patients] == ["TCGA-05-AAAA"]
    assert labels.excluded == {"TCGA-E2-BBBB": "survival_months is 0"}
    assert codes(labels)["time_not_positive"] == 1
    assert (labels.table_counts.patients, labels.counts.patients) == (2, 1)


def zipped(content: bytes, name: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return out.getvalue()


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_zip_inside_a_zip_is_read_and_nothing_is_extracted(tmp_path: Path, depth: int) -> None:
    content = text_of(ROWS).encode()
    for level in range(depth):
        content = zipped(content, "../../escaped.csv" if level == 0 else "../escaped.csv.zip")
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    (inside / "labels.csv.zip").write_bytes(content)
    assert len(read_labels(inside / "labels.csv.zip", "mine").patients) == 2
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == ["labels.csv.zip"]


def test_zips_that_cannot_be_tables_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv.zip"
    deep = b"x"
    for _ in range(6):
        deep = zipped(deep, "x.zip")
    path.write_bytes(deep)
    with pytest.raises(DataError, match="levels deep"):
        read_labels(path, "mine")
    path.write_bytes(zipped(b"0" * 10_000_000, "bomb.csv"))
    with pytest.raises(DataError, match="unpacks to more than"):
        read_table_bytes(path, max_bytes=1_000_000)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", "a")
        archive.writestr("b.csv", "b")
    with pytest.raises(DataError, match=r"exactly one table but holds a\.csv, b\.csv"):
        read_labels(path, "mine")
    with pytest.raises(DataError, match="does not exist"):
        read_labels(tmp_path / "none.csv", "mine")
    with pytest.raises(DataError, match="is a folder"):
        read_labels(tmp_path, "mine")


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_damaged_zip_is_a_data_error_and_never_another(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(zipped(zipped(text_of(ROWS * 20).encode(), "labels.csv"), "../labels.csv.zip"))
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    for _ in range(data.draw(st.integers(0, 3))):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.csv.zip"
    path.write_bytes(content)
    try:
        labels = read_labels(path, "mine")
    except DataError as error:
        assert "damaged.csv.zip" in str(error)
    else:
        assert len(labels.patients) == 2, "damage that goes unnoticed must not lose patients"


@real
def test_coad_loses_its_23_zero_times_and_says_so() -> None:
    labels = read_labels(find_labels(DATA / "crossfusion", "coad"), "coad")
    found = codes(labels)
    assert (found["time_not_positive"], found["case_id_is_slide_barcode"]) == (23, 424)
    assert len(labels.excluded) == 23
    assert (labels.table_counts.patients, labels.table_counts.events) == (416, 95)
    assert (labels.counts.patients, labels.counts.slides, labels.counts.events) == (393, 401, 87)


@real
def test_a_luad_table_of_other_size_than_the_public_one_is_reported() -> None:
    labels = read_labels(find_labels(DATA / "mcat", "luad"), "luad")
    assert (labels.counts.patients, labels.counts.slides, labels.counts.events) == (453, 516, 158)
    assert codes(labels)["counts_differ"] == 1

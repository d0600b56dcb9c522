"""Tables of other tools: known by their columns, or by names that the user gives; endpoints and units always said."""

import csv
from pathlib import Path

import pytest
from checkout import SHARED
from hypothesis import given
from hypothesis import strategies as st
from milsurv.datasets.folds.read import read_splits
from milsurv.datasets.labels.columns import parse_columns
from milsurv.datasets.labels.link_slides import link_slides
from milsurv.datasets.labels.read import Labels, read_labels
from milsurv.datasets.labels.time_units import basis_of
from milsurv.datasets.layout import find_labels
from milsurv.errors import DataError

DATA = SHARED / "data"
real = pytest.mark.skipif(not DATA.is_dir(), reason="the public label tables are not beside this checkout")

IDS = ["TCGA-3C-0001", "TCGA-A2-0002", "TCGA-BH-0003", "TCGA-E2-0004"]


def write(path: Path, rows: list[dict[str, object]], delimiter: str = ",") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def codes(labels: Labels) -> dict[str, int]:
    return {f.code: f.count for f in labels.findings}


def note(labels: Labels) -> str:
    (found,) = [f.message for f in labels.findings if f.code == "time_unit"]
    return found


def cdr(path: Path) -> Path:
    rows = [
        {"bcr_patient_barcode": i, "type": "BRCA", "age_at_initial_pathologic_diagnosis": 60, "gender": "FEMALE",
         "ajcc_pathologic_tumor_stage": "[Not Available]", "clinical_stage": "Stage II", "histological_type": "IDC",
         "histological_grade": "[Unknown]", "OS": 1, "OS.time": 3044, "DSS": "NA", "DSS.time": 3044, "PFI": 1,
         "PFI.time": 304.4, "DFI": "NA", "DFI.time": "NA", "Redaction": "NA"} for i in IDS
    ]  # fmt: skip
    rows[1] |= {"OS": 0, "DSS": 0, "DFI": 0, "DFI.time": 100}
    rows[2] |= {"OS.time": 0, "PFI.time": 0, "DSS.time": 0}
    rows[3] |= {"Redaction": "Redacted"}
    rows.append(rows[0] | {"bcr_patient_barcode": "TCGA-02-0005", "type": "GBM"})
    return write(path, rows)


def test_the_cdr_gives_every_endpoint_in_days_and_no_slides(tmp_path: Path) -> None:
    path = cdr(tmp_path / "cdr.csv")
    labels = read_labels(path, "brca")
    first, second = labels.patients
    assert (first.id, first.time, first.event, first.slides) == (IDS[0], 100.0, True, ())
    assert first.covariates == {"age": 60.0, "is_female": 1.0, "stage": "Stage II", "histology": "IDC", "site": "3C"}
    assert not second.event and labels.without_slides and labels.kind == "TCGA-CDR"
    assert labels.excluded == {IDS[2]: "OS.time is 0", IDS[3]: "redacted by the source of the table"}
    assert codes(labels)["other_projects"] == 1 and "OS.time is in days" in note(labels)
    pfi = read_labels(path, "brca", endpoint="pfi")
    assert pfi.patients[0].time == pytest.approx(10) and pfi.endpoint == "pfi"
    dfi = read_labels(path, "brca", endpoint="dfi")
    assert [p.id for p in dfi.patients] == [IDS[1]] and codes(dfi)["endpoint_missing"] == 2


def test_a_table_of_another_project_is_refused_with_its_projects(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no patient of ucec: its projects are BRCA, GBM"):
        read_labels(cdr(tmp_path / "cdr.csv"), "ucec")


def test_slides_that_are_there_are_attached_to_the_patients_they_name(tmp_path: Path) -> None:
    labels = read_labels(cdr(tmp_path / "cdr.csv"), "brca")
    slides = [f"{IDS[0]}-01Z-00-DX2.b.svs", f"{IDS[0].lower()}-01z-00-dx1.a", f"{IDS[0]}-01A-01-BS1.c",
              f"{IDS[2]}-01Z-00-DX1.d", "TCGA-ZZ-9999-01Z-00-DX1.e"]  # fmt: skip
    with_slides = link_slides(labels, slides)
    assert [p.id for p in with_slides.patients] == [IDS[0]]
    assert with_slides.patients[0].slides == (f"{IDS[0]}-01Z-00-DX2.b", f"{IDS[0].lower()}-01z-00-dx1.a")
    found = codes(with_slides)
    assert (found["patients_without_slides"], found["frozen_slides"], found["unmatched_slides"]) == (1, 1, 2)
    assert with_slides.excluded[IDS[1]] == "no slide"
    assert with_slides.fingerprint != labels.fingerprint
    assert len(link_slides(labels, slides, frozen=True).patients[0].slides) == 3
    with pytest.raises(DataError, match=r"none of 1 slides belongs to a patient .*first slides: x"):
        link_slides(labels, ["x"])


def test_slides_of_ids_that_are_no_barcodes_are_known_by_what_stands_before_a_mark(tmp_path: Path) -> None:
    rows = [{"id": i, "months": 5, "dead": 1} for i in ("P1", "P1-B", "P10")]
    labels = read_labels(write(tmp_path / "t.csv", rows), "mine", columns={"patient": "id", "time": "months",
                                                                            "event": "dead"})  # fmt: skip
    owners = {p.id: p.slides for p in link_slides(labels, ["P1_HE", "P1-B_HE", "P10.1", "P10", "P100"]).patients}
    assert owners == {"P1": ("P1_HE",), "P1-B": ("P1-B_HE",), "P10": ("P10", "P10.1")}


def survpath(path: Path) -> Path:
    rows = [
        {"case_id": i, "slide_id": f"{i}-01Z-00-DX1.x.svs", "age": 50, "site": i[5:7], "survival_months": days / 30,
         "survival_months_dss": "" if n == 3 else days / 30, "survival_months_pfi": 1.5, "censorship": n % 2,
         "censorship_dss": "" if n == 3 else 1, "censorship_pfi": 0, "is_female": 1.0, "oncotree_code": "STAD"}
        for n, (i, days) in enumerate((f"TCGA-3M-{k:04}", 100 + 7 * k) for k in range(40))
    ]  # fmt: skip
    return write(path, rows)


def test_survpath_tables_hold_three_endpoints_in_months_of_thirty_days(tmp_path: Path) -> None:
    path = survpath(tmp_path / "tcga_stad.csv")
    labels = read_labels(path, "stad")
    assert labels.kind == "SurvPath" and note(labels) == "survival_months is taken as months (days / 30)"
    assert [p.event for p in labels.patients[:2]] == [True, False]
    dss = read_labels(path, "stad", endpoint="dss")
    assert len(dss.patients) == 39 and not any(p.event for p in dss.patients) and codes(dss)["endpoint_missing"] == 1
    assert {p.time for p in read_labels(path, "stad", endpoint="pfi").patients} == {1.5}
    with pytest.raises(DataError, match=r"has no disease-free interval \(dfi\): it lacks survival_months_dfi"):
        read_labels(path, "stad", endpoint="dfi")


def panther(folder: Path, k: int, train: list[int], test: list[int], name: str = "test.csv") -> None:
    for file, numbers in (("train.csv", train), (name, test)):
        rows = [
            {"case_id": f"TCGA-A2-{n:04}", "slide_id": f"TCGA-A2-{n:04}-01Z-00-DX{s}.X", "project_id": "TCGA-BRCA",
             "sex": "F", "OncotreeCode": "IDC", "age_at_initial_pathologic_diagnosis": 66.0, "os_censorship": n % 2,
             "os_survival_days": 30.44 * (n + 1), "dss_censorship": float(n % 3 > 0), "dss_survival_days": 50.0,
             "redaction": ""} for n in numbers for s in (1, 2)
        ]  # fmt: skip
        write(folder / f"TCGA_BRCA_overall_survival_k={k}" / file, rows)


def test_panther_folders_are_labels_and_folds_in_one(tmp_path: Path) -> None:
    panther(tmp_path, 0, [2, 3, 4, 5], [0, 1])
    panther(tmp_path, 1, [0, 1, 2, 3], [4, 5], "val.csv")
    write(tmp_path / "TCGA_BRCA_overall_survival_k=1" / "test_cptac.csv", [{"case_id": "C3"}])
    labels = read_labels(tmp_path, "brca")
    assert [len(p.slides) for p in labels.patients] == [2] * 6 and labels.kind == "PANTHER"
    assert labels.patients[0].time == pytest.approx(1) and [p.event for p in labels.patients[:2]] == [True, False]
    assert labels.patients[0].covariates["is_female"] == 1.0
    assert "duplicate_rows" not in codes(labels) and codes(labels)["external_parts"] == 1
    folds = read_splits(tmp_path, labels)
    assert [s.test for s in folds.splits] == [("TCGA-A2-0000", "TCGA-A2-0001"), ("TCGA-A2-0004", "TCGA-A2-0005")]
    dss = read_labels(tmp_path, "brca", endpoint="dss")
    assert [p.event for p in dss.patients[:3]] == [True, False, False]
    (tmp_path / "TCGA_UCEC_overall_survival_k=0").mkdir()
    (tmp_path / "TCGA_UCEC_overall_survival_k=0" / "train.csv").touch()
    assert len(read_labels(tmp_path, "brca").patients) == 6
    with pytest.raises(DataError, match=r"folds of TCGA_BRCA_overall_survival, TCGA_UCEC.*none of them are of luad"):
        read_labels(tmp_path, "luad")


def test_any_table_is_read_with_named_columns(tmp_path: Path) -> None:
    rows = [
        {"case": "A", "file": "a.svs", "os_days": 304.4, "status": "1:DECEASED", "hospital": "Oslo", "gender": "male"},
        {"case": "B", "file": "b.svs", "os_days": 608.8, "status": "0:LIVING", "hospital": "Bergen", "gender": "W"},
    ]
    columns = parse_columns("patient=case, slide=file,time=os_days,event=status,site=hospital,sex=gender")
    for path, delimiter in ((tmp_path / "t.csv", ","), (tmp_path / "t.tsv", "\t"), (tmp_path / "lies.csv", "\t")):
        labels = read_labels(write(path, rows, delimiter), "mine", columns=columns)
        a, b = labels.patients
        assert (a.time, a.event, a.site, a.slides) == (pytest.approx(10), True, "Oslo", ("a",))
        assert (b.time, b.event, b.covariates["is_female"]) == (pytest.approx(20), False, 1.0)
        assert note(labels) == "os_days is in days; months are days divided by 30.44"
        assert ("tab_separated" in codes(labels)) == (path.name == "lies.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("patient=case,tiem=os", r"unknown key of --columns 'tiem'\. Did you mean time\?"),
        ("patient", "'patient' is not of the form key=column"),
        ("patient=a,patient=b", "patient is given twice"),
    ],
)
def test_columns_that_cannot_be_understood_say_why(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse_columns(text)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"patient": "case", "time": "t", "event": "dead"}, r"unit of 't' is not in its name: add unit=days"),
        ({"patient": "case", "time": "t", "event": "dead", "unit": "moons"}, "unit of 't' is 'moons'"),
        ({"patient": "case", "time": "t", "unit": "days"}, "either event .* or censorship"),
        ({"patient": "caes", "time": "t", "event": "dead", "unit": "days"}, r"no column caes\. Did you mean case\?"),
        ({"patient": "case", "time": "t", "event": "word", "unit": "days"}, r"line 2: word is no number \(perhaps\)"),
    ],
)
def test_named_columns_that_do_not_fit_the_table_say_why(tmp_path: Path, columns: dict[str, str], message: str) -> None:
    path = write(tmp_path / "t.csv", [{"case": "A", "t": 3, "dead": 1, "word": "perhaps"}])
    with pytest.raises(DataError, match=message):
        read_labels(path, "mine", columns=columns)


def test_days_in_a_column_of_months_are_noticed(tmp_path: Path) -> None:
    rows = [
        {"case_id": f"p{i}", "slide_id": f"s{i}", "survival_months": 30 * i + 300, "censorship": i % 2}
        for i in range(1, 40)
    ]
    labels = read_labels(write(tmp_path / "t.csv", rows), "brca")
    (found,) = [f for f in labels.findings if f.code == "time_unit_unlikely"]
    assert "looks like days, not months: the median is 900 months where brca has 28.93" in found.message


@given(
    st.lists(st.integers(1, 5000), min_size=40, max_size=80), st.sampled_from([30.44, 30.0]), st.sampled_from([2, 9])
)
def test_how_days_became_months_is_told_from_the_decimals(days: list[int], basis: float, places: int) -> None:
    said = basis_of([f"{round(d / basis, places)}" for d in days])
    assert said in (f"days / {basis:g}", "how days became months is unknown", "whole months")
    if len(set(days)) > 35:
        assert said == f"days / {basis:g}"


def test_bytes_that_are_no_utf8_are_replaced_and_reported_but_not_in_an_id(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    head = b"case_id,slide_id,survival_months,censorship,oncotree_code\n"
    path.write_bytes(head + b"a,s1,3,0,caf\x81\nb,s2,4,1,x\n")
    assert codes(read_labels(path, "mine"))["text_not_utf8"] == 1
    path.write_bytes(head + "ä,s0,5,1,x\n".encode() + b"a\xe9,s1,3,0,x\nb,s2,4,1,x\n")  # UTF-8 but for a torn byte
    with pytest.raises(DataError, match=r"line 3: case_id or slide_id holds bytes that are no UTF-8"):
        read_labels(path, "mine")
    path.write_bytes(head + b"a\x81,s1,3,0,x\nb,s2,4,1,x\n")
    with pytest.raises(DataError, match=r"line 2: case_id or slide_id holds bytes that are no UTF-8"):
        read_labels(path, "mine")


@real
@pytest.mark.parametrize("endpoint", ["os", "dss", "pfi", "dfi"])
@pytest.mark.parametrize("name", ["brca", "gbmlgg", "coad"])
def test_the_real_cdr_is_read_for_every_endpoint(name: str, endpoint: str) -> None:
    labels = read_labels(DATA / "cdr" / "tcga-liu2018_clinData.csv", name, endpoint=endpoint)
    assert len(labels.patients) + len(labels.excluded) == labels.table_counts.patients
    assert min(p.time for p in labels.patients) > 0 and any(p.event for p in labels.patients)
    assert any("stage" in p.covariates for p in labels.patients) == (name != "gbmlgg")


@real
def test_the_cdr_and_the_public_table_agree_on_every_outcome() -> None:
    public = read_labels(find_labels(DATA / "porpoise", "brca"), "brca").by_id
    other = read_labels(DATA / "cdr" / "tcga-liu2018_clinData.csv", "brca").by_id
    both = public.keys() & other.keys()
    assert len(both) == 955, "one of 956 was redacted since"
    assert all(public[i].event == other[i].event for i in both)
    assert max(abs(public[i].time - other[i].time) for i in both) < 0.006


@real
@pytest.mark.parametrize("name", ["blca", "brca", "coadread", "gbmlgg", "luad", "ucec"])
def test_public_months_are_days_by_30_44(name: str) -> None:
    folder = DATA / ("porpoise" if name in {"brca", "gbmlgg"} else "crossfusion")
    assert read_labels(find_labels(folder, name), name).unit == "days / 30.44"


@real
def test_coads_months_are_whole_and_of_thirty_days() -> None:
    assert read_labels(find_labels(DATA / "crossfusion", "coad"), "coad").unit == "days / 30, whole months"

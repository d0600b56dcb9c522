"""The linter finds every fault by itself, whatever else is broken, and its measure of chance is that of chance."""

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from checkout import SHARED
from hypothesis import given, settings
from hypothesis import strategies as st
from milsurv.benchmark.cli import main as cli
from milsurv.datasets import cohorts
from milsurv.datasets.check.check import DataReport, lint
from milsurv.datasets.layout import find_labels
from milsurv.survival.concordance import c_index, chance_sd, comparable_pairs

DATA = SHARED / "data"
real = pytest.mark.skipif(not DATA.is_dir(), reason="the public label tables are not beside this checkout")

HEADER = ["case_id", "slide_id", "site", "survival_months", "censorship", "age", "is_female"]
Rows = list[dict[str, str]]


def row(i: int, **changes: str) -> dict[str, str]:
    site = "3C" if i % 2 else "A2"
    case = f"TCGA-{site}-{i:04}"
    made = {"case_id": case, "slide_id": f"{case}-01Z-00-DX1.X{i}.svs", "site": site, "age": "60", "is_female": "1",
            "survival_months": f"{round((i + 3) * 41 / 30.44, 2)}", "censorship": str(int(i % 7 > 0))}  # fmt: skip
    return made | changes


@pytest.fixture
def rows() -> Rows:
    return [row(i) for i in range(140)]


def write(folder: Path, rows: Rows, folds: int = 2, header: list[str] = HEADER) -> tuple[Path, Path]:
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, header, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    ids = list(dict.fromkeys(r["case_id"] for r in rows))
    (folder / "splits").mkdir(exist_ok=True)
    for k in range(folds):
        save(folder / "splits" / f"splits_{k}.csv", [i for n, i in enumerate(ids) if n % folds != k], ids[k::folds])
    return folder / "labels.csv", folder / "splits"


def save(path: Path, train: list[str], test: list[str]) -> None:
    pad = max(len(train), len(test))
    lines = zip(train + [""] * (pad - len(train)), test + [""] * (pad - len(test)), strict=True)
    path.write_text(",train,val\n" + "".join(f"{i},{a},{b}\n" for i, (a, b) in enumerate(lines)))


def check(labels: Path, splits: Path | None = None, cohort: str = "brca", **options: object) -> DataReport:
    return lint(cohorts.get(cohort), labels, splits, **options)  # type: ignore[arg-type]


def codes(report: DataReport, *severities: str) -> dict[str, int]:
    return {f.code: f.count for f in report.findings if not severities or f.severity in severities}


def test_a_sound_cohort_has_no_error(tmp_path: Path, rows: Rows) -> None:
    report = check(*write(tmp_path, rows))
    assert (report.patients, report.slides, report.events, report.multi_slide_patients) == (140, 140, 20, 0)
    assert [(f.train, f.test, f.events) for f in report.folds] == [(70, 70, 10), (70, 70, 10)]
    assert codes(report) == {"counts_differ": 1, "time_unit": 1, "c_index_half_width": 2}
    assert report.errors == 0


DAMAGE: dict[str, Callable[[Rows], None]] = {
    "censoring_values": lambda rows: rows[0].update(censorship="2"),
    "censoring_not_a_number": lambda rows: rows[1].update(censorship="yes"),
    "time_not_a_number": lambda rows: rows[2].update(survival_months="soon"),
    "time_not_positive": lambda rows: rows[3].update(survival_months="0"),
    "ids_blank": lambda rows: rows[4].update(slide_id=""),
    "slide_names_other_patient": lambda rows: rows[5].update(slide_id=row(99)["slide_id"].replace("DX1", "DX7")),
    "patients_conflict": lambda rows: rows.append(row(6, slide_id="second-of-6", survival_months="99")),
    "slide_of_two_patients": lambda rows: rows.extend([row(7, slide_id="shared"), row(8, slide_id="shared")]),
    "duplicate_rows": lambda rows: rows.append(dict(rows[9])),
    "frozen_slides": lambda rows: rows.append(row(10, slide_id=f"{row(10)['case_id']}-01A-01-BS1.Y.svs")),
    "site_differs": lambda rows: rows[11].update(site="ZZ"),
    "slides_differ_in_case": lambda rows: rows.append(row(12, slide_id=row(12)["slide_id"].replace("X12", "x12"))),
    "age_missing": lambda rows: rows[13].update(age=""),
    "age_differs": lambda rows: rows.append(row(14, age="61", slide_id="second-of-14")),
}
ERRORS = list(DAMAGE)[:8]


@given(st.sets(st.sampled_from(list(DAMAGE)), min_size=1))
@settings(max_examples=15, deadline=None)
def test_every_damage_is_found_whatever_else_is_damaged(
    tmp_path_factory: pytest.TempPathFactory, chosen: set[str]
) -> None:
    rows = [row(i) for i in range(140)]
    for name in chosen:
        DAMAGE[name](rows)
    report = check(*write(tmp_path_factory.mktemp("damaged"), rows))
    assert chosen <= codes(report).keys()
    assert chosen & set(ERRORS) == codes(report, "error").keys() & set(DAMAGE)
    assert len(report.folds) == 2 and all(f.test > 50 for f in report.folds), "folds are checked all the same"


def test_a_row_cut_short_and_a_table_that_is_none_are_errors_and_the_folds_are_still_checked(
    tmp_path: Path, rows: Rows
) -> None:
    labels, splits = write(tmp_path, rows)
    labels.write_text(labels.read_text() + "TCGA-A2-0001,x\n")
    assert codes(check(labels, splits), "error") == {"row_cut_short": 1}
    labels.write_text("a,b\n1,2\n")
    ids = [r["case_id"] for r in rows]
    save(splits / "splits_1.csv", ids[:80], ids[70:])
    report = check(labels, splits)
    assert codes(report, "error") == {"labels_unreadable": 1, "patients_in_train_and_test": 10}
    assert report.patients == 0


def test_damaged_folds_are_errors_each_and_the_others_are_checked(tmp_path: Path, rows: Rows) -> None:
    labels, splits = write(tmp_path, rows, folds=5)
    ids = [r["case_id"] for r in rows]
    save(splits / "splits_0.csv", ids[:80], ids[70:])
    (splits / "splits_1.csv").write_text("x,y\n1,2\n")
    save(splits / "splits_2.csv", ids[10:], [i for n, i in enumerate(ids[:10]) if n % 7])
    save(splits / "splits_3.csv", ids[10:], ["unknown"])
    (splits / "splits_4.csv").rename(splits / "splits_7.csv")
    report = check(labels, splits)
    assert codes(report, "error") == {"fold_unreadable": 1, "patients_in_train_and_test": 10,
                                      "fold_without_events": 1, "fold_without_patients": 1}  # fmt: skip
    found = codes(report)
    assert (found["folds_missing"], found["fold_ids_unlabelled"]) == (4, 1)
    assert [f.fold for f in report.folds] == [0, 2, 3, 7]
    assert {"tested_twice", "few_events"} <= found.keys()


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_no_damage_to_the_bytes_of_a_table_or_a_fold_ends_in_anything_but_a_report(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    labels, splits = write(tmp_path_factory.mktemp("bytes"), [row(i) for i in range(40)])
    note = '{"format": "milsurv-folds", "version": 1, "k": 2, "repeats": 1}'
    (splits / "folds.json").write_text(note if data.draw(st.booleans()) else "{}")
    for path in (labels, splits / "splits_0.csv", splits / "folds.json"):
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(0, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        if data.draw(st.booleans()):
            content = content[: data.draw(st.integers(0, len(content) - 1))]
        path.write_bytes(content)
    report = check(labels, splits)
    json.dumps(report.as_json(), allow_nan=False)
    assert codes(report, "error").keys() & {"folds_note_unreadable", "labels_unreadable", "folds_unreadable"}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda r: {"censorship": "1"}, "censoring_constant"),
        (lambda r: {"censorship": "0"}, "censoring_constant"),
        (lambda r: {"censorship": str(1 - int(r["censorship"]))}, "censoring_flipped"),
    ],
)
def test_censoring_that_is_constant_or_turned_round_is_an_error(
    tmp_path: Path, rows: Rows, change: Callable[[dict[str, str]], dict[str, str]], code: str
) -> None:
    report = check(*write(tmp_path, [r | change(r) for r in rows]))
    assert code in codes(report, "error")


def test_days_for_months_and_integers_for_sites_are_seen(tmp_path: Path) -> None:
    rows = [row(i, case_id=f"TCGA-05-{i:04}", slide_id=f"TCGA-05-{i:04}-01Z-00-DX1.x", site="5",
                survival_months=str(200 + 41 * i)) for i in range(140)]  # fmt: skip
    found = codes(check(*write(tmp_path, rows)))
    assert (found["site_read_as_integer"], found["time_unit_unlikely"]) == (140, 1)


def test_a_manifest_is_read_whatever_separates_it_and_compared_with_and_without_case(
    tmp_path: Path, rows: Rows
) -> None:
    names = [r["slide_id"] for r in rows]
    listed = [names[0].replace("X0", "x0"), *names[2:], f"{row(1)['case_id']}-01A-01-TSA.q.svs",
              f"{row(3)['case_id']}-01Z-00-DX2.q.svs", "protocol.txt"]  # fmt: skip
    manifest = tmp_path / "gdc_manifest.csv"
    manifest.write_text("id\tfilename\tmd5\tsize\tstate\n" + "".join(f"u\t{n}\tm\t1\treleased\n" for n in listed))
    found = codes(check(*write(tmp_path, rows), manifest_path=manifest))
    expected = {"manifest_case": 1, "slides_not_in_manifest": 1, "slides_only_in_manifest": 1, "tab_separated": 1,
                "manifest_frozen_slides": 1}  # fmt: skip
    assert expected.items() <= found.items()
    manifest.write_text("a,b\n1,2\n")
    assert "manifest_unreadable" in codes(check(*write(tmp_path, rows), manifest_path=manifest), "error")


def test_features_are_checked_with_the_labels(cohort_folder: Path, tmp_path: Path) -> None:
    assert check(cohort_folder / "labels.csv", cohort="blca", features_path=cohort_folder / "features").errors == 0
    text = (cohort_folder / "labels.csv").read_text().splitlines()
    slides = [line.split(",")[1].removesuffix(".svs") for line in text[1:]]
    (tmp_path / "labels.csv").write_text("\n".join(text))
    (tmp_path / "truth.json").write_bytes((cohort_folder / "truth.json").read_bytes())
    store = tmp_path / "features" / "tiny"
    store.mkdir(parents=True)
    for slide in slides[3:]:
        (store / f"{slide}.h5").write_bytes((cohort_folder / "features" / "tiny" / f"{slide}.h5").read_bytes())
    report = check(tmp_path / "labels.csv", cohort="blca", features_path=tmp_path / "features")
    assert codes(report)["slides_without_features"] == 3
    (store / f"{slides[5]}.h5").write_bytes(b"no HDF5")
    report = check(tmp_path / "labels.csv", cohort="blca", features_path=tmp_path / "features")
    assert codes(report, "error").keys() & {"features_faulty", "features_unreadable"}
    report = check(tmp_path / "labels.csv", cohort="blca", features_path=tmp_path / "nowhere")
    assert "features_unreadable" in codes(report, "error")


outcomes = st.lists(st.tuples(st.integers(1, 30), st.booleans()), min_size=4, max_size=40)


@given(outcomes)
@settings(max_examples=8, deadline=None)
def test_the_sd_of_chance_is_that_of_simulated_random_risks(rows: list[tuple[int, bool]]) -> None:
    time, event = np.array([t for t, _ in rows], float), np.array([e for _, e in rows])
    pairs = comparable_pairs(time, event).comparable.sum()
    if not pairs:
        assert np.isnan(chance_sd(time, event))
        return
    rng = np.random.default_rng(0)
    simulated = [c_index(time, event, rng.random(len(rows))) for _ in range(3000)]
    assert chance_sd(time, event) == pytest.approx(np.std(simulated), rel=0.08)


def test_without_censoring_the_sd_of_chance_is_kendalls() -> None:
    n = 25
    assert chance_sd(np.arange(n) + 1.0, np.ones(n, bool)) == pytest.approx(((2 * n + 5) / (18 * n * (n - 1))) ** 0.5)


ODDITIES = {
    "blca": {"several_slides": 25},
    "brca": {"several_slides": 62},
    "coad": {"case_id_is_slide_barcode": 424, "time_not_positive": 23, "age_missing": 416, "sex_missing": 416,
             "never_tested": 4, "several_slides": 7, "fold_ids_excluded": 23},
    "coadread": {"several_slides": 4},
    "gbmlgg": {"several_slides": 148, "site_read_as_integer": 42},
    "luad": {"fold_ids_unlabelled": 9, "several_slides": 21, "site_read_as_integer": 21},
    "ucec": {"several_slides": 39},
}  # fmt: skip


@real
@pytest.mark.parametrize("name", ODDITIES)
def test_the_findings_of_the_public_cohorts_are_found(name: str) -> None:
    known = cohorts.get(name)
    labels = find_labels(DATA / ("porpoise" if name in {"brca", "gbmlgg"} else "crossfusion"), name)
    report = check(labels, DATA / "crossfusion" / "splits" / f"tcga_{name}", name)
    assert (report.patients, report.slides, report.events) == (known.patients, known.slides, known.events)
    assert ODDITIES[name].items() <= codes(report).items() and report.errors == 0
    assert {"sites_shared", "time_unit", "c_index_half_width"} <= codes(report).keys()
    sds = [f.chance_sd for f in report.folds if f.chance_sd is not None]
    assert 0.05 < float(np.mean(sds)) < 0.09
    assert 0.0235 < float(np.sqrt(np.square(sds).sum()) / 5) < 0.0405, "as simulated in the README of the public data"
    if name == "ucec":
        assert [f.events for f in report.folds] == [15] * 5


@real
def test_the_frozen_slides_of_a_real_manifest_are_counted_by_kind() -> None:
    manifest = DATA / "crossfusion" / "TCGA-Manifests" / "gdc_manifest_BLCA.csv"
    labels = find_labels(DATA / "crossfusion", "blca")
    (found,) = [f for f in check(labels, None, "blca", manifest_path=manifest).findings
                if f.code == "manifest_frozen_slides"]  # fmt: skip
    assert "(20 BS, 2 MS, 447 TS)" in found.message


@pytest.fixture
def bench(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["bench", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    return call


def test_the_command_prints_one_object_and_ends_with_1_for_errors_only(
    bench: Callable[..., tuple[int, str, str]], tmp_path: Path, rows: Rows
) -> None:
    labels, splits = write(tmp_path, rows)
    words = ("data", "check", "--cohort", "brca", "--labels", labels, "--splits", splits)
    status, out, _ = bench(*words, "--json")
    answer = json.loads(out)
    assert status == 0
    assert list(answer) == ["cohort", "patients", "slides", "events", "multi_slide_patients", "folds", "findings"]
    assert list(answer["folds"][0]) == ["fold", "train", "test", "events", "comparable_pairs"]
    assert list(answer["findings"][0]) == ["code", "severity", "count", "message", "examples"]
    rows[0]["censorship"] = "3"
    write(tmp_path, rows)
    status, out, _ = bench(*words, "--json")
    assert status == 1 and json.loads(out)["findings"][0]["code"] == "censoring_values"
    status, out, err = bench(*words)
    assert status == 1 and "comparable pairs" in out and "censorship must be 0 (died)" in err


def test_the_command_makes_folds_that_are_used_and_checked(
    bench: Callable[..., tuple[int, str, str]], tmp_path: Path, rows: Rows
) -> None:
    rows = [row(i, case_id=f"TCGA-{'ABCDEF'[i % 6]}0-{i:04}", slide_id=f"s{i}") for i in range(140)]
    home = tmp_path / "brca"
    home.mkdir()
    write(home, rows)
    status, out, _ = bench("data", "folds", "--cohort", "brca", "--data", tmp_path, "--out", tmp_path / "folds",
                           "--kind", "site-preserving", "--folds", 3, "--repeats", 2, "--json")  # fmt: skip
    assert status == 0 and json.loads(out)["name"] == "site-preserving-3x2-seed0"
    status, out, _ = bench("data", "check", "--cohort", "brca", "--data", tmp_path, "--splits", tmp_path / "folds",
                           "--json")  # fmt: skip
    found = {f["code"] for f in json.loads(out)["findings"]}
    assert status == 0 and len(json.loads(out)["folds"]) == 6
    assert not found & {"sites_shared", "tested_twice", "labels_changed"}
    status, _, err = bench(
        "data", "folds", "--cohort", "brca", "--data", tmp_path, "--out", "x", "--kind", "sites-preserving"
    )
    assert status == 2 and "Did you mean site-preserving" in " ".join(err.split())


def test_paths_that_do_not_exist_are_named(bench: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    status, _, err = bench("data", "check", "--cohort", "brca", "--labels", tmp_path / "none.csv")
    assert status == 2 and "--labels" in err and "none.csv" in "".join(err.split())

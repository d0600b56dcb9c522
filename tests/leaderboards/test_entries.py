"""Entries: what is sent is small, the same on every day, and nobody has to take its numbers on trust."""

import gzip
import hashlib
import json
import re
import shutil
from pathlib import Path

import leaderboard_rows as make
import pytest
from hypothesis import given
from hypothesis import strategies as st
from milsurv.benchmark.cli import main as cli
from milsurv.benchmark.verify.entry import verify
from milsurv.benchmark.verify.submit import submit
from milsurv.errors import RowError
from milsurv.files import file_names
from milsurv.leaderboards.committed import END, START, stale, update
from milsurv.leaderboards.entries.entry import read_entry
from milsurv.leaderboards.entries.prediction_table import _survival
from milsurv.leaderboards.publish import gather

HEAD = {"title": "Two models", "who": "A group", "when": "2026-01-05", "milsurv": "0", "licence": "", "notes": ""}


def bench_run(folder, *words):
    """`bench run` on 60 simulated patients in three folds."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as end:
        shape = ["--patients", "60", "--folds", "3", "--tracking", "none", "--out", str(folder)]
        patch.setattr("sys.argv", ["bench", "run", *words, *shape])
        cli.main()
    assert not end.value.code
    return folder


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Two models on a simulated cohort of 60 patients, as the command line runs them."""
    folder = tmp_path_factory.mktemp("ran")
    for model in ("meanpool", "maxpool"):
        bench_run(folder, "--model", model, "--cohort", "blca", "--features", "synthetic", "--epochs", "1")
    return folder


@pytest.fixture(scope="module")
def sent(ran, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sent") / "entry"
    submit([ran], folder, HEAD)
    return folder


@pytest.fixture
def entry(sent, tmp_path):
    return Path(shutil.copytree(sent, tmp_path / "entry"))


def seal(entry):
    """Renew the checksums, as whoever tampers would."""
    head = json.loads((entry / "entry.json").read_text())
    head["files"] = {name: hashlib.sha256((entry / name).read_bytes()).hexdigest() for name in head["files"]}
    (entry / "entry.json").write_text(json.dumps(head))


def change(entry, column, value, line=5):
    """Change one value of one line of the predictions, and renew the checksums."""
    lines = gzip.decompress((entry / "predictions.csv.gz").read_bytes()).decode().splitlines()
    cells, at = lines[line].split(","), lines[0].split(",").index(column)
    cells[at] = value(cells[at])
    lines[line] = ",".join(cells)
    (entry / "predictions.csv.gz").write_bytes(gzip.compress("\n".join([*lines, ""]).encode()))
    seal(entry)


def test_an_entry_of_a_simulated_cohort_verifies_up_to_its_ids_and_is_the_same_bytes_again(entry, ran, tmp_path):
    report = verify(entry)
    assert not report.faults
    assert report.checked["experiments derived again from their commands"] == 2
    assert report.checked["numbers scored again"] > 100
    submit([ran], tmp_path / "again" / "entry", HEAD)
    for path in entry.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / "entry" / path.name).read_bytes()


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("risk", lambda text: "9.5", r"line 6 .* has risk 9\.5, its survival gives"),
        (
            "fold",
            lambda text: str((int(text) + 1) % 3),
            r"line 6: .* is in fold \d, the folds say \d \(simulated again\)",
        ),
        ("event", lambda text: str(1 - int(text)), r"line 6: .* the labels say (died|censored) \(simulated again\)"),
        ("time", lambda text: f"{float(text) + 5:.2f}", r"line 6: .* the labels say .* \(simulated again\)"),
    ],
)
def test_one_changed_value_is_caught_by_its_line_although_the_checksums_agree(entry, column, value, message):
    change(entry, column, value)
    faults = verify(entry).faults
    assert faults
    assert re.search(message, " ".join(faults))


def test_a_changed_number_of_a_row_is_caught_with_the_number_that_follows(entry):
    lines = (entry / "rows.jsonl").read_text().splitlines()
    row = json.loads(lines[0])
    row["c_index_selected"] += 0.02
    (entry / "rows.jsonl").write_text("\n".join([json.dumps(row), *lines[1:], ""]))
    faults = verify(entry).faults
    assert "rows.jsonl: was changed" in faults[0]
    seal(entry)
    (fault,) = verify(entry).faults
    assert f"fold {row['fold']}: c_index_selected is {row['c_index_selected']:.6g}" in fault


def test_a_row_that_says_another_seed_is_not_of_its_experiment(entry):
    text = (entry / "rows.jsonl").read_text()
    (entry / "rows.jsonl").write_text(text.replace('"seed":0', '"seed":7'))
    seal(entry)
    assert any("seed is 7, the description of the experiment says 0" in fault for fault in verify(entry).faults)


def test_simulated_patients_whose_command_is_gone_are_refused(entry):
    rows = [json.loads(line) | {"command": ""} for line in (entry / "rows.jsonl").read_text().splitlines()]
    (entry / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    seal(entry)
    assert any("cannot be simulated again" in fault for fault in verify(entry).faults)


def claim(entry, command, instead):
    """Let rows say that another command was run; nothing else in the entry speaks against it."""
    text = (entry / "rows.jsonl").read_text()
    assert command in text
    (entry / "rows.jsonl").write_text(text.replace(command, instead))
    seal(entry)


@pytest.mark.parametrize(
    ("words", "command", "instead"),
    [
        (None, "--patients 60", "--patients 61"),
        (("--model", "bag-size", "--cohort", "planted-null"), "--cohort planted-null", "--cohort planted-site"),
        (("--model", "site-only", "--cohort", "planted-site"), "--folds 3", "--folds 3 --cohort-seed 1"),
    ],
)
def test_patients_of_another_draw_agree_with_themselves_and_are_caught_by_simulating(
    sent, tmp_path, words, command, instead
):
    if words is None:
        entry = Path(shutil.copytree(sent, tmp_path / "entry"))
    else:
        submit([bench_run(tmp_path / "out", *words)], tmp_path / "entry", HEAD)
        entry = tmp_path / "entry"
    assert not verify(entry).faults
    claim(entry, command, instead)
    assert not verify(entry, simulate=False).faults, "whole in itself"
    assert any("simulated again" in fault for fault in verify(entry).faults)


def observed(folder):
    """Two models on observed patients."""
    for noise, model in enumerate(("abmil", "dsmil")):
        rows = make.experiment(0.1, model=model, n_test=24, patients=120)
        table = make.predictions(rows, 120, noise=noise)
        home = make.write(folder, make.agreeing(rows, table), table)
        (home / "experiment.json").write_text("{}")


def test_observed_patients_are_sent_only_when_somebody_says_so(tmp_path):
    observed(tmp_path / "results")
    with pytest.raises(RowError, match=r"--with-patients .* --without-patients"):
        submit([tmp_path / "results"], tmp_path / "entry", HEAD)
    submit([tmp_path / "results"], tmp_path / "entry", HEAD, with_patients=False)
    assert not any(b"TCGA-0" in path.read_bytes() for path in (tmp_path / "entry").iterdir())


def test_a_board_of_an_entry_without_patients_shows_the_intervals_and_pairs_that_predictions_gave(tmp_path):
    observed(tmp_path / "results")
    submit([tmp_path / "results"], tmp_path / "entry", HEAD, with_patients=False)
    (full,), (kept,) = gather(tmp_path / "results").boards, gather(tmp_path / "entry").boards
    one, other = full.rankings[0].evidence, kept.rankings[0].evidence
    for mine, theirs in zip(one.intervals, other.intervals, strict=True):
        assert {key: vars(found) for key, found in mine.items()} == {
            key: pytest.approx(vars(found)) for key, found in theirs.items()
        }
    assert [(pair.verdict, pair.p_adjusted) for pair in one.pairs] == [
        (pair.verdict, pytest.approx(pair.p_adjusted, abs=1e-3)) for pair in other.pairs
    ]
    assert one.verdict == other.verdict


def test_an_incomplete_experiment_is_refused_by_name(tmp_path):
    rows = make.experiment(0.1, missing=(3,))
    make.write(tmp_path, rows, make.predictions(rows, 60))
    with pytest.raises(RowError, match=f"{rows[0]['experiment']}.*fold 3: not run"):
        submit([tmp_path], tmp_path / "entry", HEAD, with_patients=True)


def test_files_that_the_head_does_not_name_are_refused(entry):
    (entry / "extra.pkl").write_bytes(b"")
    with pytest.raises(RowError, match=r"does not name: extra\.pkl"):
        read_entry(entry)


def test_committed_pages_follow_from_the_rows_or_are_named(ran, tmp_path):
    submit([ran], tmp_path / "leaderboards" / "published" / "one", HEAD)
    (tmp_path / "README.md").write_text(f"# x\n{START}\n{END}\nend\n")
    assert update(tmp_path) and not stale(tmp_path)
    assert "end\n" in (tmp_path / "README.md").read_text()
    page = tmp_path / "leaderboards" / "README.md"
    page.write_text(page.read_text().replace("Two models", "Three models"))
    (fault,) = stale(tmp_path)
    assert fault.startswith("leaderboards/README.md does not follow from the rows: line ")


def test_names_from_data_are_safe_names_of_files_and_stay_apart():
    found = file_names(["../../etc/passwd", "A b", "a-b", "", ".hidden"])
    assert len(set(found.values())) == 5
    assert all("/" not in name and name and not name.startswith(".") for name in found.values())


@given(st.floats(0, 1))
def test_short_survival_keeps_seven_digits_of_the_rarer_of_life_and_death(alive):
    short = float(_survival(alive, exact=False))
    assert abs(short - alive) <= max(1e-6 * min(alive, 1 - alive), 2**-53)
    assert float(_survival(alive, exact=True)) == alive


@pytest.mark.parametrize(("protocol", "patients"), [(1, 32), (2, 40)])
def test_censoring_is_learned_from_the_whole_training_set_which_protocol_1_did_not(protocol, patients, cohort_folder):
    from milsurv.benchmark.verify import numbers
    from milsurv.benchmark.verify.truth import VerifiedTruth
    from milsurv.benchmark.verify.verification import Verification
    from milsurv.datasets.folds.read import stratified_folds
    from milsurv.datasets.labels.read import read_labels

    labels = read_labels(cohort_folder / "labels.csv", "blca")
    splits = stratified_folds(labels, 3).splits
    row = make.parsed([make.row(n_folds=3, protocol=protocol, slides="concat")])[0]
    truth = VerifiedTruth("a test", labels, splits)
    learned, known = numbers._training(row, truth, {"validation": 0.2}, Verification())
    assert (len(learned.time), len(known.time)) == (32, patients)

"""The page about a cohort of one's own: its commands lead from the files of a hospital to a board, as it says."""

import csv
import json
import re
import runpy
import shlex
from collections.abc import Mapping
from pathlib import Path

import pytest
from checkout import ROOT, SHARED
from hospital import write_hospital
from sksurv.metrics import concordance_index_censored

PAGE = (ROOT / "docs" / "own-cohort.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]


@pytest.fixture
def hospital(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[float, bool]]:
    monkeypatch.chdir(tmp_path)
    return write_hospital(tmp_path / "hosp")


def follows_from_its_risks(results: Path, truth: Mapping[str, tuple[float, bool]]) -> None:
    """Whether every fold of the three models has the truth's times and deaths, and the C-index of scikit-survival."""
    models = set()
    for experiment in sorted((results / "experiments").iterdir()):
        rows = list(csv.DictReader((experiment / "predictions.csv").open()))
        for file in experiment.glob("fold-*/result.json"):
            row = json.loads(file.read_text())
            models.add(row["model"])
            mine = [r for r in rows if r["reading"] == "selected" and int(r["fold"]) == row["fold"]]
            for r in mine:
                years, died = truth[r["patient"]]
                assert float(r["time"]) == pytest.approx(12 * years) and (r["event"] == "1") is died
            theirs = concordance_index_censored(
                [r["event"] == "1" for r in mine], [float(r["time"]) for r in mine], [float(r["risk"]) for r in mine]
            )
            assert row["c_index_selected"] == pytest.approx(theirs[0], abs=1e-9) and row["cohort"] == "hosp"
    assert models == {"crossfusion", "abmil", "clinical-cox"}
    board = (results / "leaderboard" / "leaderboard.md").read_text("utf-8")
    assert all(model in board for model in models)


def test_the_commands_of_the_page_lead_from_the_files_to_a_board(bench, hospital, tmp_path):
    assert len(COMMANDS) == 3
    for command in COMMANDS:
        status, out, err = bench(*shlex.split(command)[1:])
        assert status == 0, (command, out, err)
    said = re.search(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert said and (tmp_path / "hosp" / "cohort.toml").read_text("utf-8") == said[1]
    follows_from_its_risks(tmp_path / "results", hospital)


@pytest.mark.slow
@pytest.mark.skipif(not (SHARED / "cases").is_dir(), reason="the collected cases are not beside this checkout")
def test_25_the_private_cohort_of_the_collected_cases_takes_the_same_three_commands(bench, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["make.py", str(tmp_path / "hosp")])
    runpy.run_path(str(SHARED / "cases" / "25-private-cohort" / "make.py"), run_name="__main__")
    monkeypatch.chdir(tmp_path)  # the script goes elsewhere
    for command in COMMANDS:
        status, out, err = bench(*shlex.split(command.replace("job_", "jobA_"))[1:])
        assert status == 0, (command, out, err)
    lines = (tmp_path / "hosp" / "hosp.csv").read_text("cp1252").splitlines()[1:]
    rows = [line.split(";") for line in lines]
    truth = {row[0]: (float(row[2].replace(",", ".")), row[3] == "dead") for row in rows}
    planted = list(csv.DictReader((tmp_path / "hosp" / "truth.csv").open()))
    mine = [row for row in planted if row["cohort"] == "A"]
    assert {row["patient"]: row["event"] == "1" for row in mine} == {i: died for i, (_, died) in truth.items()}
    assert all(abs(float(row["days"]) / 365.25 - truth[row["patient"]][0]) < 0.001 for row in mine)
    follows_from_its_risks(tmp_path / "results", truth)
    external = tmp_path / "klin"
    external.mkdir()
    status, _, err = bench("data", "init", "klin", "--labels", "hosp/klin.csv", "--features", "hosp/B", "--columns",
                           "patient=pid,time=os_days,event=dead,unit=days")  # fmt: skip
    assert status == 0, err
    assert bench("data", "check", "--cohort", "klin", "--quick")[0] == 0


def test_every_command_takes_the_folder_and_the_options_of_labels(bench, hospital, tmp_path):
    assert bench(*shlex.split(COMMANDS[0])[1:])[0] == 0
    for words in (
        ["data", "folds", "--cohort", "hosp", "--out", "mine"],
        ["features", "inspect", "hosp/job_coarse", "--cohort", "./hosp", "--json"],
        ["run", "--model", "meanpool", "--cohort", "./hosp/cohort.toml", "--dry-run"],
        ["run", "--model", "random", "--cohort", "other", "--dry-run", "--labels", "hosp/hosp.csv", "--columns",
         "patient=Patient,time=OS (Jahre),censorship=Status,slide=Präparat"],
    ):  # fmt: skip
        status, out, err = bench(*words)
        assert status == 0, (words, out, err)
    (tmp_path / "p.csv").write_text(
        "patient;fold;risk\n" + "".join(f"{i.lower()};{n % 3};{n}\n" for n, i in enumerate(sorted(hospital)))
    )
    status, _, err = bench("import-predictions", "p.csv", "--model", "X", "--cohort", "./hosp", "--out", "o")
    assert status == 0, err
    (row, *_) = (tmp_path / "o" / "experiments").glob("*/fold-0/result.json")
    assert json.loads(row.read_text())["cohort"] == "hosp"
    status, _, err = bench("run", "--model", "random", "--cohort", "hops", "--dry-run")
    assert status == 2 and "For a cohort of your own give its labels" in err


def test_what_a_run_refuses_is_an_error_of_the_check(bench, hospital, tmp_path):
    import h5py

    assert bench(*shlex.split(COMMANDS[0])[1:])[0] == 0
    file = tmp_path / "hosp/job_20x/20x_256px_0px_overlap/features_myenc/HOSP-0003_HE.h5"
    with h5py.File(file, "r+") as content:
        content["features"][2, 0] = float("nan")
    status, out, _ = bench("data", "check", "--cohort", "hosp", "--json")
    found = {f["code"]: f for f in json.loads(out)["findings"]}
    assert status == 1, found
    assert "HOSP-0003_HE" in found["features_damaged"]["examples"][0]
    assert bench("data", "check", "--cohort", "hosp", "--quick", "--json")[0] == 0
    words = ["run", "--model", "meanpool", "--cohort", "hosp", "--dry-run", "--missing", "drop", "--json"]
    status, out, _ = bench(*words)
    assert status == 0 and json.loads(out)["would_run"][0]["patients"] == 29
    others = tmp_path / "hosp.csv"
    others.write_bytes((tmp_path / "hosp" / "hosp.csv").read_bytes().replace(b"_HE.ndpi", b"_PAS.ndpi"))
    named = ["--columns", "patient=Patient,time=OS (Jahre),event=Status,slide=Präparat", "--labels", others]
    status, out, _ = bench("data", "check", "--cohort", "hosp", "--quick", "--json", "--features",
                           "hosp/job_20x", *named)  # fmt: skip
    (message,) = [f["message"] for f in json.loads(out)["findings"] if f["severity"] == "error"]
    assert status == 1 and "'HOSP-0001_PAS' (30 such names), and the nearest file is 'HOSP-0001_HE'" in message

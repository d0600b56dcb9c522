"""The `bench` command line: what it prints, what it writes and how it ends."""

import contextlib
import json
import resource
from pathlib import Path

import pytest
from checkout import ROOT
from milsurv.benchmark.cli import main as cli

SMALL = ["--set", "epochs=2", "--folds", "3", "--tracking", "none"]


def on(cohort_folder: Path, out: Path) -> list[object]:
    return [
        "--cohort",
        "blca",
        "--labels",
        cohort_folder / "labels.csv",
        "--features",
        cohort_folder / "features",
        "--out",
        out,
        *SMALL,
    ]


def test_run_prints_folds_and_writes_a_leaderboard(bench, cohort_folder, tmp_path):
    status, out, err = bench("run", "--model", "abmil", *on(cohort_folder, tmp_path))
    assert status == 0
    assert "abmil on blca (synthetic)" in out and "C selected" in out and "oracle" in out
    assert "Leaderboard:" in err
    assert {path.suffix for path in (tmp_path / "leaderboard").iterdir()} == {".md", ".csv", ".tex", ".html"}
    assert "synthetic" in (tmp_path / "leaderboard" / "leaderboard.html").read_text()


def test_json_is_one_object_and_nothing_else(bench, cohort_folder, tmp_path):
    status, out, _ = bench("run", "--model", "meanpool", *on(cohort_folder, tmp_path), "--json")
    answer = json.loads(out)
    assert status == 0
    assert {"experiment", "model", "cohort", "folds", "mean"} <= set(answer)
    assert [fold["fold"] for fold in answer["folds"]] == [0, 1, 2]
    assert all(set(fold["c_index"]) == {"selected", "last", "best"} for fold in answer["folds"])
    selected = [fold["c_index"]["selected"] for fold in answer["folds"]]
    assert answer["mean"]["selected"] == pytest.approx(sum(selected) / 3)


def test_a_second_call_computes_nothing_and_says_the_same(bench, cohort_folder, tmp_path):
    first = bench("run", "--model", "meanpool", *on(cohort_folder, tmp_path), "--json")[1]
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("fold-*/result.json")}
    assert bench("run", "--model", "meanpool", *on(cohort_folder, tmp_path), "--json")[1] == first
    assert stamps == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("fold-*/result.json")}


def test_a_dry_run_names_the_experiment_and_writes_nothing(bench, cohort_folder, tmp_path):
    out = tmp_path / "never"
    status, text, _ = bench("run", "--model", "abmil", *on(cohort_folder, out), "--dry-run", "--json")
    plan = json.loads(text)["would_run"]
    assert status == 0 and not out.exists()
    ran = json.loads(bench("run", "--model", "abmil", *on(cohort_folder, out), "--json")[1])
    assert plan[0]["experiment"] == ran["experiment"]


def test_ablate_runs_the_grid_skips_what_is_done_and_ends_with_one_table(bench, cohort_folder, tmp_path):
    bench("run", "--model", "abmil", *on(cohort_folder, tmp_path))
    grid = ["ablate", "--model", "abmil,meanpool", "--scale", "10,20", *on(cohort_folder, tmp_path)]
    status, out, _ = bench(*grid, "--json")
    cells = json.loads(out)["cells"]
    assert status == 0 and len(cells) == 4
    assert len({cell["experiment"] for cell in cells}) == 4
    status, out, _ = bench(*grid)
    assert status == 0 and all(
        word in out for word in ("meanpool", "abmil", "10\N{MULTIPLICATION SIGN}", "20\N{MULTIPLICATION SIGN}")
    )
    assert len(list((tmp_path / "experiments").iterdir())) >= 4
    status, out, _ = bench(*grid, "--baseline", "meanpool")
    assert status == 0 and "Compared with meanpool, on the same backbone." in out
    assert "meanpool" in (tmp_path / "leaderboard" / "ablation.md").read_text()


def test_ablate_finds_wrong_names_before_the_first_cell_is_computed(bench, cohort_folder, tmp_path):
    status, _, err = bench("ablate", "--model", "abmil,transmill", *on(cohort_folder, tmp_path / "new"))
    assert status == 2 and "transmil" in err and not (tmp_path / "new").exists()
    status, _, err = bench("ablate", "--model", "abmil", "--baseline", "meenpool", *on(cohort_folder, tmp_path / "new"))
    assert status == 2 and "Did you mean meanpool?" in err and not (tmp_path / "new").exists()


def test_leaderboard_renders_what_lies_in_a_folder(bench, cohort_folder, tmp_path):
    bench("run", "--model", "meanpool", *on(cohort_folder, tmp_path))
    status, out, _ = bench("leaderboard", tmp_path, "--out", tmp_path / "board", "--json")
    paths = json.loads(out)["paths"]
    assert status == 0 and set(paths) == {"md", "csv", "tex", "html"}
    made = (tmp_path / "leaderboard" / "leaderboard.html").read_bytes()
    assert Path(paths["html"]).read_bytes() == made


@pytest.mark.parametrize("what", ["models", "cohorts", "backbones", "losses", "recipes", "metrics"])
def test_list_shows_what_is_known(bench, what):
    status, out, _ = bench("list", what, "--json")
    assert status == 0 and len(json.loads(out)[what]) >= 2
    assert bench("list", what)[0] == 0


def test_every_command_and_option_is_in_the_readme_or_the_docs():
    root = ROOT
    text = "\n".join(path.read_text() for path in [root / "README.md", *sorted((root / "docs").glob("*.md"))])
    commands = [command.name or command.callback.__name__ for command in cli.app.registered_commands]
    assert [name for name in commands if f"bench {name}" not in text] == []


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["ablate", "--model", "abmil", "--cohort", "brca", "--seed=-1", "--dry-run"], 2, "whole numbers from 0"),
        (["ablate", "--model", "crossfusion", "--cohort", "brca", "--scale", "5"], 2, "single-scale models"),
        (["run", "--model", "crossfusionn", "--cohort", "brca", "--features", "synthetic"], 2, "crossfusion"),
        (["run", "--model", "abmil", "--cohort", "brac", "--features", "synthetic"], 2, "brca"),
        (["run", "--model", "abmil", "--cohort", "brca", "--data", "nowhere"], 2, "--features synthetic"),
        (["run", "--model", "abmil"], 2, "--cohort"),
        (["run", "--model", "abmil", "--cohort", "brca", "--set", "epochs"], 2, "expected KEY=VALUE"),
        (["list", "modles"], 2, "Did you mean models"),
        (["leaderboard", "nowhere"], 1, "nowhere"),
        (["import-checkpoint", "nowhere.pt", "--model", "abmil"], 2, "no such file"),
        (["frobnicate"], 2, "No such command"),
    ],
)
def test_mistakes_end_with_a_message_a_status_and_no_traceback(bench, monkeypatch, tmp_path, words, status, message):
    monkeypatch.chdir(tmp_path)
    ended, _, err = bench(*words)
    assert ended == status
    assert message in " ".join(err.split())
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(bench, cohort_folder, tmp_path):
    (tmp_path / "file").write_text("in the way")
    status, _, err = bench("run", "--model", "meanpool", *on(cohort_folder, tmp_path / "file" / "out"))
    assert status == 1 and str(tmp_path / "file") in err and "--out" in err and "Traceback" not in err


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a file system that nobody may write")
def test_a_read_only_folder_is_named(bench, cohort_folder):
    status, _, err = bench("run", "--model", "meanpool", *on(cohort_folder, Path("/proc/milsurv")))
    assert status == 1 and "/proc/milsurv" in err and "Traceback" not in err


@contextlib.contextmanager
def files_no_larger_than(size: int):
    """The operating system refuses larger files to this process, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_keeps_what_was_finished(bench, cohort_folder, tmp_path):
    """12 kB are enough for every fold, and too little for all folds in one file."""
    words = ["run", "--model", "meanpool", "--no-weights", *on(cohort_folder, tmp_path)]
    with files_no_larger_than(12_000):
        status, _, err = bench(*words)
    assert status == 1, err
    assert "predictions.csv: File too large" in err and "Traceback" not in err
    (folder,) = (tmp_path / "experiments").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == [
        "experiment.json",
        "fold-0",
        "fold-1",
        "fold-2",
        "remarks.json",
    ]
    stamps = {path: path.stat().st_mtime_ns for path in folder.rglob("result.json")}
    status, _, err = bench(*words)
    assert status == 0, err
    assert stamps == {path: path.stat().st_mtime_ns for path in folder.rglob("result.json")}
    assert (folder / "predictions.csv").exists()


def test_a_board_that_cannot_be_written_is_an_error_and_not_a_traceback(bench, cohort_folder, tmp_path):
    bench("run", "--model", "meanpool", *on(cohort_folder, tmp_path))
    status, _, err = bench("leaderboard", tmp_path, "--out", "/proc/board")
    assert status == 1 and "/proc/board" in err and "Traceback" not in err
    (tmp_path / "leaderboard" / "leaderboard.md").unlink()
    (tmp_path / "leaderboard" / "leaderboard.md").mkdir()
    status, out, err = bench("run", "--model", "meanpool", *on(cohort_folder, tmp_path), "--json")
    assert status == 1 and json.loads(out)["mean"]["selected"] and "The results are kept" in err

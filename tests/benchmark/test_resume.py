"""Going on where a run stopped: a fold that failed is tried again, and what a program drew before moves nothing."""

import json

import pytest
import torch


@pytest.fixture
def ran(bench, cohort_folder, tmp_path):
    """`ran(out)`: the rows of a small experiment, by fold, after `bench run`."""

    def call(out: str) -> list[dict]:
        words = [
            "--cohort",
            "blca",
            "--labels",
            cohort_folder / "labels.csv",
            "--features",
            cohort_folder / "features",
            "--folds",
            3,
        ]
        words += ["--set", "epochs=2", "--tracking", "none", "--out", tmp_path / out]
        status, _, err = bench("run", "--model", "abmil", *words)
        assert status == 0, err
        return [json.loads(path.read_text()) for path in sorted((tmp_path / out).rglob("fold-*/result.json"))]

    return call


def scores(rows: list[dict]) -> list[dict]:
    return [{key: row[key] for key in row if key.startswith(("c_index", "ibs", "epoch"))} for row in rows]


def test_a_fold_that_failed_is_tried_again(ran, tmp_path):
    before = ran("out")
    (failed,) = tmp_path.glob("out/experiments/*/fold-1/result.json")
    failed.write_text(json.dumps(before[1] | {"status": "failed", "error": "out of memory"}))
    (failed.parent / "error.txt").write_text("Traceback")
    after = ran("out")
    assert after[1]["status"] == "finished" and scores(after) == scores(before)
    assert not (failed.parent / "error.txt").exists()


def test_what_was_drawn_before_moves_no_number(ran):
    first = ran("first")
    torch.manual_seed(123)
    assert scores(ran("second")) == scores(first)


@pytest.mark.parametrize("model", ["transmil", "abmil"])
def test_the_number_of_threads_of_the_machine_moves_no_number(cohort_folder, tmp_path, bench, model):
    """Sums are split by threads: their number is the experiment's own, however many a machine or a user sets."""
    before, found = torch.get_num_threads(), []
    data = ["--cohort", "blca", "--labels", cohort_folder / "labels.csv", "--features", cohort_folder / "features"]
    how = ["--folds", 2, "--set", "epochs=1", "--tracking", "none", "--no-weights"]
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            out = tmp_path / str(number)
            assert bench("run", "--model", model, *data, *how, "--out", out)[0] == 0
            assert torch.get_num_threads() == number
            found.append([path.read_bytes() for path in sorted(out.rglob("fold-*/predictions.csv"))])
    finally:
        torch.set_num_threads(before)
    assert len(found[0]) == 2 and found[0] == found[1]

"""Nothing of a test set reaches what is said of its patients: neither their labels nor who else is tested."""

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sksurv.metrics import concordance_index_ipcw, cumulative_dynamic_auc
from sksurv.util import Surv

READINGS = ["selected", "last"]


def write_fold(folder: Path, train: list[str], test: list[str]) -> Path:
    """One fold as published files give it: train in one column, test in the other."""
    folder.mkdir()
    lines = [f"{i},{one},{test[i] if i < len(test) else ''}" for i, one in enumerate(train)]
    (folder / "splits_0.csv").write_text("\n".join([",train,val", *lines]) + "\n")
    return folder


@pytest.fixture
def outcome(cohort_folder) -> pd.DataFrame:
    """Months and event of every patient, by id."""
    table = pd.read_csv(cohort_folder / "labels.csv").drop_duplicates("case_id").set_index("case_id").sort_index()
    return pd.DataFrame({"time": table["survival_months"], "event": table["censorship"] == 0})


@pytest.fixture
def predicted(bench, cohort_folder, tmp_path):
    """Train on `train`, test on `test`: the row, the predictions at `selected` and `last`, and the curves."""

    def call(name: str, train: list[str], test: list[str], loss: str, labels: Path | None = None, model=("abmil",)):
        splits, out = write_fold(tmp_path / f"splits-{name}", train, test), tmp_path / name
        words = ["--cohort", "blca", "--labels", labels or cohort_folder / "labels.csv", "--splits", splits]
        words += ["--features", cohort_folder / "features", "--recipe", "reference", "--loss", loss]
        words += ["--set", "epochs=3", "--set", "learning_rate=0.01", "--out", out, "--tracking", "none"]
        status, _, err = bench("run", "--model", *model, *words)
        assert status == 0, err
        (place,) = out.glob("experiments/*/fold-0")
        table = pd.read_csv(place / "predictions.csv").set_index(["reading", "patient"]).loc[READINGS].sort_index()
        return json.loads((place / "result.json").read_text()), table, pd.read_csv(place / "curves.csv")

    return call


def said(table: pd.DataFrame) -> pd.DataFrame:
    """What a model says of patients: risk, risk group, and survival at the end of each time bin."""
    return table[[name for name in table if name.startswith(("risk", "survival_", "edge_"))]]


@pytest.mark.parametrize("loss", ["nll", "cox"])
def test_what_is_said_of_a_patient_does_not_depend_on_who_else_is_tested(predicted, outcome, loss):
    ids = list(outcome.index)
    _, many, _ = predicted("many", ids[:40], ids[40:], loss)
    risk = many.loc["last"]["risk"]
    few = sorted(risk.index[risk < risk.median()])
    assert many.loc["last"]["risk_group"].nunique() == 2
    _, alone, _ = predicted("few", ids[:40], few, loss)
    pd.testing.assert_frame_equal(said(alone), said(many.loc[(slice(None), few), :]))


JOINED = ("abmil", "--covariates", "age,is_female", "--set", "validation=0.25")


@pytest.mark.parametrize(("loss", "model"), [("nll", ("abmil",)), ("cox", ("abmil",)), ("nll", JOINED)])
def test_labels_of_the_test_set_do_not_move_what_is_said_of_it(
    predicted, outcome, cohort_folder, tmp_path, loss, model
):
    ids = list(outcome.index)
    with (cohort_folder / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    first = {row["case_id"]: row for row in reversed(rows)}
    test = ids[40:]
    other = dict(zip(test, test[7:] + test[:7], strict=True))
    for row in (moved := [dict(row) for row in rows]):
        taken = first[other.get(row["case_id"], row["case_id"])]
        row |= {key: taken[key] for key in ("survival_months", "censorship")}
    with (tmp_path / "moved.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(moved)
    true_row, true, _ = predicted("true", ids[:40], test, loss, model=model)
    moved_row, shuffled, _ = predicted("shuffled", ids[:40], test, loss, tmp_path / "moved.csv", model)
    pd.testing.assert_frame_equal(said(true), said(shuffled))
    assert true_row["bin_edges"] == moved_row["bin_edges"]
    assert true_row["c_index_last"] != moved_row["c_index_last"], "the scores do follow the labels"


def test_censoring_weights_are_those_of_the_training_set(predicted, outcome):
    ids = list(outcome.index)
    row, table, _ = predicted("one", ids[:40], ids[40:], "nll")
    train, test = (Surv.from_dataframe("event", "time", outcome.loc[part]) for part in (ids[:40], ids[40:]))
    risk = table.loc["last"].loc[ids[40:]]["risk"].to_numpy()
    # Uno's C is cut where a tenth of the training set is still under observation.
    tau = np.sort(train["time"])[int(np.floor(0.9 * 39))]
    assert row["uno_c_last"] == pytest.approx(concordance_index_ipcw(train, test, risk, tau=tau)[0], abs=1e-12)
    assert row["uno_c_last"] != pytest.approx(concordance_index_ipcw(test, test, risk, tau=tau)[0], abs=1e-6)
    inside = np.minimum(test["time"], np.nextafter(train["time"].max(), 0))
    watched = Surv.from_arrays(test["event"] & (test["time"] <= inside), inside)
    for months in (12, 36):
        auc = cumulative_dynamic_auc(train, watched, risk, [months])[0][0]
        assert row[f"auc_{months}_last"] == pytest.approx(auc, abs=1e-12)


def test_watching_the_test_set_moves_no_dropout_of_training(predicted, outcome):
    """The reference draws dropout in evaluation too; what it draws there must not be missing in the next epoch."""
    ids = list(outcome.index)
    drawing = ["crossfusion", "--set", "embed_dim=16", "--set", "num_heads=2", "--set", "faults=dropout-in-eval"]
    curves = [predicted(str(n), ids[:40], ids[40 : 40 + n], "nll", model=drawing)[2] for n in (20, 7)]
    for curve in curves:
        assert len(curve) == 3
    pd.testing.assert_series_equal(curves[0]["train_loss"], curves[1]["train_loss"])

"""Experiments: resumed to the same numbers, blind to the test set, and honest about what failed."""

import csv
import dataclasses
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from milsurv.benchmark.cross_validation.cross_validate import cross_validate
from milsurv.benchmark.cross_validation.parts import fold_parts
from milsurv.benchmark.experiment import seed_for
from milsurv.benchmark.planning.load import load
from milsurv.benchmark.planning.request import Request, parse_command
from milsurv.benchmark.results.folder import ResultFolder
from milsurv.errors import DataError, UsageError
from milsurv.leaderboards.result_row import parse_row
from milsurv.models import registry
from milsurv.models.spec import ModelSpec


class Silent:
    """Watches and records nothing, or raises after so many folds."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.stop_after = stop_after
        self.computed: list[int] = []
        self.ended: list[str] = []

    def epoch(self, fold, epoch, line):
        pass

    def begin(self):
        pass

    def fold(self, *args):
        if len(args) == 3 and args[2]:
            self.computed.append(args[0])
            if len(self.computed) == self.stop_after:
                raise KeyboardInterrupt

    def end(self, status, rows, folder):
        self.ended.append(status)


def request(cohort_folder: Path, **changes) -> Request:
    plain = Request(
        "abmil",
        "blca",
        features_path=str(cohort_folder / "features"),
        labels_path=cohort_folder / "labels.csv",
        settings={"epochs": "3"},
        folds=3,
    )
    return dataclasses.replace(plain, **changes)


def run_it(asked: Request, out: Path, watcher: Silent | None = None):
    watcher = watcher or Silent()
    experiment, data = load(asked)
    return experiment, cross_validate(experiment, data, out, asked.command, watcher, watcher)


def numbers(rows) -> list[dict]:
    changing = {"seconds", "created", "code_version", "hardware"}
    return [{key: value for key, value in row.to_json().items() if key not in changing} for row in rows]


def test_the_id_hashes_everything_that_decides_the_numbers(cohort_folder):
    ids = {
        load(asked)[0].id
        for asked in (
            request(cohort_folder),
            request(cohort_folder, seed=1),
            request(cohort_folder, model="meanpool"),
            request(cohort_folder, folds=4),
            request(cohort_folder, settings={"epochs": "4"}),
            request(cohort_folder, settings={"epochs": "3", "scale": "10"}),
            request(cohort_folder, settings={"epochs": "3", "loss": "cox"}),
        )
    }
    assert len(ids) == 7
    assert load(request(cohort_folder))[0].id in ids


def test_the_id_follows_the_content_and_not_the_place(cohort_folder, tmp_path):
    copied = shutil.copytree(cohort_folder, tmp_path / "elsewhere")
    assert load(request(copied))[0].id == load(request(cohort_folder))[0].id


def test_seeds_differ_by_fold_and_purpose_and_nothing_else():
    assert len({seed_for(s, f, p) for s in (0, 1) for f in (0, 1) for p in ("weights", "batches")}) == 8
    assert seed_for(0, 0, "weights") == seed_for(0, 0, "weights")


def test_the_same_experiment_gives_the_same_numbers(cohort_folder, tmp_path):
    first, second = (run_it(request(cohort_folder), tmp_path / name)[1] for name in ("a", "b"))
    assert numbers(first) == numbers(second)
    assert all(row.status == "finished" for row in first)


def test_an_interrupted_run_resumes_to_the_same_numbers_and_computes_only_what_is_missing(cohort_folder, tmp_path):
    _, whole = run_it(request(cohort_folder), tmp_path / "whole")
    stopped = Silent(stop_after=1)
    with pytest.raises(KeyboardInterrupt):
        run_it(request(cohort_folder), tmp_path / "parts", stopped)
    assert stopped.ended == ["KILLED"]
    resumed = Silent()
    _, rows = run_it(request(cohort_folder), tmp_path / "parts", resumed)
    assert resumed.computed == [1, 2]
    assert numbers(rows) == numbers(whole)


@pytest.mark.parametrize("damage", ["cut", "other fold", "no predictions", "bare"])
def test_a_fold_whose_files_are_not_whole_is_computed_again(cohort_folder, tmp_path, damage):
    experiment, rows = run_it(request(cohort_folder), tmp_path)
    folder = ResultFolder(tmp_path, experiment).fold(1)
    result = folder / "result.json"
    if damage == "cut":
        result.write_text(result.read_text()[:100])
    elif damage == "other fold":
        result.write_text(json.dumps(json.loads(result.read_text()) | {"fold": 0}))
    elif damage == "bare":
        result.write_text('{"status": "finished"}')
    else:
        (folder / "predictions.csv").unlink()
    again = Silent()
    _, healed = run_it(request(cohort_folder), tmp_path, again)
    assert again.computed == [1] and numbers(healed) == numbers(rows)


def test_folds_run_in_any_order_give_the_same_numbers(cohort_folder, tmp_path):
    _, whole = run_it(request(cohort_folder), tmp_path / "whole")
    experiment, data = load(request(cohort_folder))
    apart = [
        row
        for fold in (2, 0, 1)
        for row in cross_validate(experiment, data, tmp_path / "apart", "", Silent(), Silent(), only=[fold])
    ]

    def by_fold(rows) -> dict:
        return {row["fold"]: {key: value for key, value in row.items() if key != "command"} for row in numbers(rows)}

    assert list(by_fold(apart)) == [2, 0, 1] and by_fold(apart) == by_fold(whole)


def test_shuffling_the_labels_of_a_test_set_changes_nothing_about_its_training(cohort_folder, tmp_path):
    """The planted leak: were anything chosen on the test set, its labels would move something."""
    fold = tmp_path / "splits"
    fold.mkdir()
    ids = sorted({row["case_id"] for row in csv.DictReader((cohort_folder / "labels.csv").open())})
    train, test = ids[:40], ids[40:]
    (fold / "splits_0.csv").write_text(
        "\n".join([",train,val", *(f"{i},{a},{test[i] if i < len(test) else ''}" for i, a in enumerate(train))]) + "\n"
    )
    table = pd.read_csv(cohort_folder / "labels.csv")
    outcome = table.drop_duplicates("case_id").set_index("case_id")[["survival_months", "censorship"]]
    moved = outcome.copy()
    moved.loc[test] = outcome.loc[test[7:] + test[:7]].to_numpy()
    for column in moved:
        table[column] = table.case_id.map(moved[column])
    table.to_csv(tmp_path / "labels.csv", index=False)

    results = []
    for name, labels in (("true", cohort_folder / "labels.csv"), ("shuffled", tmp_path / "labels.csv")):
        asked = request(
            cohort_folder, labels_path=labels, splits_path=fold, settings={"epochs": "4", "learning_rate": "0.01"}
        )
        experiment, rows = run_it(asked, tmp_path / name)
        place = ResultFolder(tmp_path / name, experiment).fold(0)
        results.append((rows[0], pd.read_csv(place / "curves.csv"), pd.read_csv(place / "predictions.csv")))
    (true, true_curve, true_risk), (shuffled, shuffled_curve, shuffled_risk) = results

    pd.testing.assert_frame_equal(true_curve.drop(columns="test_c_index"), shuffled_curve.drop(columns="test_c_index"))
    assert not true_curve.test_c_index.equals(shuffled_curve.test_c_index)
    learnt = ["patient", "reading", "risk", "risk_group", "survival_1", "edge_1"]
    for reading in ("selected", "last"):
        a, b = (frame[frame.reading == reading][learnt] for frame in (true_risk, shuffled_risk))
        pd.testing.assert_frame_equal(a, b)
    assert true.epoch_selected == shuffled.epoch_selected
    assert true.bin_edges == shuffled.bin_edges


def test_the_best_reading_is_never_below_the_others(cohort_folder, tmp_path):
    for row in run_it(request(cohort_folder), tmp_path)[1]:
        assert row.score("c_index_best") >= max(row.score("c_index_selected"), row.score("c_index_last"))


def test_out_of_fold_predictions_are_one_table_that_reproduces_the_rows(cohort_folder, tmp_path):
    from milsurv.survival.concordance import c_index

    experiment, rows = run_it(request(cohort_folder), tmp_path)
    table = pd.read_csv(tmp_path / "experiments" / experiment.id / "predictions.csv")
    assert set(table.reading) == {"selected", "last", "best"}
    assert not table.duplicated(["patient", "reading"]).any()
    assert table.patient.nunique() == 60
    for row in rows:
        part = table[(table.fold == row.fold) & (table.reading == "selected")]
        value = c_index(part.time.to_numpy(), part.event.to_numpy() == 1, part.risk.to_numpy())
        assert value == row.score("c_index_selected")
        assert (part[[c for c in part if c.startswith("survival_")]].diff(axis=1).iloc[:, 1:] <= 1e-9).all(axis=None)
    assert (tmp_path / "experiments" / experiment.id / "kaplan-meier.svg").read_text().startswith("<?xml")


@pytest.mark.parametrize("loss", ["nll", "cox", "ce"])
@pytest.mark.parametrize("model", ["abmil", "crossfusion"])
def test_every_loss_trains_models_of_both_families(cohort_folder, tmp_path, model, loss):
    small = {"epochs": "1", "loss": loss} | ({"embed_dim": "16", "num_heads": "2"} if model == "crossfusion" else {})
    _, rows = run_it(request(cohort_folder, model=model, settings=small), tmp_path)
    assert [row.status for row in rows] == ["finished"] * 3
    assert all(0 <= row.score("c_index_selected") <= 1 and 0 < row.score("ibs_selected") < 0.5 for row in rows)


def test_the_reference_recipe_holds_nothing_out_and_selects_the_last_epoch(cohort_folder, tmp_path):
    experiment, rows = run_it(request(cohort_folder, recipe="reference", settings={"epochs": "7"}), tmp_path)
    assert experiment.hyperparameters == dict(sorted(experiment.hyperparameters.items()))
    for row in rows:
        assert row.n_val == 0 and row.epoch_selected == row.epoch_last == 7
        assert row.epoch_best > 5  # after five epochs of warm-up, as the reference does


def test_cohort_bins_are_a_fault_that_must_be_asked_for(cohort_folder):
    from milsurv.benchmark.cross_validation.parts import fold_parts

    experiment, data = load(
        request(cohort_folder, recipe="reference", settings={"faults": "cohort-bins", "epochs": "1"})
    )
    assert experiment.recipe.faults == ("cohort-bins",)
    parts = fold_parts(experiment, data, data.folds.splits[0])
    assert len(parts.cohort.time) == 60 > len(parts.train.followup.time)


def test_the_bins_of_each_recipe_come_from_where_it_says(cohort_folder, tmp_path):
    edges = {}
    for name, settings in (("train", {}), ("cohort", {"faults": "cohort-bins"})):
        asked = request(cohort_folder, recipe="reference", settings={"epochs": "1", **settings})
        edges[name] = [row.bin_edges for row in run_it(asked, tmp_path / name)[1]]
    assert len({tuple(e.split()[:3]) for e in edges["cohort"]}) == 1
    assert len({tuple(e.split()[:3]) for e in edges["train"]}) == 3


def test_a_fold_that_fails_is_recorded_and_the_others_still_run(cohort_folder, tmp_path):
    copied = shutil.copytree(cohort_folder, tmp_path / "damaged")
    asked = request(copied)
    experiment, data = load(asked)
    victim = data.labels.by_id[data.folds.splits[1].test[0]].slides[0]
    path = next((copied / "features" / "tiny").glob(f"{victim}.*"))
    path.write_bytes(path.read_bytes()[:-500] + b"\xff" * 500)  # float16 NaNs at the end of the last matrix
    rows = cross_validate(experiment, data, tmp_path / "out", "", Silent(), watcher := Silent())
    assert {row.status for row in rows} == {"failed"}  # the slide is in some part of every fold
    assert all(victim in row.error for row in rows)
    assert watcher.ended == ["FAILED"]
    assert "Traceback" in (ResultFolder(tmp_path / "out", experiment).fold(0) / "error.txt").read_text()


def test_patients_without_features_are_an_error_until_dropping_them_is_asked_for(cohort_folder, tmp_path):
    copied = shutil.copytree(cohort_folder, tmp_path / "holes")
    gone = sorted((copied / "features" / "tiny").glob("*.h5"))[:2]
    for path in gone:
        path.unlink()
    with pytest.raises(DataError, match=gone[0].stem):
        load(request(copied))
    experiment, data = load(request(copied, missing="drop"))
    assert experiment.missing == "drop"
    assert len(data.labels.patients) == 58
    assert {"patients_without_features"} <= {finding.code for finding in data.findings}
    assert len(data.left_out) == 2
    tested = [patient for split in data.folds.splits for patient in split.test]
    assert len(tested) == 58


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "crossfusio"}, "Did you mean crossfusion"),
        ({"cohort": "brka"}, "(?i)did you mean brca"),
        ({"recipe": "defualt"}, "Did you mean default"),
        ({"settings": {"epoch": "3"}}, "Did you mean epochs"),
        ({"settings": {"loss": "nil"}}, "Did you mean nll"),
        ({"settings": {"hidden": "wide"}}, "hidden=wide: expected int"),
        ({"model": "crossfusion", "settings": {"scale": "20"}}, "scale is for single-scale models"),
        ({"model": "crossfusion", "settings": {"num_heads": "7"}}, "cannot be built"),
        ({"device": "tpu"}, "unknown device"),
        ({"strength": "strong"}, "or --features synthetic"),
        ({"features_path": "synthetic"}, "leave --labels and --splits out"),
        ({"features_path": "nowhere"}, "no such file or folder"),
        ({"settings": {"scale": "7"}}, "the magnifications are 5, 10, 20 and 40"),
        ({"strength": "nan"}, "--strength nan"),
    ],
)
def test_a_request_that_cannot_be_understood_says_what_can(cohort_folder, changes, message):
    with pytest.raises((UsageError, ValueError), match=message):
        load(request(cohort_folder, **changes))


def test_a_gpu_that_is_not_there_is_a_clear_error(cohort_folder):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(UsageError, match="torch sees no GPU"):
        load(request(cohort_folder, device="cuda"))


def test_the_command_of_a_request_asks_for_it_again(cohort_folder):
    command = request(cohort_folder, seed=3, settings={"epochs": "2", "loss": "cox"}).command
    assert command.startswith("bench run --model abmil --cohort blca")
    assert "--seeds 3" in command and "--set epochs=2 --set loss=cox" in command and "--out" not in command


def test_the_row_is_flat_json(cohort_folder, tmp_path):
    _, rows = run_it(request(cohort_folder), tmp_path)
    for row in rows:
        flat = row.to_json()
        assert parse_row(json.loads(json.dumps(flat, allow_nan=False))) == row
        assert all(not isinstance(value, dict) for value in flat.values())


def test_folds_whose_files_count_from_one_reach_the_board(cohort_folder, tmp_path):
    from milsurv.leaderboards.publish import publish

    _, data = load(request(cohort_folder))
    splits = tmp_path / "splits"
    splits.mkdir()
    for number, split in enumerate(data.folds.splits, start=1):
        pairs = [f"{a}," for a in split.train] + [f",{b}" for b in split.test]
        (splits / f"splits_{number}.csv").write_text("\n".join(["train,val", *pairs]) + "\n")
    asked = request(cohort_folder, splits_path=splits)
    experiment, rows = run_it(asked, tmp_path / "out")
    assert [row.fold for row in rows] == [0, 1, 2] and experiment.n_folds == 3
    assert "folds_renumbered" in {finding.code for finding in load(asked)[1].findings}
    assert not publish(tmp_path / "out" / "experiments", tmp_path / "board").problems


class Placed(torch.nn.Module):
    """Looks at the training set before training and at the cells in every step, and writes down what it saw."""

    def __init__(self, dim, n_out):
        super().__init__()
        self.head = torch.nn.Linear(dim, n_out)
        self.register_buffer("centre", torch.zeros(dim))

    def prepare(self, bags, patients, rng):
        SEEN.append((tuple(patients), int(rng.integers(10**9))))
        means = [torch.from_numpy(bags[p].features[20].mean(0)).float() for p in patients]
        self.centre.copy_(torch.stack(means).mean(0))

    def forward(self, features, lengths, places):
        assert places.cells[20].shape == (len(features[20]), 2) and places.cells[20].dtype == torch.int32
        assert places.slide[20].shape == (len(features[20]),)
        return torch.stack([self.head(bag.mean(0) - self.centre) for bag in features[20].split(lengths[20].tolist())])


SEEN: list = []
PLACED = ModelSpec("placed", "Placed", Placed, (20,), {}, {}, {}, "single-scale", True, "none", places=True)


@pytest.fixture
def placed(monkeypatch):
    monkeypatch.setitem(registry.MODELS, "placed", PLACED)
    SEEN.clear()
    return SEEN


def test_a_model_prepares_once_a_fold_on_the_training_set_alone(cohort_folder, tmp_path, placed):
    asked = request(cohort_folder, model="placed", settings={"epochs": "1"})
    experiment, data = load(asked)
    _, rows = run_it(asked, tmp_path)
    assert [row.status for row in rows] == ["finished"] * 3
    for split, (patients, _) in zip(data.folds.splits, placed, strict=True):
        parts = fold_parts(experiment, data, split)
        assert patients == parts.train.patients
        assert not set(patients) & {*parts.val.patients, *parts.test.patients}
    assert len({drawn for _, drawn in placed}) == 3


def test_what_a_model_prepared_does_not_move_with_the_test_set(cohort_folder, tmp_path, placed, monkeypatch):
    def weights(out):
        kept = {}
        monkeypatch.setattr(
            "milsurv.benchmark.training.fold._BestOnTest.__call__",
            lambda self, epoch, line: kept.setdefault(len(kept), self.model.state_dict()["centre"].clone()),
        )
        asked = request(cohort_folder, model="placed", settings={"epochs": "1"})
        experiment, data = load(asked)
        if out == "shuffled":
            features = {p: data.bags[p] for s in data.folds.splits[:1] for p in s.test}
            names = list(features)
            moved = dict(zip(names, [features[p] for p in reversed(names)], strict=True))
            read = type(data.bags).__getitem__
            monkeypatch.setattr(
                type(data.bags), "__getitem__", lambda self, p: moved[p] if p in moved else read(self, p)
            )
        watcher = Silent()
        cross_validate(
            experiment, data, tmp_path / out, asked.command, watcher, watcher, only=(data.folds.splits[0].fold,)
        )
        return kept[0]

    assert torch.equal(weights("plain"), weights("shuffled"))


def test_a_model_that_needs_places_refuses_features_without_coordinates_and_says_what_to_do(
    cohort_folder, tmp_path, placed
):
    from milsurv.datasets.features.opening import open_features
    from milsurv.datasets.features.store import write_slide

    reader = open_features(cohort_folder / "features")
    for slide in reader.slides:
        features = {m: reader.read(slide, m)[0] for m in reader.magnifications}
        write_slide(
            tmp_path / "bare", slide, features, dict.fromkeys(features), backbone="tiny", patch_px=256, synthetic=True
        )
    asked = request(cohort_folder, model="placed", features_path=str(tmp_path / "bare"))
    with pytest.raises(DataError, match=r"have no patch coordinates .*--coords.*bench list models"):
        load(asked)
    assert load(dataclasses.replace(asked, model="abmil"))


@given(
    st.builds(
        Request,
        st.sampled_from(["abmil", "clinical-cox"]),
        st.sampled_from(["brca", "planted-fine"]),
        features_path=st.none() | st.text("ab /'\"-", min_size=1) | st.tuples(*2 * [st.text("ab /'\"-", min_size=1)]),
        derive_scales=st.booleans(),
        labels_path=st.none() | st.text("ab ", min_size=1).map(lambda text: Path(f"x{text}")),
        settings=st.dictionaries(st.sampled_from(["learning_rate", "epochs"]), st.text("0.1=e-", min_size=1)),
        patients=st.none() | st.integers(20, 99),
        strength=st.none() | st.sampled_from(["weak", "0.5"]),
        folds=st.integers(2, 9),
        seed=st.integers(0, 9),
    )
)
def test_a_command_is_read_back_as_the_request_that_wrote_it(asked):
    assert parse_command(asked.command) == asked


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("rm -rf x", "expected `bench run`"),
        ("bench run --model abmil", "--model and --cohort"),
        ("bench run --model abmil --cohort brca --fold 3", "unknown option"),
        ("bench run --model abmil --cohort brca --folds many", "whole number"),
        ("bench run --model abmil --cohort brca --set epochs", "KEY=VALUE"),
        ("bench run --model 'abmil", "cannot be read"),
    ],
)
def test_what_is_no_command_of_ours_is_refused(command, message):
    with pytest.raises(UsageError, match=message):
        parse_command(command)

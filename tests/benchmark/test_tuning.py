"""Settings are chosen on the training set of a fold alone, the same each time; a killed study loses nothing."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from milsurv.benchmark.cross_validation import fitting as crossed
from milsurv.benchmark.cross_validation.cross_validate import cross_validate
from milsurv.benchmark.cross_validation.fitting import judge_model
from milsurv.benchmark.planning.grid import grid
from milsurv.benchmark.planning.load import load
from milsurv.benchmark.planning.request import Request, parse_command
from milsurv.benchmark.planning.resolve import resolve
from milsurv.benchmark.results.trials import read_trials
from milsurv.benchmark.run import Quiet, run
from milsurv.benchmark.training import fold as training
from milsurv.benchmark.training.checkpointing import Checkpoint
from milsurv.benchmark.training.fit import Diverged
from milsurv.benchmark.training.interruption import STOP, Stopped
from milsurv.benchmark.tuning import tune as tuner
from milsurv.benchmark.tuning.inner import HeldOut, inner_splits, without_test_fold
from milsurv.benchmark.tuning.spaces import start_of, with_settings
from milsurv.benchmark.tuning.study import JOURNAL, best_of
from milsurv.benchmark.tuning.tune import NothingTrained, study_of, tune
from milsurv.errors import UsageError
from milsurv.leaderboards.ranking.board import boards
from milsurv.leaderboards.rows import read_row


def request(cohort_folder, out, model="abmil", **changes) -> Request:
    first = {"settings": {"epochs": "2", "scale": "5"}, "folds": 3, "tune": 4}
    return Request(
        model, "blca", labels_path=cohort_folder / "labels.csv", features_path=str(cohort_folder / "features"), out=out,
        **(first | changes),
    )  # fmt: skip


@pytest.fixture(scope="module")
def loaded(cohort_folder, tmp_path_factory):
    """A tuned experiment and its data; nothing of it is computed yet."""
    return load(request(cohort_folder, tmp_path_factory.mktemp("loaded"), tune=6))


def invented(experiment, data, split, watch, checkpoint) -> HeldOut:
    """A judge that trains nothing: values follow from the setting and the inner fold."""
    assert experiment.recipe is not None
    value = 0.5 - 0.1 * abs(math.log10(experiment.recipe.learning_rate) + 3.5) + 0.01 * split.fold
    value += 0.1 * (experiment.hyperparameters["hidden"] == 128)
    for epoch in range(1, 11):
        watch(epoch, {"epoch": epoch, "val_c_index": value * epoch / 10})
    return HeldOut(value, 10 + split.fold, 10)


def trials_of(folder):
    """What was tried and what came of it; times are measured and differ."""
    return [replace(record, seconds=0.0) for record in read_trials(folder)]


def tuned_by(judge, experiment, data, folder, inner=3, **more):
    experiment = replace(experiment, tuning=replace(experiment.tuning, inner=inner))
    return tune(experiment, data, data.folds.splits[0], folder, judge, epochs=lambda *_: 10, **more)


# --- what is tried


def test_the_first_trial_is_the_setting_without_tuning_and_the_best_is_taken(loaded, tmp_path):
    experiment, data = loaded
    found = tuned_by(invented, experiment, data, tmp_path)
    records = read_trials(tmp_path)
    assert records[0].settings == start_of(experiment) and records[0].value == found.fields["untuned_c_index"]
    best = best_of(records)
    assert best is not None and best.value == found.fields["tuned_c_index"] == max(r.value or 0 for r in records)
    assert len(records) == found.fields["trials"] == 6
    weighted = sum(c * (10 + k) for k, c in enumerate(best.inner)) / 33
    assert best.value == pytest.approx(weighted, abs=1e-12)  # every comparable pair counts once


def test_of_equal_values_the_earliest_is_taken(loaded, tmp_path):
    found = tuned_by(lambda *_: HeldOut(0.5, 10, 1), *loaded, tmp_path)
    assert found.fields["tuned_trial"] == 0


@pytest.mark.parametrize("inner", [1, 3])
def test_a_study_that_was_cut_anywhere_ends_with_the_same_numbers(loaded, tmp_path, inner):
    found = tuned_by(invented, *loaded, tmp_path / "whole", inner)
    whole, lines = trials_of(tmp_path / "whole"), (tmp_path / "whole" / JOURNAL).read_bytes().splitlines(keepends=True)
    for kept in range(2, len(lines), 17):
        folder = tmp_path / f"cut-{kept}"
        folder.mkdir()
        half = lines[kept][: len(lines[kept]) // 2] if kept % 2 else b""  # a process may die while it writes a line
        (folder / JOURNAL).write_bytes(b"".join(lines[:kept]) + half)
        again = tuned_by(invented, *loaded, folder, inner)
        assert trials_of(folder) == whole, kept
        assert again.settings == found.settings


def test_optuna_reads_the_study_as_its_own(loaded, tmp_path):
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    tuned_by(invented, *loaded, tmp_path)
    study = optuna.load_study(study_name=None, storage=JournalStorage(JournalFileBackend(str(tmp_path / JOURNAL))))
    assert len(study.trials) == 6 and "fold 0" in study.study_name
    assert study.best_trial.number == best_of(read_trials(tmp_path)).number
    assert not list(tmp_path.glob(".*"))  # no lock stays


def test_trials_that_are_behind_are_stopped(loaded, tmp_path):
    def falling(experiment, data, split, watch, checkpoint) -> HeldOut:
        value = 0.9 - 0.02 * falling.calls
        falling.calls += 1
        return HeldOut(value, 10, 1)

    falling.calls = 0
    tuned_by(falling, *loaded, tmp_path)
    records = read_trials(tmp_path)
    assert [record.state for record in records] == ["finished", *["stopped"] * 5]
    assert all(len(record.inner) == 2 and record.value is None for record in records[1:])


def test_on_a_validation_split_a_trial_below_the_median_is_stopped_while_it_is_trained(loaded, tmp_path):
    def falling(experiment, data, split, watch, checkpoint) -> HeldOut:
        falling.value -= 0.05
        for epoch in range(1, 11):
            watch(epoch, {"epoch": epoch, "val_c_index": falling.value})
        return HeldOut(falling.value, 10, 10)

    falling.value = 0.9
    tuned_by(falling, *loaded, tmp_path, inner=1)
    records = read_trials(tmp_path)
    assert [record.state for record in records] == [*["finished"] * 5, "stopped"]
    assert [record.epochs for record in records] == [*[10] * 5, 3]


def test_a_trial_that_fails_is_kept_with_its_reason_and_the_others_go_on(loaded, tmp_path):
    def picky(experiment, data, split, watch, checkpoint) -> HeldOut:
        if experiment.recipe.loss == "nll":
            raise Diverged("the loss became nan")
        return invented(experiment, data, split, watch, checkpoint)

    found = tuned_by(picky, *loaded, tmp_path)
    records = read_trials(tmp_path)
    failed = [record for record in records if record.state == "failed"]
    assert failed and records[0] in failed and failed[0].error == "the loss became nan"
    assert found.fields["trials_failed"] == len(failed) and found.fields["untuned_c_index"] is None
    assert found.settings["loss"] != "nll"


def test_where_nothing_can_be_trained_the_message_says_why(loaded, tmp_path):
    def never(*_) -> HeldOut:
        raise MemoryError("4 GiB are not there")

    with pytest.raises(NothingTrained, match=r"none of the 6 trials of fold 0.*MemoryError: 4 GiB are not there"):
        tuned_by(never, *loaded, tmp_path)
    assert (tmp_path / "tuning.csv").read_text().count("4 GiB") == 6


def test_a_wish_to_stop_is_answered_between_trials_and_the_study_goes_on_later(loaded, tmp_path):
    def asked_at_the_third(experiment, data, split, watch, checkpoint) -> HeldOut:
        asked_at_the_third.calls += 1
        if asked_at_the_third.calls == 9:
            STOP.request("SIGTERM")
        return invented(experiment, data, split, watch, checkpoint)

    asked_at_the_third.calls = 0
    with pytest.raises(Stopped, match="the trials of the fold under way are kept"):
        tuned_by(asked_at_the_third, *loaded, tmp_path / "stopped")
    STOP.clear()
    found = tuned_by(asked_at_the_third, *loaded, tmp_path / "stopped")
    assert found.settings == tuned_by(invented, *loaded, tmp_path / "whole").settings
    assert trials_of(tmp_path / "stopped") == trials_of(tmp_path / "whole")


def test_with_seconds_the_setting_without_tuning_is_always_tried(loaded, tmp_path):
    experiment, data = loaded
    experiment = replace(experiment, tuning=replace(experiment.tuning, trials=None, seconds=0))
    assert tuned_by(invented, experiment, data, tmp_path).fields["trials"] == 1


def test_of_two_workers_none_takes_the_trial_of_the_other_and_together_they_keep_to_the_budget(loaded, tmp_path):
    experiment, data = loaded
    one, other = (study_of(experiment, data.folds.splits[0], tmp_path) for _ in range(2))
    taken = [study.next() for study in (one, other, one, other, one, other)]
    assert [trial.number for trial in taken if trial] == list(range(6)) and one.next() is None is other.next()
    assert len({json.dumps(trial.settings) for trial in taken if trial}) == 6
    one.restore()  # as after both were killed
    again = [one.next() for _ in range(6)]
    assert [(trial.number, trial.settings) for trial in again] == [(trial.number, trial.settings) for trial in taken]


# --- whom it is tried on


def test_inner_folds_hold_out_every_patient_of_the_training_set_once_and_nobody_else(loaded):
    experiment, data = loaded
    split = data.folds.splits[1]
    blind = without_test_fold(data, split)
    assert not {patient.id for patient in blind.labels.patients} & set(split.test)
    inner = [one for _, one in inner_splits(experiment, blind, split)]
    held = [patient for one in inner for patient in one.test]
    assert sorted(held) == sorted((*split.train, *split.val)) and len(inner) == 3
    events = [sum(data.labels.by_id[patient].event for patient in one.test) for one in inner]
    assert max(events) - min(events) <= 1


def test_with_the_validation_split_a_trial_is_the_training_that_follows(loaded):
    """The value of a setting is what its own curve says at the selected epoch."""
    experiment, data = loaded
    experiment = replace(experiment, tuning=replace(experiment.tuning, inner=1))
    split, curve = data.folds.splits[0], []
    blind = without_test_fold(data, split)
    ((inner, of),) = inner_splits(experiment, blind, split)
    setting = with_settings(inner, start_of(experiment))
    found = judge_model(setting, blind, of, lambda epoch, line: curve.append(dict(line)), Checkpoint())
    rows = crossed._fit_model(setting, data, split, Quiet().computing("", 1).__enter__()).curve
    assert [line["val_loss"] for line in curve] == [line["val_loss"] for line in rows]
    selected = min(curve, key=lambda line: line["val_loss"])
    assert found.c_index == pytest.approx(selected["val_c_index"], abs=1e-12)


class Swapped:
    """Bags in which patients carry each other's patches."""

    def __init__(self, bags, other):
        self.bags, self.other = bags, other

    def __getitem__(self, patient):
        return self.bags[self.other.get(patient, patient)]

    def tokens(self, patient):
        return self.bags.tokens(self.other.get(patient, patient))

    def patch_px(self):
        return self.bags.patch_px()


def with_another_test_fold(data, split):
    """The cohort with labels and features of a test fold dealt anew among its patients."""
    other, bag_of = (dict(zip(split.test, split.test[n:] + split.test[:n], strict=True)) for n in (7, 4))
    by_id = data.labels.by_id

    def dealt(patients):
        taken = ((one, by_id[other.get(one.id, one.id)]) for one in patients)
        return tuple(replace(one, time=they.time, event=they.event) for one, they in taken)

    labels = replace(data.labels, patients=dealt(data.labels.patients))
    units = replace(data.units, labels=replace(data.units.labels, patients=dealt(data.units.labels.patients)))
    return replace(data, labels=labels, units=units, bags=Swapped(data.bags, bag_of))


def moved_by_the_test_fold(experiment, data, out, monkeypatch) -> list[str]:
    """What of tuning fold 0 changes where labels and features of its test patients change: nothing should."""
    split, seen = data.folds.splits[0], []
    for name, cohort in (("as it is", data), ("dealt anew", with_another_test_fold(data, split))):
        weights = []

        def kept(*given, fit=training.fit, weights=weights):
            fitted = fit(*given)
            weights.append({key: value.clone() for key, value in fitted.weights.items()})
            return fitted

        with monkeypatch.context() as patch, Quiet().computing("", 1) as watcher:
            patch.setattr(training, "fit", kept)
            (row,) = cross_validate(experiment, cohort, out / name, "", watcher, only=[0])
        assert row.finished, row.error
        seen.append((trials_of(out / name / "experiments" / experiment.id / "fold-0"), row, weights))
    (trials, row, weights), (other_trials, other_row, other_weights) = seen
    assert row.score("c_index_selected") != other_row.score("c_index_selected"), "the scores do follow the labels"
    same = len(weights) == len(other_weights) and all(
        (one[key] == other[key]).all()
        for one, other in zip(weights, other_weights, strict=True)
        if one.keys() == other.keys() and all(one[key].shape == other[key].shape for key in one)
        for key in one
    )
    return [
        *["trials"] * (trials != other_trials),
        *["settings"] * (row.tuned_settings != other_row.tuned_settings),
        *["weights"] * (not same),
    ]


@pytest.mark.parametrize("inner", ["3", "validation"])
def test_labels_and_features_of_the_test_fold_move_no_trial_no_setting_and_no_weight(
    cohort_folder, tmp_path, monkeypatch, inner
):
    experiment, data = load(request(cohort_folder, tmp_path, tune=3, inner=inner))
    assert moved_by_the_test_fold(experiment, data, tmp_path, monkeypatch) == []


def test_a_tuner_that_sees_the_test_fold_is_caught(cohort_folder, tmp_path, monkeypatch):
    experiment, data = load(request(cohort_folder, tmp_path, tune=3))
    monkeypatch.setattr(tuner, "without_test_fold", lambda data, split: data)
    monkeypatch.setattr(tuner, "inner_splits", lambda experiment, data, split: ((experiment, split),))
    assert "trials" in moved_by_the_test_fold(experiment, data, tmp_path, monkeypatch)


# --- from the command to the board


@pytest.fixture(scope="module")
def ran(made_once, cohort_folder):
    """A folder with abmil and clinical-cox, each tuned and as they are."""

    def make(out):
        for model, budget in (("abmil", 3), ("abmil", None), ("clinical-cox", 4), ("clinical-cox", None)):
            settings = {"epochs": "2", "scale": "5"} if model == "abmil" else {}
            asked = request(cohort_folder, out, model, tune=budget, settings=settings)
            assert run(asked, Quiet(), "none").complete

    return made_once("tuned", make)


def rows_of(folder):
    return [read_row(path) for path in sorted(folder.rglob("fold-*/result.json"))]


def test_a_tuned_recipe_is_a_line_of_its_own_and_says_what_was_chosen(ran):
    (board,) = boards(rows_of(ran))
    lines = {(line.model, line.recipe): line for line in board.rankings[0].lines}
    assert lines.keys() == {
        ("abmil", "tuned (3, epochs=2)"), ("abmil", "default (epochs=2)"),
        ("clinical-cox", "tuned (4)"), ("clinical-cox", None),
    }  # fmt: skip
    line = lines["abmil", "tuned (3, epochs=2)"]
    assert line.loss == "tuned"
    for row in line.rows:
        assert row.trials == 3 and row.chosen.keys() >= {"learning_rate", "loss", "dropout"}
        assert (row.tuned_c_index or 0) >= (row.untuned_c_index or 0) and row.tuning_seconds
    assert all(row.chosen.keys() == {"penalty"} for row in lines["clinical-cox", "tuned (4)"].rows)


def test_the_same_experiment_gives_the_same_numbers_and_its_command_the_same_experiment(ran, cohort_folder, tmp_path):
    first = [row for row in rows_of(ran) if row.recipe == "tuned (3, epochs=2)"]
    again = run(replace(parse_command(str(first[0].command)), out=tmp_path), Quiet(), "none")
    assert again.experiment.id == first[0].experiment
    assert [row.scores for row in again.rows] == [row.scores for row in first]
    assert [row.tuned_settings for row in again.rows] == [row.tuned_settings for row in first]


def test_a_setting_that_the_command_gives_is_not_tuned(cohort_folder, tmp_path):
    free = resolve(request(cohort_folder, tmp_path)).tuning
    fixed = resolve(request(cohort_folder, tmp_path, settings={"loss": "nll", "hidden": "256"})).tuning
    assert free is not None and fixed is not None
    assert free.space.keys() - fixed.space.keys() == {"loss", "hidden"}


def test_a_setting_outside_the_usual_space_is_taken_into_it(cohort_folder, tmp_path):
    asked = request(cohort_folder, tmp_path, "crossfusion", recipe="reference", settings={})
    tuning = resolve(asked).tuning
    assert tuning is not None
    assert 512 in tuning.space["embed_dim"]["choices"] and tuning.space["weight_decay"]["low"] == 4e-6


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"tune_seconds": 5}, "two budgets"),
        ({"inner": "many"}, "--inner many"),
        ({"tune": None, "inner": "5"}, "add --tune N"),
        ({"model": "random", "settings": {}}, "random has no setting"),
        ({"model": "clinical-cox", "settings": {}, "inner": "validation"}, "clinical-cox has no validation split"),
        ({"model": "clinical-cox", "settings": {"penalty": "1"}}, "nothing to tune"),
        ({"recipe": "reference", "inner": "validation"}, "holds out no validation split"),
    ],
)
def test_options_that_do_not_fit_are_refused(cohort_folder, tmp_path, changes, why):
    with pytest.raises(UsageError, match=why):
        resolve(request(cohort_folder, tmp_path, **changes))


def test_in_a_grid_what_cannot_be_tuned_is_run_as_it_is(cohort_folder, tmp_path):
    cells = grid(request(cohort_folder, tmp_path, "", settings={}), "abmil,clinical-cox,random", "blca")
    assert [cell.tune for cell in cells] == [4, 4, None]


@pytest.mark.parametrize("inner", [1, 3])
def test_a_trial_that_is_stopped_goes_on_in_the_middle_of_its_training(loaded, tmp_path, inner):
    experiment, data = loaded
    experiment = replace(experiment, tuning=replace(experiment.tuning, trials=2))
    epochs = []

    def trained(experiment, data, split, watch, checkpoint) -> HeldOut:
        def seen(epoch, line) -> None:
            epochs.append(epoch)
            if len(epochs) == 2 * inner + 1:  # in the second trial
                STOP.request("SIGTERM")
            watch(epoch, line)

        return judge_model(experiment, data, split, seen, checkpoint)

    with pytest.raises(Stopped):
        tuned_by(trained, experiment, data, tmp_path / "stopped", inner, every=300.0)
    STOP.clear()
    assert len(list((tmp_path / "stopped").glob("trial-1-inner-*.pt"))) == 1
    (tmp_path / "stopped" / "trial-0-inner-0.pt").touch()  # of a trial that was over when its process was killed
    tuned_by(trained, experiment, data, tmp_path / "stopped", inner, every=300.0)
    assert len(epochs) == 2 * 2 * inner  # two epochs each: none is trained again
    assert not list((tmp_path / "stopped").glob("*.pt"))
    tuned_by(judge_model, experiment, data, tmp_path / "whole", inner)
    assert trials_of(tmp_path / "stopped") == trials_of(tmp_path / "whole")


@pytest.mark.slow
def test_a_run_that_was_killed_ends_with_the_numbers_of_one_that_was_not(cohort_folder, tmp_path):
    words = request(cohort_folder, tmp_path, tune=5, tune_workers=1).command.split()[1:]
    command = [sys.executable, "-m", "milsurv.benchmark.cli.main", *words, "--tracking", "none", "--out"]
    environment = os.environ | {"PYTHONWARNINGS": "ignore"}
    subprocess.run([*command, str(tmp_path / "whole")], check=True, env=environment, capture_output=True)
    for lines in (10, 60, 160):
        with subprocess.Popen([*command, str(tmp_path / "killed")], env=environment) as process:
            while process.poll() is None:
                journals = sorted(tmp_path.glob(f"killed/experiments/*/fold-*/{JOURNAL}"))
                if sum(journal.read_bytes().count(b"\n") for journal in journals) >= lines:
                    process.send_signal(signal.SIGKILL)
                    break
                time.sleep(0.005)
    subprocess.run([*command, str(tmp_path / "killed")], check=True, env=environment, capture_output=True)
    for whole in sorted(tmp_path.glob("whole/experiments/*/fold-*")):
        killed = tmp_path / "killed" / whole.relative_to(tmp_path / "whole")
        assert trials_of(killed) == trials_of(whole)
        assert (killed / "predictions.csv").read_bytes() == (whole / "predictions.csv").read_bytes()
        one, other = (json.loads((folder / "result.json").read_text()) for folder in (whole, killed))
        timed = {"created", "seconds", "tuning_seconds", "command"}
        assert {key: one[key] for key in one.keys() - timed} == {key: other[key] for key in other.keys() - timed}
    shutil.rmtree(tmp_path / "killed")


@pytest.mark.slow
def test_several_workers_share_the_trials_of_a_fold_and_the_row_says_so(cohort_folder, tmp_path, recwarn):
    found = run(request(cohort_folder, tmp_path, tune=6, tune_workers=2), Quiet(), "none")
    assert found.complete and {row.recipe for row in found.rows} == {"tuned (6, shared, epochs=2)"}
    assert not [str(one.message) for one in recwarn if "died" in str(one.message)]
    for fold in range(3):
        folder = tmp_path / "experiments" / found.experiment.id / f"fold-{fold}"
        lines = [json.loads(line) for line in (folder / JOURNAL).read_text().splitlines()]
        assert len({line["worker_id"] for line in lines}) == 2
        records = read_trials(folder)
        assert [record.number for record in records] == list(range(6))
        assert all(record.state in ("finished", "stopped") for record in records)
    assert found.experiment.id != load(request(cohort_folder, tmp_path, tune=6))[0].id

"""Checkpoints within a fold: wherever a training stops, it goes on to the same bits."""

import dataclasses
import signal
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from milsurv.benchmark.recipe import RECIPES, Recipe
from milsurv.benchmark.results.fold_predictions import FoldPredictions
from milsurv.benchmark.training import checkpointing
from milsurv.benchmark.training.checkpointing import Checkpoint
from milsurv.benchmark.training.interruption import STOP, Interruption, Stopped
from milsurv.errors import Remark
from milsurv.models import registry
from small_models import DIM
from tiny_fold import SHORT, Fold


class Pauses:
    """Counts the moments at which a training may stop, and asks it to at one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count, self.stop_at = 0, 0
        real = Checkpoint.pause

        def pause(checkpoint: Checkpoint) -> None:
            self.count += 1
            if self.count == self.stop_at:
                checkpoint.stop.request("the test")
            real(checkpoint)

        monkeypatch.setattr(Checkpoint, "pause", pause)

    def stopping_at(self, moment: int, run):
        """Run and stop at this moment: whether it stopped."""
        self.count, self.stop_at = 0, moment
        try:
            run()
        except Stopped:
            return True
        finally:
            STOP.clear()
            self.stop_at = 0
        return False


@pytest.fixture
def pauses(monkeypatch):
    yield Pauses(monkeypatch)
    STOP.clear()


@pytest.fixture(autouse=True)
def unscored(monkeypatch):
    """Metrics follow from the predictions, which are compared; computing them takes longer than these trainings."""
    monkeypatch.setattr(FoldPredictions, "score", lambda self: {})


def same(first, second) -> None:
    """Two outcomes of a fold agree to the last bit: weights, predictions, curves and scores."""
    assert first.weights == second.weights
    assert first.predictions == second.predictions
    assert first.curve == second.curve
    assert first.scores == second.scores
    assert {**first.fields, "seconds": 0} == {**second.fields, "seconds": 0}


FOLDS = {
    "dropout": ("abmil", SHORT, {"dropout": 0.4}),
    "patience": ("abmil", dataclasses.replace(SHORT, epochs=9, patience=1, learning_rate=0.05), {}),
    "pieces of Cox": ("abmil", dataclasses.replace(SHORT, loss="cox"), {"dropout": 0.4}),
    "a teacher": ("mhim", SHORT, {"momentum": 0.5, "query_momentum": 0.5}),
    "prototypes": ("panther", SHORT, {}),
    "float16": ("abmil", dataclasses.replace(SHORT, precision="float16"), {}),
    "bfloat16, steps clipped": ("abmil", dataclasses.replace(SHORT, precision="bfloat16", max_norm=0.01), {}),
    "trained again on everyone": ("mhim", dataclasses.replace(SHORT, refit=True), {"momentum": 0.5}),
    "prototypes of everyone": ("panther", dataclasses.replace(SHORT, epochs=2, refit=True), {}),
    "patches drawn": ("patchgcn", dataclasses.replace(SHORT, train_patches=20, loss="cox"), {}),
    "no validation split": ("meanpool", dataclasses.replace(SHORT, validation=0.0), {}),
    "the reference with its faults": (
        "crossfusion",
        dataclasses.replace(
            RECIPES["reference"],
            batch=6,
            epochs=2,
            tokens=300,
            best_after=0,
            faults=("cohort-bins", "carried-gradients", "dropout-in-eval"),
        ),
        {"attention_dropout_in_eval": True},
    ),
    "a teacher and carried gradients": (
        "mhim",
        dataclasses.replace(RECIPES["reference"], batch=6, epochs=2, best_after=0, faults=("carried-gradients",)),
        {"momentum": 0.5, "query_momentum": 0.5},
    ),
}


@pytest.mark.parametrize("case", FOLDS)
def test_a_training_that_stops_anywhere_ends_with_the_same_bits(case, pauses, tmp_path):
    model, recipe, hyperparameters = FOLDS[case]
    fold = Fold(model, recipe, **hyperparameters)
    expected = fold.train()
    same(fold.train(tmp_path / "whole.pt"), expected)
    pauses.count = 0
    fold.train()
    moments = pauses.count
    assert moments > 10
    for moment in range(1 + len(case) % 4, moments + 1, 5):  # every one of them holds; these take a fifth of the time
        path = tmp_path / f"{moment}.pt"
        assert pauses.stopping_at(moment, lambda path=path: fold.train(path))
        assert path.exists() or "carried gradients" in case
        same(fold.train(path), expected)


def test_a_training_that_stops_again_and_again_ends_with_the_same_bits(pauses, tmp_path):
    fold = Fold("mhim", SHORT)
    expected, path = fold.train(), tmp_path / "fold.pt"
    for moment in (1, 3, 2, 4, 3, 2):
        assert pauses.stopping_at(moment, lambda: fold.train(path))
    same(fold.train(path), expected)


@pytest.mark.parametrize("name", registry.MODELS)
def test_no_model_of_the_registry_keeps_anything_outside_its_state(name, pauses, tmp_path):
    fold = Fold(name, Recipe(batch=7, epochs=2))
    expected = fold.train()
    assert pauses.stopping_at(3, lambda: fold.train(tmp_path / "fold.pt"))
    same(fold.train(tmp_path / "fold.pt"), expected)


def test_what_was_computed_is_not_computed_again(pauses, tmp_path):
    fold, path = Fold("abmil", SHORT), tmp_path / "fold.pt"
    fold.train()
    whole = pauses.count
    pauses.stopping_at(12, lambda: fold.train(path))
    pauses.count = 0
    fold.train(path)
    assert pauses.count <= whole - 9


def test_prototypes_are_fitted_once(pauses, tmp_path, monkeypatch):
    fold, path = Fold("panther", SHORT), tmp_path / "fold.pt"
    pauses.stopping_at(2, lambda: fold.train(path))
    monkeypatch.setattr(type(registry.get("panther").build(DIM, 4, **fold.experiment.hyperparameters)), "prepare", None)
    assert fold.train(path).curve


def test_a_checkpoint_is_saved_when_it_is_time_and_costs_a_few_per_mille_at_most(monkeypatch, tmp_path):
    clock, saved = [0.0], []

    def monotonic() -> float:
        clock[0] += 1.0  # every look at the clock takes a second, a save three of them
        return clock[0]

    monkeypatch.setattr(checkpointing, "time", SimpleNamespace(monotonic=monotonic))
    checkpoint = Checkpoint(tmp_path / "fold.pt", {}, every=100.0)
    real = checkpoint.save
    monkeypatch.setattr(checkpoint, "save", lambda: saved.append(clock[0]) or real())
    while clock[0] < 10_000:
        checkpoint.pause()
    assert 100 <= saved[0] <= 103
    spent = 3 * len(saved)
    assert len(saved) > 5 and spent <= 0.003 * clock[0]


def test_a_fold_of_a_few_seconds_writes_no_checkpoint(tmp_path):
    Fold("meanpool", SHORT).train(tmp_path / "fold.pt", every=300.0)
    assert not (tmp_path / "fold.pt").exists()
    Fold("meanpool", SHORT).train(tmp_path / "fold.pt", every=0.0)
    assert (tmp_path / "fold.pt").exists()


@pytest.mark.parametrize("damage", ["cut", "zeros", "one bit", "text", "another fold", "another version", "empty"])
def test_what_is_damaged_or_belongs_elsewhere_is_not_used_and_said(damage, pauses, tmp_path, monkeypatch):
    fold, path = Fold("meanpool", SHORT), tmp_path / "fold.pt"
    expected = fold.train()
    pauses.stopping_at(6, lambda: fold.train(path))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= damage == "one bit"
    path.write_bytes({"cut": data[:-7], "zeros": bytes(len(data)), "text": b"no\n", "empty": b""}.get(damage, data))
    if damage == "another fold":
        fold.parts = dataclasses.replace(fold.parts, fold=1)
        expected = fold.train()
    if damage == "another version":
        monkeypatch.setattr("milsurv.benchmark.training.fold.code_version", lambda: "9.9.9")
    why = {"another fold": "with another fold", "another version": "another version of milsurv"}.get(
        damage, "is damaged"
    )
    with pytest.warns(Remark, match=rf"{why}: the fold is trained from its start"):
        same(fold.train(path), expected)


def test_a_checkpoint_is_data_and_never_code(tmp_path):
    import hashlib
    import io

    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    buffer = io.BytesIO()
    torch.save({"bound": {}, "parts": Evil()}, buffer)
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    (tmp_path / "fold.pt").write_bytes(f"milsurv checkpoint 1 {digest}\n".encode() + buffer.getvalue())
    with pytest.warns(Remark, match="cannot be loaded as data"):
        assert not Checkpoint(tmp_path / "fold.pt", {}, 1.0).found("training")
    assert not (tmp_path / "ran").exists()


def test_a_folder_that_takes_no_checkpoint_costs_the_checkpoint_and_not_the_training(tmp_path):
    (tmp_path / "file").touch()
    fold = Fold("meanpool", SHORT)
    with pytest.warns(Remark, match="cannot be written .*: training goes on without this checkpoint"):
        same(fold.train(tmp_path / "file" / "fold.pt", every=0.0), fold.train())


def test_what_a_killed_writer_left_is_removed(tmp_path):
    left = tmp_path / ".fold-0.pt.abcd1234.partial"
    left.touch()
    Checkpoint(tmp_path / "fold-0.pt", {}, 1.0)
    assert not left.exists()


def test_a_signal_waits_for_the_next_step_and_a_second_one_does_not():
    stop = Interruption()
    with stop.listening():
        with pytest.raises(Stopped, match="finished and kept"), stop.heard():
            signal.raise_signal(signal.SIGTERM)
            assert (stop.reason, stop.status) == ("SIGTERM", 143)
        stop.clear()
        with pytest.raises(KeyboardInterrupt) as end, stop.heard():
            signal.raise_signal(signal.SIGUSR1)
            signal.raise_signal(signal.SIGINT)
        assert not isinstance(end.value, Stopped) and stop.reason == "SIGUSR1"
        stop.clear()
        with pytest.raises(KeyboardInterrupt):  # nobody listens: it ends at once
            signal.raise_signal(signal.SIGINT)
    assert stop.status == 130


def test_signals_are_taken_by_a_command_alone_and_given_back():
    before = signal.getsignal(signal.SIGTERM)
    with Interruption().listening():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before
    failed = []

    def elsewhere() -> None:
        try:
            with Interruption().listening():
                pass
        except ValueError as error:
            failed.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert not failed

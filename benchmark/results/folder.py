"""Result files: the truth that everything else is made from, written whole or not at all.

OUT/experiments/<id>/experiment.json
OUT/experiments/<id>/remarks.json                what was noticed in the data, and who was left out
OUT/experiments/<id>/fold-<k>/result.json        one flat row; written last, so that it marks the fold as done
OUT/experiments/<id>/fold-<k>/predictions.csv    the test set at every reading
OUT/experiments/<id>/fold-<k>/curves.csv         one line per epoch
OUT/experiments/<id>/fold-<k>/weights-<reading>.safetensors   where weights are kept, see weights.py
OUT/experiments/<id>/fold-<k>/files.json         bytes, rows and SHA-256 of these files
OUT/experiments/<id>/checkpoints/fold-<k>.pt     a fold that is being trained, see training/checkpointing.py
OUT/experiments/<id>/predictions.csv             all finished folds
OUT/experiments/<id>/clinical-curves.csv         see clinical_curves.py
OUT/experiments/<id>/kaplan-meier.svg
"""

import csv
import io
import json
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ...errors import CannotWrite, Remark, some
from ...files import UNFINISHED, remove_unfinished, write_whole
from ...leaderboards.result_row import READINGS, ResultRow, RowError
from ...leaderboards.rows import read_row
from ...survival.clinical_curves import clinical_curves
from ...survival.followup import FollowUp
from ..experiment import Experiment
from .fold_predictions import FoldOutcome
from .keeping import Keeping
from .manifest import MANIFEST, RESULT, fault_of, manifest
from .scored_fold import read_fold
from .weights import weights_name


def write(path: Path, data: str | bytes) -> None:
    """Write a file whole. Errors: `CannotWrite` naming the file and the reason (read-only, disk full, quota)."""
    try:
        write_whole(path, data)
    except OSError as error:
        reason = error.strerror or error
        raise CannotWrite(
            f"cannot write {path}: {reason}. Finished folds are kept; make room or choose another --out"
        ) from error


def table(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows as csv text; the columns are those of all rows, in order of appearance."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


class ResultFolder:
    """The files of one experiment, and what is kept beside its numbers."""

    def __init__(self, out: Path, experiment: Experiment, keeping: Keeping | None = None) -> None:
        self.experiment = experiment
        self.keeping = keeping or Keeping()
        self.path = out / "experiments" / experiment.id

    def begin(self) -> None:
        """Make the folder, and say in it what the experiment is. Errors: `CannotWrite`."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = error.strerror or error
            raise CannotWrite(
                f"cannot write {self.path}: {reason}. Choose a folder you may write with --out"
            ) from error
        remove_unfinished(self.path, below=True)
        described = {"id": self.experiment.id, "id_fields": self.experiment.id_fields()}
        text = json.dumps(described, indent=2, sort_keys=True)
        write(self.path / "experiment.json", text + "\n")

    def write_remarks(self, findings: Sequence[Mapping[str, object]], left_out: Mapping[str, str]) -> None:
        """What was noticed in the data, and every patient of the label table that is not used, with the reason."""
        remarks = {"findings": list(findings), "left_out": dict(sorted(left_out.items()))}
        write(self.path / "remarks.json", json.dumps(remarks, indent=2) + "\n")

    def fold(self, fold: int) -> Path:
        """Where a fold's files lie."""
        return self.path / f"fold-{fold}"

    def checkpoint(self, fold: int) -> Path:
        """Where a fold that is being trained keeps its state."""
        return self.path / "checkpoints" / f"fold-{fold}.pt"

    def finished(self, fold: int) -> ResultRow | None:
        """The row of a fold that is done, or None. A damaged row counts as not done, and is computed again.

        So do files that are not as they were written, with a `Remark`, and a fold without its weights where they are to
        be had by training again.
        """
        folder = self.fold(fold)
        try:
            row = read_row(folder / "result.json")
        except RowError:
            return None
        trained = self.experiment.recipe is not None
        whole = all((folder / name).is_file() for name in ("predictions.csv", *["curves.csv"] * trained))
        mine = (row.experiment, row.fold) == (self.experiment.id, fold)
        if not (whole and mine and row.finished):
            return None
        if fault := fault_of(folder, (row.n_test or 0) * (len(READINGS) if trained else 1)):
            warnings.warn(f"{folder}: {fault}; this fold is computed again", Remark, stacklevel=2)
            return None
        return None if self.keeping.retrain and self.lacks_weights(fold) else row

    def lacks_weights(self, fold: int) -> bool:
        """Whether weights that are to be kept of a fold are not there."""
        if self.experiment.recipe is None:
            return False
        return not all((self.fold(fold) / weights_name(reading)).is_file() for reading in self.keeping.weights)

    def remark_missing_weights(self, folds: Sequence[int]) -> None:
        """Say which of these finished folds lack the weights that are to be kept, and how to get them."""
        if without := [fold for fold in folds if self.lacks_weights(fold)]:
            warnings.warn(
                f"{self.path}: no weights ({', '.join(self.keeping.weights)}) are kept of fold {some(without, 20)}, "
                "finished before. Add --retrain to train it again and keep them; the results stay the same",
                Remark,
                stacklevel=2,
            )

    def write_fold(self, row: ResultRow, outcome: FoldOutcome) -> None:
        """A finished fold. Its row comes last, and says that all others are there."""
        folder = self.fold(row.fold)
        weights = {weights_name(reading): data for reading, data in outcome.weights.items()}
        tables = {"curves.csv": table(outcome.curve)} if outcome.curve else {}
        files: dict[str, str | bytes] = {**weights, **tables, "predictions.csv": table(outcome.predictions)}
        for old in (*folder.glob(UNFINISHED), *folder.glob(weights_name("*")), folder / "error.txt"):
            if old.name not in files:
                old.unlink(missing_ok=True)
        for name, data in files.items():
            write(folder / name, data)
        result = json.dumps(row.to_json(), indent=2, allow_nan=False) + "\n"
        write(folder / MANIFEST, manifest(files, result))
        write(folder / RESULT, result)
        self._forget_checkpoint(row.fold)

    def _forget_checkpoint(self, fold: int) -> None:
        """Remove the checkpoint of a fold that is finished, and what a killed writer of it left."""
        path = self.checkpoint(fold)
        for file in (path, *path.parent.glob(f".{path.name}.*.partial")):
            file.unlink(missing_ok=True)
        with suppress(OSError):  # another fold has one
            path.parent.rmdir()

    def write_failure(self, row: ResultRow, details: str) -> None:
        """A fold that failed: its row, and the details a developer wants to see."""
        folder = self.fold(row.fold)
        write(folder / "error.txt", details)
        write(folder / "result.json", json.dumps(row.to_json(), indent=2, allow_nan=False) + "\n")

    def summarise(self, train_followup: Mapping[int, FollowUp]) -> None:
        """What all finished folds say together, given the follow-up of each fold's training set."""
        finished = {fold: part for fold, part in train_followup.items() if self.finished(fold)}
        for fold in finished:
            self._forget_checkpoint(fold)
        summarise(self.path, finished, self.experiment.title)


def summarise(folder: Path, train_followup: Mapping[int, FollowUp], title: str) -> None:
    """Write an experiment's predictions in one file, and of those at `selected` the clinical curves and a picture of
    the risk groups' survival.

    train_followup: the follow-up of the training set of each fold that is taken; their predictions.csv lie in `folder`.
    """
    rows: list[dict[str, str]] = []
    folds = []
    for fold, train in train_followup.items():
        with (folder / f"fold-{fold}" / "predictions.csv").open(encoding="utf-8", newline="") as file:
            mine = list(csv.DictReader(file))
        rows += mine
        folds.append(read_fold(fold, train, [row for row in mine if row["reading"] == "selected"]))
    if not folds:
        return
    write(folder / "predictions.csv", table(rows))
    write(folder / "clinical-curves.csv", table(clinical_curves(folds)))
    from ...leaderboards.render.figures import style
    from ...leaderboards.render.figures.kaplan_meier import kaplan_meier

    chosen = [row for row in rows if row["reading"] == "selected"]
    if all(row["risk_group"] for row in chosen):
        figure = kaplan_meier(
            [float(row["time"]) for row in chosen],
            [row["event"] == "1" for row in chosen],
            [row["risk_group"] for row in chosen],
            title,
            fold=[row["fold"] for row in chosen],
            patients=len({row.get("owner") or row["patient"] for row in chosen}),
        )
        write(folder / "kaplan-meier.svg", style.svg(figure))

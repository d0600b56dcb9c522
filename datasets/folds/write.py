"""Folds as files: the public format, so that every tool reads them, and a note on how and for what they were made."""

import csv
import io
from itertools import zip_longest
from pathlib import Path

from ...errors import DataError, writing
from ...files import whole_folder
from ..labels.read import Labels
from ..split import Folds
from .forms import FoldFile
from .note import FILE, Note, fingerprint_of_outcomes, read_note, text_of
from .read import fingerprint_of_files


def save_folds(folds: Folds, labels: Labels, directory: str | Path) -> Path:
    """Write `splits_<fold>.csv` (columns train and val, where val is the test set) and folds.json into `directory`.

    Written beside it and renamed, so that the folder is there whole or not at all. A folder with the same folds of
    the same labels stays as it is; folds that milsurv saved there before are replaced; any other content is a
    DataError. `read_splits` reads it back and says if the labels have changed since.
    """
    directory = Path(directory)
    files = {s.fold: FoldFile(directory, sorted((*s.train, *s.val)), list(s.test), []) for s in folds.splits}
    counts = labels.counts
    note = Note(
        folds.name, folds.kind, folds.k, folds.repeats, folds.seed, labels.cohort, Path(labels.source).name,
        counts.patients, counts.events, labels.fingerprint, fingerprint_of_outcomes(labels), folds.fingerprint,
        fingerprint_of_files(files),
    )  # fmt: skip
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        ours = directory.is_dir() and read_note(directory) is not None
        if not ours or any(p.name != FILE and not p.match("splits_*.csv") for p in directory.iterdir()):
            raise DataError(
                f"{directory} holds other files than folds of milsurv: choose an empty folder for the folds."
            )
        if read_note(directory) == note and all((directory / f"splits_{fold}.csv").is_file() for fold in files):
            return directory
    with writing(directory, "choose another folder"), whole_folder(directory) as partial:
        for fold, file in files.items():
            (partial / f"splits_{fold}.csv").write_text(_csv(file), "utf-8")
        (partial / FILE).write_text(text_of(note), "utf-8")
    return directory


def _csv(file: FoldFile) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("", "train", "val"))
    writer.writerows((i, *pair) for i, pair in enumerate(zip_longest(file.train, file.test, fillvalue="")))
    return out.getvalue()

"""Folds: read from files in the public format or dealt out (`stratified_folds`), and inner parts."""

import csv
import io
import re
from collections.abc import Iterable
from pathlib import Path

from .archive import read_table_bytes
from .cohorts import COHORTS
from .errors import DataError, some
from .findings import Finding, finding
from .fingerprint import fingerprint
from .labels import Labels
from .patient import patient_of
from .split import Folds, Split
from .stratify import cut_validation, fingerprint_of, stratified_folds

__all__ = ["Folds", "Split", "cut_validation", "read_splits", "stratified_folds"]

_FILE = re.compile(r"^splits_(\d+)\.csv$")
MAX_BYTES = 64 << 20


def read_splits(directory: str | Path, labels: Labels) -> Folds:
    """Folds from `splits_<k>.csv` files: columns `train` and `val` of unequal length, one identifier a cell.

    The file's `val` is our test part. Identifiers are patients, slides of the labels, or slide barcodes (cut
    to their patient). With a `test` column as well, that is the test part, and `val` joins `train`: the inner
    validation part is cut anew. Identifiers without a label, patients in no fold, never tested or tested
    twice are findings. DataError: no files, no such columns, a patient in train and test, a part without
    patients or without events.
    """
    directory = Path(directory)
    files = _files(directory)
    parts = {fold: _read(path) for fold, path in files.items()}
    patient = {slide: p.id for p in labels.patients for slide in p.slides}
    resolve = {i: patient.get(i.removesuffix(".svs"), patient_of(i)) for p in parts.values() for ids in p for i in ids}
    findings: list[Finding] = []
    splits, labelled = [], labels.by_id
    for fold, (train, test, joined) in parts.items():
        if joined:
            message = f"{files[fold].name}: its val part joins train, the inner validation part is cut anew"
            findings.append(finding("val_joined_to_train", "info", message, joined))
        sides = [sorted({resolve[i] for i in ids}) for ids in (train + joined, test)]
        for name, ids, side in (("train", train + joined, sides[0]), ("val", test, sides[1])):
            if len(set(ids)) < len(ids):
                repeated = {i for i in ids if ids.count(i) > 1}
                message = f"{files[fold].name}: identifiers stand twice in {name}"
                findings.append(finding("fold_ids_repeated", "warning", message, repeated))
            _check_side(files[fold], name, side, labels)
        both = sorted(set(sides[0]) & set(sides[1]))
        if both:
            raise DataError(
                f"{files[fold]}: {len(both)} patients are in train and in test: {some(both)}. The scores would be "
                "those of patients the model has seen: correct the fold."
            )
        train_ids, test_ids = (tuple(i for i in side if i in labelled) for side in sides)
        splits.append(Split(fold, train_ids, (), test_ids))
    findings += _coverage(parts, resolve, splits, labels)
    name = _name(directory, labels.cohort, parts)
    return Folds(name, tuple(splits), tuple(findings), fingerprint_of(splits))


def _files(directory: Path) -> dict[int, Path]:
    if not directory.is_dir():
        raise DataError(f"{directory} is not a folder: give the folder that holds splits_0.csv, splits_1.csv, ...")
    found = {int(m[1]): path for path in directory.iterdir() if (m := _FILE.match(path.name))}
    if not found:
        raise DataError(f"{directory} holds no splits_<number>.csv.")
    return dict(sorted(found.items()))


def _read(path: Path) -> tuple[list[str], list[str], list[str]]:
    """(train, test, val that joins train) of one file."""
    try:
        rows = list(csv.DictReader(io.StringIO(read_table_bytes(path, MAX_BYTES).decode("utf-8-sig"))))
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not a comma-separated table in UTF-8 ({error}).") from error
    header = [name for name in (rows[0] if rows else {}) if name is not None]
    if not {"train", "val"} <= set(header):
        raise DataError(f"{path} must have the columns train and val; found {some(header) or 'no rows'}.")
    columns = {name: [v.strip() for r in rows if (v := r.get(name)) and v.strip()] for name in ("train", "val", "test")}
    if columns["test"]:
        return columns["train"], columns["test"], columns["val"]
    return columns["train"], columns["val"], []


def _check_side(path: Path, column: str, side: list[str], labels: Labels) -> None:
    by_id = labels.by_id
    known = [by_id[i] for i in side if i in by_id]
    if not known:
        raise DataError(
            f"{path}: no patient in column {column} has a label in {labels.source} (first ids: {some(side, 3)}). "
            "Do folds and labels belong to the same cohort?"
        )
    if not any(p.event for p in known):
        raise DataError(f"{path}: column {column} has {len(known)} patients but no event: it cannot be used.")


def _coverage(
    parts: dict[int, tuple[list[str], list[str], list[str]]],
    resolve: dict[str, str],
    splits: list[Split],
    labels: Labels,
) -> Iterable[Finding]:
    labelled = set(labels.by_id)
    named = set(resolve.values())
    tested = [i for split in splits for i in split.test]
    unknown = named - labelled - set(labels.excluded)
    if unknown:
        yield finding("fold_ids_unlabelled", "warning", "patients of the folds have no label; left out", unknown)
    if out := named & set(labels.excluded):
        message = "patients of the folds are left out because their labels cannot be used"
        yield finding("fold_ids_excluded", "warning", message, out)
    if nowhere := labelled - named:
        yield finding("patients_in_no_fold", "warning", "labelled patients are in no fold", nowhere)
    if never := (labelled & named) - set(tested):
        yield finding("never_tested", "warning", "patients of the folds are in no test part", never)
    if twice := {i for i in tested if tested.count(i) > 1}:
        yield finding("tested_twice", "warning", "patients are in the test part of several folds", twice)
    if len(parts) > 1:
        for split in splits:
            if lost := (labelled & named) - set(split.train) - set(split.test):
                message = f"fold {split.fold} leaves patients out of both its parts"
                yield finding("missing_from_fold", "info", message, lost)


def _name(directory: Path, cohort: str, parts: dict[int, tuple[list[str], list[str], list[str]]]) -> str:
    known = COHORTS.get(cohort)
    return "official" if known and known.official_folds == fingerprint_of_files(parts) else directory.name


def fingerprint_of_files(parts: dict[int, tuple[list[str], list[str], list[str]]]) -> str:
    """The fingerprint of the identifiers as the files hold them, labelled or not: it tells the official folds."""
    return fingerprint([fold, sorted(train), sorted(test)] for fold, (train, test, _) in parts.items())

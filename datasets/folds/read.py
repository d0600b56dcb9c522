"""Folds: read from files in any known form, or made by event or by site, and validation splits."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from ...errors import DataError, some
from ...files import fingerprint
from ..cohorts import COHORTS
from ..findings import Finding, finding
from ..labels.read import Labels
from ..patient import patient_of
from ..slide_names import patient_key, slide_key
from ..split import Folds, Split
from .forms import FoldFile, read_forms
from .note import Note, read_note
from .site_preserving import site_preserving_folds
from .stratified import cut_validation, fingerprint_of, stratified_folds

__all__ = ["Folds", "Split", "cut_validation", "read_splits", "site_preserving_folds", "stratified_folds"]


def read_splits(directory: str | Path, labels: Labels) -> Folds:
    """Folds from a folder or a file in one of `forms.FORMS`, as `splits_<k>.csv` with columns `train` and `val`.

    The file's `val` is our test set. Identifiers are patients, slides of the labels, or slide barcodes (cut
    to their patient), in any spelling that is one of theirs alone. With a `test` column as well, that is the test set,
    and `val` joins `train`: the validation split is cut anew. Identifiers without a label, patients
    in no fold, never tested or tested twice are findings, and so are labels that changed since milsurv saved these
    folds. Results count folds from 0, whatever the files' numbers. DataError: no files, no such columns, a patient in
    train and test, a set without patients or without events.
    """
    folds, _, faults = survey_splits(directory, labels)
    if faults:
        raise DataError(faults[0].message)
    numbers = [split.fold for split in folds.splits]
    if numbers == list(range(len(numbers))):
        return folds
    splits = tuple(replace(split, fold=fold) for fold, split in enumerate(folds.splits))
    message = "numbers of fold files are not 0, 1, 2, …; results count their folds from 0, in the same order"
    note = finding("folds_renumbered", "info", message, [f"{old} is {new}" for new, old in enumerate(numbers)])
    return replace(folds, splits=splits, findings=(*folds.findings, note), fingerprint=fingerprint_of(splits))


def survey_splits(
    directory: str | Path, labels: Labels
) -> tuple[Folds, dict[int, tuple[list[str], list[str]]], tuple[Finding, ...]]:
    """As `read_splits`, but what that would refuse is collected as findings of severity error.

    Returns the folds without a fault, the labelled patients of train and test of every fold (faulty or not), and
    the faults. Raises DataError only where there is no folder with folds.
    """
    directory = Path(directory)
    faults: list[Finding] = []
    files = read_forms(directory, labels.cohort, faults)
    named = {i for file in files.values() for i in (*file.train, *file.test, *file.joined)}
    resolve, respelt = _patients_of(named, labels)
    findings: list[Finding] = []
    if respelt:
        message = "identifiers of the folds are patients or slides of the labels in another spelling"
        findings.append(finding("fold_ids_respelt", "info", message, respelt))
    splits, labelled, sides = [], labels.by_id, {}
    for fold, file in files.items():
        if file.joined:
            message = f"{file.path.name}: its val joins train, the validation split is cut anew"
            findings.append(finding("val_joined_to_train", "info", message, file.joined))
        train, test = sorted({resolve[i] for i in file.train + file.joined}), sorted({resolve[i] for i in file.test})
        wrong = len(faults)
        for name, ids, side in (("train", file.train + file.joined, train), ("val", file.test, test)):
            if repeated := [i for i, times in Counter(ids).items() if times > 1]:
                message = f"{file.path.name}: identifiers stand twice in {name}"
                findings.append(finding("fold_ids_repeated", "warning", message, repeated))
            if labels.patients:  # the linter may have no labels to compare with
                faults += _side(file.path, name, side, labels)
        if both := sorted(set(train) & set(test)):
            message = (
                f"{file.path}: {len(both)} patients are in train and in test: {some(both)}. The scores would be "
                "those of patients the model has seen: correct the fold."
            )
            faults.append(finding("patients_in_train_and_test", "error", message, both))
        train, test = [i for i in train if i in labelled], [i for i in test if i in labelled]
        sides[fold] = (train, test)
        if len(faults) == wrong:
            splits.append(Split(fold, tuple(train), (), tuple(test)))
    name, note = _name(directory, labels.cohort, files), None
    try:
        note = read_note(directory) if directory.is_dir() else None
    except DataError as error:
        faults.append(Finding("folds_note_unreadable", "error", 1, str(error), (directory.name,)))
    if labels.patients:
        findings += _coverage(files, resolve, sides, labels, note)
    if note is not None and labels.patients:
        findings += note.compare(labels, fingerprint_of_files(files))
        name = note.name if note.files == fingerprint_of_files(files) else name
    folds = Folds(
        name, tuple(splits), tuple(findings), fingerprint_of(splits), note.kind if note else "files",
        note.repeats if note and len(splits) == note.k * note.repeats else 1, note.seed if note else None,
    )  # fmt: skip
    return folds, sides, tuple(faults)


def _patients_of(identifiers: Iterable[str], labels: Labels) -> tuple[dict[str, str], list[str]]:
    """The patient that each identifier names, and the identifiers that name one in another spelling.

    A slide stands for its patient, a barcode for its first 12 characters; what names nobody is taken as it is.
    """
    of_slide = {slide: p.id for p in labels.patients for slide in p.slides}
    known = set(labels.by_id) | set(labels.excluded)
    by_key: dict[str, set[str]] = defaultdict(set)
    for slide, patient in of_slide.items():
        by_key[slide_key(slide)].add(patient)
    for patient in known:
        by_key[patient_key(patient)].add(patient)
    found: dict[str, str] = {}
    respelt = []
    for i in identifiers:
        exact = of_slide.get(i) or of_slide.get(i.removesuffix(".svs")) or patient_of(i)
        if exact not in known:
            for key in (slide_key(i), patient_key(i), patient_key(patient_of(i))):
                if len(owners := by_key.get(key, set())) == 1:
                    (exact,) = owners
                    respelt.append(i)
                    break
        found[i] = exact
    return found, respelt


def _side(path: Path, column: str, side: list[str], labels: Labels) -> Iterable[Finding]:
    by_id = labels.by_id
    known = [by_id[i] for i in side if i in by_id]
    if not known:
        message = (
            f"{path}: no patient in column {column} has a label in {labels.source} (first ids: {some(side, 3)}). "
            "Do folds and labels belong to the same cohort?"
        )
        yield Finding("fold_without_patients", "error", 1, message, (path.name,))
    elif not any(p.event for p in known):
        message = f"{path}: column {column} has {len(known)} patients but no event: it cannot be used."
        yield Finding("fold_without_events", "error", 1, message, (path.name,))


def _coverage(
    files: Mapping[int, FoldFile],
    resolve: Mapping[str, str],
    sides: Mapping[int, tuple[list[str], list[str]]],
    labels: Labels,
    note: Note | None,
) -> Iterable[Finding]:
    labelled = set(labels.by_id)
    named = set(resolve.values())
    tested = Counter(i for _, test in sides.values() for i in test)
    often = note.repeats if note and len(sides) == note.k * note.repeats else 1
    unknown = named - labelled - set(labels.excluded)
    if unknown:
        yield finding("fold_ids_unlabelled", "warning", "patients of the folds have no label; left out", unknown)
    if out := named & set(labels.excluded):
        message = "patients of the folds are left out because their labels cannot be used"
        yield finding("fold_ids_excluded", "warning", message, out)
    if nowhere := labelled - named:
        yield finding("patients_in_no_fold", "warning", "labelled patients are in no fold", nowhere)
    if never := (labelled & named) - set(tested):
        yield finding("never_tested", "warning", "patients of the folds are in no test set", never)
    if twice := [i for i, times in tested.items() if times > often]:
        yield finding("tested_twice", "warning", "patients are in the test set of several folds", twice)
    if len(files) > 1:
        for fold, (train, test) in sides.items():
            if lost := (labelled & named) - set(train) - set(test):
                message = f"fold {fold} leaves patients out of both its sets"
                yield finding("missing_from_fold", "info", message, lost)


def _name(directory: Path, cohort: str, files: Mapping[int, FoldFile]) -> str:
    known = COHORTS.get(cohort)
    return "official" if known and known.official_folds == fingerprint_of_files(files) else directory.name


def fingerprint_of_files(files: Mapping[int, FoldFile]) -> str:
    """The fingerprint of the identifiers as the files hold them, labelled or not: it tells the official folds."""
    return fingerprint([fold, sorted(file.train), sorted(file.test)] for fold, file in files.items())

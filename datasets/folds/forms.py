"""The forms in which folds are kept, one entry each in FORMS; what is not understood is told what the forms are.

The rule for names is the same in all of them: without a `test`, the `val` of a file is the test set, because that is
what the public files mean; with a `test`, `val` joins the training set, and the validation split is cut anew.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import DataError, some
from ..findings import Finding
from ..labels.panther import fold_folders, identifiers, is_fold_folder, parts_of
from ..labels.table import BLANK
from ..tables.cells import TableCells, read_cells

MAX_BYTES = 64 << 20
_TABLE = re.compile(r"\.(csv|tsv|txt|xlsx|parquet)(\.(gz|zip))?$", re.IGNORECASE)
_NUMBERED = re.compile(r"^(?:[a-z]*[_-]?)?(?:splits?|folds?|k|cv)[_=-]?(?P<fold>\d+)$", re.IGNORECASE)
_FOLD_COLUMN = re.compile(r"^(?:fold|split|cv|k)[_=-]?(\d+)$", re.IGNORECASE)
_SETS = {
    "train": "train", "training": "train", "trainset": "train", "development": "train", "train_val": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val", "tune": "val",
    "test": "test", "testing": "test", "testset": "test", "holdout": "test",
}  # fmt: skip
_IDS = (
    "case_id",
    "patient",
    "patient_id",
    "patientid",
    "case",
    "pid",
    "id",
    "submitter_id",
    "slide_id",
    "slide",
    "filename",
)
_NUMBER = re.compile(r"(?:cv|test|k)?[_ -]?folds?[_ -]?(?:id|nr|no|number|index|idx)?|split|cv|k")
_SET = ("set", "subset", "partition", "phase")
_OWN_SET = re.compile(
    r"(?:(?:splits?|folds?|cv|k)?[_=-]?(?P<before>\d+)[_-])?(?P<set>[a-z]+)(?:[_-](?:splits?|folds?|cv|k)?[_=-]?(?P<after>\d+))?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class FoldFile:
    """One fold as its file has it: identifiers of train, of test, and of a val beside a test, which joins train."""

    path: Path
    train: list[str]
    test: list[str]
    joined: list[str]


Read = Callable[[Path, str, list[Finding]], "dict[int, FoldFile] | None"]


@dataclass(frozen=True)
class FoldForm:
    """A form: `looks_like` for messages, and `read(path, cohort, faults)`, None where the path holds another form."""

    name: str
    looks_like: str
    read: Read


def read_forms(path: Path, cohort: str, faults: list[Finding]) -> dict[int, FoldFile]:
    """The folds in a folder or a file, by number. What is wrong with one of them is added to `faults`.

    DataError where the path holds no form that is known; the message lists them.
    """
    if not path.exists():
        raise DataError(f"{path} is not a folder: give the folder that holds splits_0.csv, splits_1.csv, ...")
    for form in FORMS:
        found = form.read(path, cohort, faults)
        if found is not None:
            return dict(sorted(found.items()))
    inside = some(sorted(p.name for p in path.iterdir()), 6) or "nothing" if path.is_dir() else "one file"
    known = "".join(f"\n  {form.name}: {form.looks_like}" for form in FORMS)
    raise DataError(
        f"{path} holds no splits_<number>.csv and no other folds that are known (it holds {inside}).{known}"
    )


def fold_of(path: Path, sets: Mapping[str, Sequence[str]]) -> FoldFile:
    """A fold from its sets by name, as the rule of this file says. DataError without a training or a test set."""
    train, val, test = (list(sets.get(name, ())) for name in ("train", "val", "test"))
    if not train or not (val or test):
        raise DataError(f"{path} must name a training set and a test set (train, and val or test); found {some(sets)}.")
    if not test or set(test) == set(val):
        return FoldFile(path, train, val or test, [])
    return FoldFile(path, train, test, val)


def _numbered_files(path: Path, cohort: str, faults: list[Finding]) -> dict[int, FoldFile] | None:
    if not path.is_dir():
        return None
    stems = [(_TABLE.sub("", p.name), p) for p in sorted(path.iterdir()) if p.is_file() and _TABLE.search(p.name)]
    stems = [(stem, p) for stem, p in stems if _set_named(stem) is None]
    plain = _one_a_fold((m["fold"], p) for stem, p in stems if (m := _NUMBERED.match(stem)))
    if not plain:  # CLAM's tables of true and false, where they lie alone
        plain = _one_a_fold((m["fold"], p) for stem, p in stems if (m := _NUMBERED.match(stem.removesuffix("_bool"))))
    return _each(plain, _columns, faults) if plain else None


def _one_a_fold(files: Iterable[tuple[str, Path]]) -> dict[int, Path]:
    found: dict[int, Path] = {}
    for number, file in files:
        if (other := found.setdefault(int(number), file)) != file:
            raise DataError(f"{file} and {other.name} are both fold {number}: keep one series of folds in the folder.")
    return found


def _set_named(stem: str) -> tuple[str, int] | None:
    """The set and the fold that the name of a file says: fold0_train, test_1, train."""
    match = _OWN_SET.fullmatch(stem)
    name = _SETS.get(match["set"].lower()) if match else None
    return (name, int(match["before"] or match["after"] or 0)) if match and name else None


def _numbered_folders(path: Path, cohort: str, faults: list[Finding]) -> dict[int, FoldFile] | None:
    if not path.is_dir():
        return None
    if is_fold_folder(path):
        numbered = {
            p for p in path.iterdir() if p.is_dir() and _number_of(p) is not None and (p / "train.csv").is_file()
        }
        if numbered and not any("_k=" in p.name for p in numbered):
            return _each({_number_of(p) or 0: p for p in numbered}, _parts, faults)
        return _each(fold_folders(path, cohort), _parts, faults)
    return None


def _file_a_set(path: Path, cohort: str, faults: list[Finding]) -> dict[int, FoldFile] | None:
    """Lists of identifiers, one file a set: train_0.csv and test_0.csv, or train.txt and test.txt by fold_0/."""
    if not path.is_dir():
        return None
    places = {_number_of(p): p for p in path.iterdir() if p.is_dir() and _number_of(p) is not None} or {None: path}
    folds: dict[int, dict[str, Path]] = {}
    for fold, place in places.items():
        for file in sorted(place.iterdir()):
            if _TABLE.search(file.name) and (named := _set_named(_TABLE.sub("", file.name))):
                name, number = named[0], named[1] if fold is None else fold
                if (other := folds.setdefault(number, {}).setdefault(name, file)) != file:
                    raise DataError(f"{file} and {other.name} are both the {name} of fold {number}: keep one of them.")
    if not any("train" in sets for sets in folds.values()):
        return None
    return _each(folds, lambda sets: fold_of(path, {name: _ids_of(file) for name, file in sets.items()}), faults)


def _one_table(path: Path, cohort: str, faults: list[Finding]) -> dict[int, FoldFile] | None:
    table = _only(path, _TABLE.pattern)
    if table is None:
        return None
    cells = read_cells(table, MAX_BYTES).sound()
    plain = [name.lower() for name in cells.header]
    ids = [plain.index(name) for name in _IDS if name in plain]
    by_column = {int(m[1]): i for i, name in enumerate(plain) if (m := _FOLD_COLUMN.match(name))}
    if ids and by_column:
        return _each(by_column, lambda at: fold_of(table, _by_word(table, cells, ids[0], at)), faults)
    number = next((i for i, name in enumerate(plain) if _NUMBER.fullmatch(name)), None)
    if ids and number is not None:
        return _by_number(table, cells, ids[0], number)
    word = next((plain.index(name) for name in _SET if name in plain), None)
    if ids and word is not None:
        return _each({0: table}, lambda path: fold_of(path, _by_word(path, cells, ids[0], word)), faults)
    if set(plain) & _SETS.keys() and path.is_file():
        return _each({0: table}, _columns, faults)
    return None


def _json(path: Path, cohort: str, faults: list[Finding]) -> dict[int, FoldFile] | None:
    file = _only(path, r"\.json$", but="folds.json" if path.is_dir() else "")
    if file is None:
        return None
    try:
        content = json.loads(file.read_text("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{file} cannot be read as JSON ({error}).") from error
    if isinstance(content, dict):
        content = next((content[name] for name in ("folds", "splits") if name in content), content)
    if isinstance(content, dict) and set(map(str.lower, content)) & _SETS.keys():
        lists = [v for v in content.values() if isinstance(v, list)]
        several = bool(lists) and all(isinstance(one, list) for v in lists for one in v)
        content = [{k: v[i] for k, v in content.items()} for i in range(min(map(len, lists)))] if several else [content]
    if isinstance(content, dict) and content and all(isinstance(fold, str | int) for fold in content.values()):
        lines = [(line, [name, str(fold)]) for line, (name, fold) in enumerate(content.items(), 1)]
        return _by_number(file, TableCells(file, ["id", "fold"], lines), 0, 1)
    if isinstance(content, dict):
        numbers = {key: int(m[0]) for key in content if (m := re.search(r"\d+$", key))}
        folds = {numbers[key]: content[key] for key in numbers}
    else:
        folds = dict(enumerate(content)) if isinstance(content, list) else {}
    if not folds or not all(isinstance(fold, dict) for fold in folds.values()):
        raise DataError(f'{file} is JSON, but no folds: expected [{{"train": [ids], "test": [ids]}}, ...].')
    return _each(folds, lambda fold: fold_of(file, _sets_of(file, fold)), faults)


def _sets_of(file: Path, fold: Mapping[str, object]) -> dict[str, list[str]]:
    sets: dict[str, list[str]] = {}
    for key, ids in fold.items():
        name = _SETS.get(re.sub(r"_(ids|patients|cases|slides)$", "", key.lower()))
        if name is not None:
            if not isinstance(ids, list) or not all(isinstance(i, str | int | float) for i in ids):
                raise DataError(f"{file}: {key} must be a list of identifiers.")
            sets[name] = [str(i).strip() for i in ids]
    return sets


def _columns(path: Path) -> FoldFile:
    """A fold of a file with a column a set: identifiers in its cells, or true and false beside identifiers (CLAM)."""
    cells = read_cells(path, MAX_BYTES).sound()
    at = {name: i for i, word in enumerate(cells.header) if (name := _SETS.get(word.lower()))}
    if "train" not in at or not {"val", "test"} & at.keys() or not cells.lines:
        found = some(name for name in cells.header if name) or "no rows"
        raise DataError(f"{path} must have the columns train and val; found {found if cells.lines else 'no rows'}.")
    columns = {name: [_cell(row, i) for _, row in cells.lines] for name, i in at.items()}
    words = {text.lower() for texts in columns.values() for text in texts}
    if words <= {"true", "false"} or (words <= {"0", "1"} and at["train"] > 0):
        ids = [_cell(row, 0) for _, row in cells.lines]
        if 0 in at.values() or not all(ids):
            raise DataError(f"{path} says true and false by set, but its first column holds no identifiers.")
        yes = {"true", "1"}
        columns = {
            name: [i for i, text in zip(ids, texts, strict=True) if text.lower() in yes]
            for name, texts in columns.items()
        }
    elif words and all(re.fullmatch(r"[0-9]+", word) for word in words) and "descriptor" in path.name:
        raise DataError(f"{path} counts slides by class (CLAM's descriptor) and names nobody: give the splits_*.csv.")
    return fold_of(path, {name: [text for text in texts if text] for name, texts in columns.items()})


def _parts(folder: Path) -> FoldFile:
    return fold_of(folder, {name: _ids_of(path) for name, path in parts_of(folder).items()})


def _ids_of(path: Path) -> list[str]:
    cells = read_cells(path, MAX_BYTES).sound()
    plain = [name.lower() for name in cells.header]
    at = next((plain.index(name) for name in _IDS if name in plain), 0 if len(plain) == 1 else None)
    if at is None:
        return identifiers(path)
    listed = [_cell(row, at) for _, row in cells.lines]
    if len(plain) == 1 and plain[0] not in _IDS and plain[0] not in _SETS:
        listed.insert(0, cells.header[0])  # a list without a header
    return list(dict.fromkeys(text for text in listed if text))


def _by_word(path: Path, cells: TableCells, ids: int, at: int) -> dict[str, list[str]]:
    """Sets of one fold whose column says train, val or test."""
    sets: dict[str, list[str]] = {}
    for line, row in cells.lines:
        word = _cell(row, at).lower()
        if word and word not in _SETS:
            raise DataError(f"{path}, line {line}: {cells.header[at]} is {word!r}, neither train, val nor test.")
        if word:
            sets.setdefault(_SETS[word], []).append(_cell(row, ids))
    return {name: list(dict.fromkeys(listed)) for name, listed in sets.items()}


def _by_number(path: Path, cells: TableCells, ids: int, at: int) -> dict[int, FoldFile] | None:
    """Folds of a table that says by whom each fold is tested."""
    folds: dict[str, int] = {}
    for line, row in cells.lines:
        name, text = _cell(row, ids), _cell(row, at)
        match = re.fullmatch(r"(?:fold[_ -]?)?(\d+)(?:\.0+)?", text, re.IGNORECASE)
        if text.lower() in _SETS:
            return {0: fold_of(path, _by_word(path, cells, ids, at))}
        if not name or match is None:
            raise DataError(
                f"{path}, line {line}: {cells.header[at]} is {text or 'blank'!r} for {name or 'nobody'}, no fold."
            )
        if folds.setdefault(name, int(match[1])) != int(match[1]):
            raise DataError(f"{path}, line {line}: {name} is in fold {folds[name]} and in fold {match[1]}.")
    numbers = sorted(set(folds.values()))
    if len(numbers) < 2:
        raise DataError(f"{path}: {cells.header[at]} holds the folds {some(numbers)}; at least two are needed.")
    return {
        n: FoldFile(path, [i for i, k in folds.items() if k != n], [i for i, k in folds.items() if k == n], [])
        for n in numbers
    }


def _cell(row: Sequence[str], at: int) -> str:
    text = row[at].strip() if at < len(row) else ""
    return "" if text.lower() in BLANK else text


def _each(places: Mapping[int, object], read: Callable, faults: list[Finding]) -> dict[int, FoldFile]:
    """What `read` makes of every place; a fold that cannot be read is a fault."""
    files = {}
    for fold, place in sorted(places.items()):
        try:
            files[fold] = read(place)
        except DataError as error:
            name = place.name if isinstance(place, Path) else f"fold {fold}"
            faults.append(Finding("fold_unreadable", "error", 1, str(error), (name,)))
    return files


def _only(path: Path, ending: str, but: str = "") -> Path | None:
    """The file itself, or the only one with that ending in a folder."""
    if path.is_file():
        return path if re.search(ending, path.name, re.IGNORECASE) else None
    found = [p for p in path.iterdir() if p.is_file() and re.search(ending, p.name, re.IGNORECASE) and p.name != but]
    return found[0] if len(found) == 1 else None


def _number_of(folder: Path) -> int | None:
    match = re.search(r"(\d+)$", folder.name)
    return int(match[1]) if match else None


FORMS: tuple[FoldForm, ...] = (
    FoldForm("one file a fold", "splits_0.csv or fold_0.csv, columns train and val or test; CLAM's true and false",
             _numbered_files),
    FoldForm("one folder a fold", "fold_0/train.csv and test.csv; PANTHER's ..._k=0/", _numbered_folders),
    FoldForm("one file a set", "train_0.csv and test_0.csv, or fold_0/train.txt and test.txt", _file_a_set),
    FoldForm("JSON", '[{"train": [ids], "test": [ids]}, ...]', _json),
    FoldForm("one table", "ids and a column fold; Patho-Bench's k=all.tsv with fold_0, fold_1, ...", _one_table),
)  # fmt: skip
"""In the order in which they are tried. A new form is one function and its entry."""

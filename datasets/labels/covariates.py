"""Covariates as tables write them: what cannot be read is counted with its lines, never guessed by a first letter."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from ...errors import some
from ..findings import Finding
from ..tables.numbers import number

_WORDS = {
    1.0: "f female w woman women weiblich frau femme féminin feminin mujer femenino femenina femmina donna vrouw",
    0.0: "m male man men männlich maennlich mann homme masculin hombre masculino maschio uomo mannelijk",
}
_SEX = {word: value for value, words in _WORDS.items() for word in words.split()}
_YES = {"1": 1.0, "1.0": 1.0, "true": 1.0, "yes": 1.0, "y": 1.0} | dict.fromkeys(("0", "0.0", "false", "no", "n"), 0.0)

Cells = Sequence[tuple[int, str | None]]
"""Line in the file and text, of every row."""


def ages(path: Path, column: str, cells: Cells, decimal: str, notes: list[Finding]) -> list[float | None]:
    """Ages in years, (rows,). What is no number from 0 to 120 is None, and a finding with its lines."""
    values = [number(text, decimal) for _, text in cells]
    values = [None if value is None or not 0 <= value <= 120 else value for value in values]
    _report("age_not_a_number", path, f"{column} is no age in years", cells, values, notes)
    return values


def women(path: Path, column: str, cells: Cells, named: bool, notes: list[Finding]) -> list[float | None]:
    """1.0 for women and 0.0 for men, (rows,). What says neither is None, and a finding with its lines.

    `named` means that the column is called for women (`is_female`), so that 1, true and yes mean a woman. In a column
    of sexes 0, 1 and 2 say nothing without a codebook. Where it also holds h (hombre, homme), m may be mujer.
    """
    spanish = any(text and text.strip().lower() == "h" for _, text in cells)
    values = [None if text is None else _woman(text.strip().lower(), named, spanish) for _, text in cells]
    hint = "" if named else "; write female or male, or name a column of 0 and 1 with is_female"
    _report("sex_not_understood", path, f"{column} says neither female nor male{hint}", cells, values, notes)
    return values


def _woman(word: str, named: bool, spanish: bool) -> float | None:
    if named and word in _YES:
        return _YES[word]
    return None if spanish and word == "m" else _SEX.get(word)


def _report(
    code: str, path: Path, why: str, cells: Cells, values: Iterable[float | None], notes: list[Finding]
) -> None:
    wrong = [(line, text) for (line, text), value in zip(cells, values, strict=True) if text and value is None]
    if wrong:
        words = some(sorted({str(text) for _, text in wrong}))
        message = f"{path}: {why} in {len(wrong)} rows ({words}); it counts as missing there"
        notes.append(Finding(code, "warning", len(wrong), message, tuple(f"line {line}" for line, _ in wrong[:10])))

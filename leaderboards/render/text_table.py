"""A table of text, and how its cells show numbers."""

from dataclasses import dataclass

from .spreadsheets import harmless

NONE = "\N{EN DASH}"


@dataclass(frozen=True)
class TextTable:
    """A titled table of text: `rows` hold one cell per column; `numeric` says which columns align to the right.

    first: the columns that a narrow terminal shows before any other.
    """

    title: str
    columns: tuple[str, ...]
    numeric: tuple[bool, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    first: tuple[str, ...] = ()

    def fitting(self, width: int) -> tuple[int, ...]:
        """The places of the columns that a terminal of `width` letters has room for; all, where none come first."""
        room = [3 + max(map(len, cells)) for cells in zip(self.columns, *self.rows, strict=True)]
        if not self.first or sum(room) < width:
            return tuple(range(len(self.columns)))
        left, chosen = width - 1, []
        for place in sorted(range(len(self.columns)), key=lambda place: self.columns[place] not in self.first):
            if room[place] <= left or self.columns[place] in self.first:
                chosen.append(place)
                left -= room[place]
        return tuple(sorted(chosen))

    @property
    def safe_rows(self) -> list[list[str]]:
        """The rows with words that no spreadsheet computes; numbers as they are."""
        return [
            [cell if number else harmless(cell) for cell, number in zip(row, self.numeric, strict=True)]
            for row in self.rows
        ]


def text_table(title: str, columns: list[tuple[str, bool, list[str]]], notes: tuple[str, ...]) -> TextTable:
    """A table of columns: each its name, whether it holds numbers, and its cells."""
    names, numeric, cells = zip(*columns, strict=True)
    return TextTable(title, names, numeric, tuple(zip(*cells, strict=True)), notes)


def p_value(p: float | None) -> str:
    """A p-value as tables show it: never 0."""
    if p is None:
        return NONE
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def signed(value: float | None, digits: int = 3) -> str:
    """A difference with its sign; never `-0.000`."""
    if value is None:
        return NONE
    value = round(value, digits) + 0.0
    return f"{value:+.{digits}f}".replace("-", "\N{MINUS SIGN}") if value else f"{value:.{digits}f}"


def scales(text: str | None) -> str:
    """`5,10,20` as `5× 10× 20×`."""
    return NONE if not text else " ".join(f"{scale.strip()}\N{MULTIPLICATION SIGN}" for scale in text.split(","))
